"""Words to token ids: captions for GroundingDINO (WordPiece), prompts for CLIP (byte-pair encoding)."""

from __future__ import annotations

import functools
import re
import unicodedata
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

from respin.contracts.networks import CAPTION_TOKENS, PROMPT_TOKENS
from respin.errors import InvalidInput
from respin_ensemble.vocabularies import BERT_PIECES, CLIP_MERGES, vocabulary_lines

PAD, UNKNOWN, CLS, SEP, FULL_STOP, QUESTION_MARK = 0, 100, 101, 102, 1012, 1029
"""Ids of bert-base-uncased with a meaning of their own."""

PHRASE_ENDS = (CLS, SEP, FULL_STOP, QUESTION_MARK)
"""Ids between which a phrase lies (IDEA-Research/GroundingDINO, groundingdino.py, `specical_tokens`)."""

START_OF_TEXT, END_OF_TEXT = "<|startoftext|>", "<|endoftext|>"
"""CLIP's own two tokens; the last two of its vocabulary, ids 49406 and 49407."""

# openai/CLIP, clip/simple_tokenizer.py: specials, English endings, runs of letters, single digits, runs of the rest.
_CLIP_WORDS = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|\p{L}+|\p{N}|[^\s\p{L}\p{N}]+"

_ARTICLES = "a an the"
_PREPOSITIONS = (
    "about above across after against along among around as at before behind below beneath beside between beyond by "
    "during for from in into near of off on onto out over through to toward towards under until up upon with within "
    "without"
)
_PRONOUNS = (
    "i me my you your he him his she her it its we us our they them their this that these those who whom whose which "
    "what"
)
_CONJUNCTIONS = "and or nor but so yet if than because while although"

# Our own choice: words that name nothing by themselves. GroundingDINO would find something for them all the same.
_NAMELESS = frozenset(" ".join((_ARTICLES, _PREPOSITIONS, _PRONOUNS, _CONJUNCTIONS)).split())


@dataclass(frozen=True, eq=False)
class CaptionTokens:
    """What GroundingDINO reads of a caption: its text inputs in the contract's names, without the batch axis.

    Args:
        input_ids: (256,) int64, WordPiece ids, padded with 0.
        attention_mask: (256,) bool, true on the caption.
        position_ids: (256,) int64, position of each token within its phrase.
        text_self_attention_mask: (256, 256) bool, true where a token may see another.
    """

    input_ids: NDArray[np.int64]
    attention_mask: NDArray[np.bool_]
    position_ids: NDArray[np.int64]
    text_self_attention_mask: NDArray[np.bool_]


def caption_tokens(class_name: str) -> CaptionTokens:
    """Tokenize an object's name as GroundingDINO's caption: lower case, closed by a full stop.

    Args:
        class_name: "laptop"; several phrases are parted by full stops.

    Raises:
        InvalidInput: the name holds a control character, no word that the network knows, only words that name
            nothing, or more than 256 tokens.
    """
    caption = class_name.lower().strip()
    _refuse_control_characters(caption)
    if not caption.endswith("."):
        caption += "."
    encoding = _wordpiece().encode(caption)
    _refuse_nameless(class_name, caption, encoding.tokens)
    count = len(encoding.ids) + 2
    if count > CAPTION_TOKENS:
        raise InvalidInput(f"class_name makes {count} tokens, GroundingDINO reads {CAPTION_TOKENS}; shorten it")
    input_ids = np.full(CAPTION_TOKENS, PAD, np.int64)
    input_ids[:count] = [CLS, *encoding.ids, SEP]
    may_see, position_ids = phrase_blocks(input_ids)
    return CaptionTokens(input_ids, np.arange(CAPTION_TOKENS) < count, position_ids, may_see)


def phrase_blocks(input_ids: NDArray[np.int64]) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Part a caption into phrases that do not see one another.

    Args:
        input_ids: (tokens,) int64.

    Returns:
        (tokens, tokens) bool, true where a token may see another: a phrase and its closing mark see each other, the
        tokens at either end and the padding only themselves; and (tokens,) int64, the position within the phrase.
        (IDEA-Research/GroundingDINO, bertwarper.py, `generate_masks_with_special_tokens_and_transfer_map`)
    """
    tokens = len(input_ids)
    may_see = np.eye(tokens, dtype=np.bool_)
    position_ids = np.zeros(tokens, np.int64)
    previous = 0
    for end in np.flatnonzero(np.isin(input_ids, PHRASE_ENDS)):
        if 0 < end < tokens - 1:
            phrase = slice(previous + 1, end + 1)
            may_see[phrase, phrase] = True
            position_ids[phrase] = np.arange(end - previous)
        previous = end
    return may_see, position_ids


def phrase_found(caption: CaptionTokens, probabilities: NDArray[np.float32], threshold: float) -> str:
    """The words of a caption that a detection stands for.

    Args:
        caption: what the network was asked.
        probabilities: (256,), of each token, 0..1.
        threshold: a token counts if its probability is greater.

    Returns:
        The words, lower case, without the marks between phrases; "" if none counts.
    """
    counts = (probabilities > threshold) & ~np.isin(caption.input_ids, (PAD, UNKNOWN, *PHRASE_ENDS))
    words = _wordpiece().decode(caption.input_ids[counts].tolist())
    # A word's first piece may have stayed below the threshold; marks within a word are pieces of their own.
    return re.sub(r"(?<=\w) (['\u2019-]) (?=\w)", r"\1", words.removeprefix("##"))


def prompt_ids(text: str) -> tuple[NDArray[np.int64], bool]:
    """Tokenize a prompt for CLIP ViT-L/14 as Stable Diffusion 1.5 does.

    Args:
        text: any; upper case and the kind of whitespace make no difference.

    Returns:
        (77,) int64 ids, from the start token to the end token and padded with the end token; and whether words had to
        be cut off.
    """
    tokenizer = _byte_pairs()
    start, end = tokenizer.token_to_id(START_OF_TEXT), tokenizer.token_to_id(END_OF_TEXT)
    words = tokenizer.encode(text).ids
    room = PROMPT_TOKENS - 2
    ids = np.full(PROMPT_TOKENS, end, np.int64)
    ids[0] = start
    ids[1 : 1 + min(len(words), room)] = words[:room]
    return ids, len(words) > room


def _refuse_control_characters(caption: str) -> None:
    for character in caption:
        if unicodedata.category(character) in ("Cc", "Cs"):
            raise InvalidInput(f"class_name holds the control character U+{ord(character):04X}; leave it out")


def _refuse_nameless(class_name: str, caption: str, tokens: list[str]) -> None:
    if not any(token != "[UNK]" and any(map(str.isalnum, token)) for token in tokens):
        raise InvalidInput(
            f"class_name {class_name!r} has no word that GroundingDINO knows; name the object in English, e.g. 'laptop'"
        )
    if set(re.findall(r"[^\W_]+", caption)) <= _NAMELESS:
        raise InvalidInput(
            f"class_name {class_name!r} has only words that name nothing; say what the object is, e.g. 'laptop'"
        )


@functools.cache
def _wordpiece() -> Tokenizer:
    """bert-base-uncased without its templates: [CLS] and [SEP] are the caller's."""
    ids = {piece: index for index, piece in enumerate(vocabulary_lines(BERT_PIECES))}
    tokenizer = Tokenizer(models.WordPiece(ids, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    return tokenizer


@functools.cache
def _byte_pairs() -> Tokenizer:
    """CLIP's tokenizer without its template.

    Its ids are: 256 bytes, the same bytes at a word's end, one for each merge, the two specials.
    """
    merges = [(left, right) for left, right in map(str.split, vocabulary_lines(CLIP_MERGES)[1:])]
    # The byte-level alphabet is ordered by code point (openai/CLIP, `bytes_to_unicode`).
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = [*alphabet, *(byte + "</w>" for byte in alphabet), *map("".join, merges), START_OF_TEXT, END_OF_TEXT]
    ids = {word: index for index, word in enumerate(words)}
    tokenizer = Tokenizer(models.BPE(ids, merges, end_of_word_suffix="</w>"))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_CLIP_WORDS), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.add_special_tokens([START_OF_TEXT, END_OF_TEXT])
    return tokenizer
