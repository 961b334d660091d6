"""Captions and prompts get the ids that the networks were trained on, or a sentence."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from respin.contracts.networks import CLIP_TEXT, GROUNDING_DINO
from respin.errors import InternalError, InvalidInput
from respin_ensemble import vocabularies
from respin_ensemble.stages.tokenization import PHRASE_ENDS, caption_tokens, decode_phrase, phrase_blocks, prompt_ids
from respin_ensemble.vocabularies import BERT_PIECES, CLIP_MERGES, SHA256, vocabulary_lines

REFERENCE = np.load(Path(__file__).parents[2] / "data" / "groundingdino_text.npz")
"""Text inputs that the GroundingDINO repository's own code made of "chair." and "office chair. laptop."; pad16 is the
same caption padded to 16 tokens."""

VOCABULARIES = Path(vocabularies.__file__).parent

CHAIR_IDS = [101, 3242, 1012, 102]

HARD_TEXTS = [
    "",
    " ",
    "a photo of a cat",
    "Empty background, clean scene",
    "  two\tkinds \n of   whitespace ",
    "café Ångström naïve",
    "cafe\u0301",
    "it's we've THEY'LL I'd o'clock 'tis",
    "1234 3.14 \uff12\uff13 ²",
    "a_b-c/d (e) [f] {g} <h> #1 @x $5 50%",
    "chair 🪑🪑 👩‍👩‍👧",
    "椅子 стул كرسي",
    "İstanbul ß ﬁ",
    "\u200bzero\u200dwidth\ufeff",
    "bell\x07null\x00",
    "<|endoftext|> <|startoftext|> <|EndOfText|>",
    "word</w> </w>",
    "!!!??...",
    "supercalifragilisticexpialidocious" * 4,
    "chair " * 200,
]


@pytest.mark.parametrize(
    ("class_name", "ids"),
    [
        ("chair", CHAIR_IDS),
        ("chair .", CHAIR_IDS),
        (" Chair.\n", CHAIR_IDS),
        ("office chair . laptop", [101, 2436, 3242, 1012, 12191, 1012, 102]),
    ],
)
def test_a_name_becomes_a_caption_closed_by_a_full_stop(class_name, ids):
    tokens = caption_tokens(class_name)
    assert tokens.input_ids[: len(ids)].tolist() == ids
    assert not tokens.input_ids[len(ids) :].any()
    assert tokens.attention_mask.sum() == len(ids)
    assert tokens.attention_mask[: len(ids)].all()


def test_a_caption_keeps_to_the_networks_contract():
    arrays = vars(caption_tokens("chair"))
    wanted = [spec for spec in GROUNDING_DINO.inputs if spec.name != "image"]
    assert set(arrays) == {spec.name for spec in wanted}
    for spec in wanted:
        spec.check(arrays[spec.name], batched=False, owner="caption")


@pytest.mark.parametrize("case", ["chair", "two"])
def test_phrases_are_parted_as_the_authors_own_code_parts_them(case):
    ids = REFERENCE[f"{case}.input_ids"]
    may_see, position_ids = phrase_blocks(ids)
    assert_array_equal(may_see, REFERENCE[f"{case}.text_self_attention_masks"])
    assert_array_equal(position_ids, REFERENCE[f"{case}.position_ids"])
    padded_see, padded_positions = phrase_blocks(np.pad(ids, (0, 16 - len(ids))))
    assert_array_equal(padded_see, REFERENCE[f"{case}.pad16_text_self_attention_masks"])
    assert_array_equal(padded_positions, REFERENCE[f"{case}.pad16_position_ids"])


captions = st.lists(st.sampled_from([0, 3242, 2436, *PHRASE_ENDS]), min_size=1, max_size=30).map(
    lambda rest: np.array([101, *rest], np.int64)
)


@given(captions)
def test_two_tokens_see_each_other_only_within_one_phrase(ids):
    ends = [index for index, token in enumerate(ids) if token in PHRASE_ENDS]
    may_see, position_ids = phrase_blocks(ids)

    def phrase(index):
        """The first end at or after a token, and the last before it; None where the token is alone."""
        closing = next((end for end in ends if end >= index), None)
        if closing in (None, 0, len(ids) - 1):
            return None
        return closing, max(end for end in ends if end < index)

    for i in range(len(ids)):
        assert position_ids[i] == (i - phrase(i)[1] - 1 if phrase(i) else 0)
        for j in range(len(ids)):
            assert may_see[i, j] == (i == j or (phrase(i) is not None and phrase(i) == phrase(j)))


def test_phrases_are_parted_as_transformers_parts_them():
    torch = pytest.importorskip("torch")
    modeling = pytest.importorskip("transformers.models.grounding_dino.modeling_grounding_dino")
    random = np.random.default_rng(0)
    for length in (4, 5, 16, 64, 256):
        ids = random.choice([0, 3242, 2436, 12191, *PHRASE_ENDS], length)
        ids[0] = 101
        may_see, position_ids = phrase_blocks(ids)
        theirs = modeling.generate_masks_with_special_tokens_and_transfer_map(
            torch.from_numpy(ids[None]), torch.tensor(PHRASE_ENDS)
        )
        assert_array_equal(may_see, theirs[0][0].numpy())
        assert_array_equal(position_ids, theirs[1][0].numpy())


@pytest.mark.parametrize(
    "class_name",
    ["Café table", "t-shirt", "teacher's desk?", "椅子 chair", "x" * 101 + " lamp", "lap\u200btop", "[SEP] a"],
)
def test_a_caption_has_the_ids_that_transformers_gives_it(class_name):
    transformers = pytest.importorskip("transformers")
    ids = {piece: index for index, piece in enumerate(vocabulary_lines(BERT_PIECES))}
    theirs = transformers.BertTokenizer(vocab=ids)(class_name.lower() + ".")["input_ids"]
    tokens = caption_tokens(class_name)
    assert tokens.input_ids[tokens.attention_mask].tolist() == theirs


@pytest.mark.parametrize(
    ("class_name", "says"),
    [
        ("!?. ...", "no word that GroundingDINO knows; name the object in English"),
        ("🪑", "no word that GroundingDINO knows"),
        ("x" * 120, "no word that GroundingDINO knows"),
        ("the of and", "only words that name no object; say what the object is"),
        ("The, OF. and_it", "only words that name no object"),
        ("lap\x07top", r"control character U\+0007; leave it out"),
        ("two\nlines", r"control character U\+000A"),
        ("lone \ud800", r"control character U\+D800"),
        ("red chair " * 128, "makes 259 tokens, GroundingDINO reads 256; shorten it"),
    ],
)
def test_a_name_that_finds_nothing_is_refused_in_words(class_name, says):
    with pytest.raises(InvalidInput, match=says):
        caption_tokens(class_name)


@pytest.mark.parametrize("class_name", ["the lamp", "can", "7up", "chair 🪑", "one", "C"])
def test_a_name_with_one_word_that_names_something_passes(class_name):
    caption_tokens(class_name)


def test_a_caption_of_exactly_256_tokens_passes_and_ends_alone():
    tokens = caption_tokens("chair " * 253)
    assert tokens.attention_mask.all()
    assert tokens.input_ids[-2:].tolist() == [1012, 102]
    assert tokens.text_self_attention_mask[-1].sum() == 1


@pytest.mark.parametrize(
    ("class_name", "sure_of", "phrase"),
    [
        ("office chair . laptop", range(7), "office chair laptop"),
        ("office chair . laptop", [2], "chair"),
        ("office chair . laptop", [0, 3, 6, 200], ""),
        ("Teacher's t-shirt", range(256), "teacher's t-shirt"),
        ("chair 🪑", range(256), "chair"),
        ("skateboarder", range(256), "skateboarder"),
    ],
)
def test_the_phrase_is_made_of_the_words_above_the_threshold(class_name, sure_of, phrase):
    probabilities = np.full(256, 0.25, np.float32)
    probabilities[list(sure_of)] = 0.26
    assert decode_phrase(caption_tokens(class_name), probabilities, 0.25) == phrase


def test_the_end_of_a_word_alone_is_told_without_its_mark():
    pieces = caption_tokens("respin")
    assert pieces.attention_mask.sum() > 4, "the word must be of several pieces for this test"
    probabilities = np.zeros(256, np.float32)
    probabilities[2] = 1
    found = decode_phrase(pieces, probabilities, 0.5)
    assert found
    assert "#" not in found


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("", []),
        ("a photo of a cat", [320, 1125, 539, 320, 2368]),
        ("Hello   WORLD!", [3306, 1002, 256]),
    ],
)
def test_a_prompt_runs_from_the_start_token_to_the_end_token_and_is_padded_with_it(text, ids):
    found, was_cut = prompt_ids(text)
    assert found.tolist() == [49406, *ids] + [49407] * (76 - len(ids))
    assert not was_cut
    CLIP_TEXT.inputs[0].check(found, batched=False, owner="prompt")


@pytest.mark.parametrize(("words", "cut"), [(75, False), (76, True), (5000, True)])
def test_a_prompt_that_does_not_fit_is_cut_and_says_so(words, cut):
    ids, was_cut = prompt_ids("chair " * words)
    assert was_cut is cut
    assert ids.shape == (77,)
    assert ids[0] == 49406
    assert ids[-1] == 49407
    assert (ids[1:-1] == ids[1]).all()


@pytest.fixture(scope="session")
def clip_of_transformers():
    transformers = pytest.importorskip("transformers")
    merges = [tuple(line.split()) for line in vocabulary_lines(CLIP_MERGES)[1:]]
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    alphabet = [chr(code) for code in [*printable, *range(256, 256 + 256 - len(printable))]]
    words = alphabet + [letter + "</w>" for letter in alphabet] + ["".join(merge) for merge in merges]
    ids = {word: index for index, word in enumerate([*words, "<|startoftext|>", "<|endoftext|>"])}
    assert len(ids) == 49408
    return transformers.CLIPTokenizer(vocab=ids, merges=merges, model_max_length=77)


@pytest.mark.parametrize("text", HARD_TEXTS)
def test_a_prompt_has_the_ids_that_transformers_gives_it(clip_of_transformers, text):
    theirs = clip_of_transformers(text, padding="max_length", truncation=True)["input_ids"]
    assert prompt_ids(text)[0].tolist() == theirs


@settings(deadline=None)
@given(st.text(max_size=80))
def test_any_prompt_has_the_ids_that_transformers_gives_it(clip_of_transformers, text):
    theirs = clip_of_transformers(text, padding="max_length", truncation=True)["input_ids"]
    assert prompt_ids(text)[0].tolist() == theirs


@settings(deadline=None)
@given(st.text(max_size=200))
def test_any_name_gives_a_caption_or_a_sentence(class_name):
    try:
        tokens = caption_tokens(class_name)
    except InvalidInput:
        return
    assert tokens.input_ids[0] == 101
    assert tokens.attention_mask.sum() >= 4


@pytest.mark.parametrize("name", SHA256)
def test_a_damaged_vocabulary_is_noticed(name, tmp_path):
    shutil.copytree(VOCABULARIES, tmp_path, dirs_exist_ok=True)
    content = bytearray((tmp_path / name).read_bytes())
    content[1000] ^= 1
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InternalError, match=r"is damaged.*install respin again"):
        vocabulary_lines(name, tmp_path)


@pytest.mark.parametrize("name", SHA256)
def test_a_missing_vocabulary_is_noticed(name, tmp_path):
    with pytest.raises(InternalError, match="is missing; install respin again"):
        vocabulary_lines(name, tmp_path)


@pytest.mark.parametrize(("name", "lines"), [(BERT_PIECES, 30522), (CLIP_MERGES, 1 + 49152 - 256 - 2)])
def test_a_vocabulary_is_whole_and_tells_its_source_and_licence(name, lines):
    assert len(vocabulary_lines(name)) == lines
    folder = (VOCABULARIES / name).parent
    assert SHA256[name] in (folder / "SOURCE.md").read_text()
    assert "icense" in (folder / "LICENSE").read_text()
