"""Tokenizers: captions for GroundingDINO (WordPiece) and prompts for CLIP (byte-pair encoding)."""

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
"""Special ids of bert-base-uncased."""

PHRASE_ENDS = (CLS, SEP, FULL_STOP, QUESTION_MARK)
"""Ids that separate phrases (IDEA-Research/GroundingDINO, groundingdino.py, `specical_tokens`)."""

START_OF_TEXT, END_OF_TEXT = "<|startoftext|>", "<|endoftext|>"
"""CLIP's special tokens; the last two of its vocabulary, ids 49406 and 49407."""

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

# Words that name no object by themselves; GroundingDINO would find something for them regardless.
_NAMELESS = frozenset(" ".join((_ARTICLES, _PREPOSITIONS, _PRONOUNS, _CONJUNCTIONS)).split())


@dataclass(frozen=True, eq=False)
class CaptionTokens:
    """The text inputs of GroundingDINO for a caption, by their names in the contract, without the batch axis.

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
    """Tokenize an object's name as a caption for GroundingDINO: lower case, with a full stop at the end.

    Args:
        class_name: e.g. "laptop"; full stops separate several phrases.

    Raises:
        InvalidInput: the name contains a control character, no word that the network knows, only words that name no
            object, or more than 256 tokens.
    """
    ids = _caption_ids(class_name)
    count = len(ids)
    input_ids = np.full(CAPTION_TOKENS, PAD, np.int64)
    input_ids[:count] = ids
    may_see, position_ids = phrase_blocks(input_ids)
    return CaptionTokens(input_ids, np.arange(CAPTION_TOKENS) < count, position_ids, may_see)


def check_class_name(class_name: str) -> None:
    """Refuse a name that GroundingDINO cannot read: with a box too, since it looks for the object in each novel view.

    Raises:
        InvalidInput: as `caption_tokens`.
    """
    _caption_ids(class_name)


def _caption_ids(class_name: str) -> list[int]:
    """Return the WordPiece ids of a caption with its special tokens, at most 256."""
    caption = class_name.lower().strip()
    _check_control_characters(caption)
    if not caption.endswith("."):
        caption += "."
    encoding = _wordpiece().encode(caption)
    _check_names_object(class_name, caption, encoding.tokens)
    ids = [CLS, *encoding.ids, SEP]
    if len(ids) > CAPTION_TOKENS:
        raise InvalidInput(f"class_name makes {len(ids)} tokens, GroundingDINO reads {CAPTION_TOKENS}; shorten it")
    return ids


def phrase_blocks(input_ids: NDArray[np.int64]) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Split a caption into phrases that do not attend to one another.

    Args:
        input_ids: (tokens,) int64.

    Returns:
        (tokens, tokens) bool, true where a token may attend to another: a phrase and its closing mark attend to each
        other, special tokens and padding only to themselves; and (tokens,) int64, the position within the phrase.
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


def decode_phrase(caption: CaptionTokens, probabilities: NDArray[np.float32], threshold: float) -> str:
    """Return the words of a caption that a detection matched.

    Args:
        caption: the input of the network.
        probabilities: (256,), probability of each token, 0..1.
        threshold: minimum probability of a matched token, exclusive.

    Returns:
        The words in lower case, without the marks between phrases; "" if none matched.
    """
    counts = (probabilities > threshold) & ~np.isin(caption.input_ids, (PAD, UNKNOWN, *PHRASE_ENDS))
    words = _wordpiece().decode(caption.input_ids[counts].tolist())
    # A word's first piece may have stayed below the threshold; marks within a word are pieces of their own.
    return re.sub(r"(?<=\w) (['\u2019-]) (?=\w)", r"\1", words.removeprefix("##"))


def prompt_ids(text: str) -> tuple[NDArray[np.int64], bool]:
    """Tokenize a prompt for CLIP ViT-L/14 as Stable Diffusion 1.5 does.

    Args:
        text: any text; upper case and the kind of whitespace make no difference.

    Returns:
        (77,) int64 ids, from the start token to the end token and padded with the end token; and whether the text was
        truncated.
    """
    tokenizer = _byte_pairs()
    start, end = tokenizer.token_to_id(START_OF_TEXT), tokenizer.token_to_id(END_OF_TEXT)
    words = tokenizer.encode(text).ids
    room = PROMPT_TOKENS - 2
    ids = np.full(PROMPT_TOKENS, end, np.int64)
    ids[0] = start
    ids[1 : 1 + min(len(words), room)] = words[:room]
    return ids, len(words) > room


def _check_control_characters(caption: str) -> None:
    for character in caption:
        if unicodedata.category(character) in ("Cc", "Cs"):
            raise InvalidInput(f"class_name holds the control character U+{ord(character):04X}; leave it out")


def _check_names_object(class_name: str, caption: str, tokens: list[str]) -> None:
    if not any(token != "[UNK]" and any(map(str.isalnum, token)) for token in tokens):
        raise InvalidInput(
            f"class_name {class_name!r} has no word that GroundingDINO knows; name the object in English, e.g. 'laptop'"
        )
    if set(re.findall(r"[^\W_]+", caption)) <= _NAMELESS:
        raise InvalidInput(
            f"class_name {class_name!r} has only words that name no object; say what the object is, e.g. 'laptop'"
        )


@functools.cache
def _wordpiece() -> Tokenizer:
    """Return the tokenizer of bert-base-uncased without its template: callers add [CLS] and [SEP]."""
    ids = {piece: index for index, piece in enumerate(vocabulary_lines(BERT_PIECES))}
    tokenizer = Tokenizer(models.WordPiece(ids, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    return tokenizer


@functools.cache
def _byte_pairs() -> Tokenizer:
    """Return CLIP's tokenizer without its template.

    Its ids are, in order: 256 bytes, the same bytes at the end of a word, one per merge, the two special tokens.
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
