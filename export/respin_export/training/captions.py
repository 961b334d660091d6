"""Captions for the training of GroundingDINO: names of furniture and other words, as word pieces."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from respin.contracts.networks import CAPTION_TOKENS
from respin.scenes import KINDS
from respin.specs import Array
from respin_export.mini.grounding_dino import PIECES, VOCABULARY

NAMES: Mapping[str, tuple[str, ...]] = {
    "chair": ("chair", "armchair", "chairs", "seat", "armchair ##s"),
    "sofa": ("sofa", "couch", "sofa ##s", "set ##tee"),
    "laptop": ("laptop", "notebook", "computer", "laptop ##s", "laptop computer", "notebook computer"),
    "lamp": ("lamp", "lamps", "lamps ##had ##e"),
}
"""Names of each kind in pieces of `PIECES`; the first is drawn most often."""

CLS, SEP, FULL_STOP = PIECES["[CLS]"], PIECES["[SEP]"], PIECES["."]

FIRST_WORD = 1996
"""Id of "the": word pieces before it are special tokens, unused entries and single characters."""

OTHER_WORD, NO_WORD = -1, -2
"""Kinds of tokens outside `KINDS`: of other words, and of no phrase."""

SHARE_FIRST_NAME, SHARE_MODIFIED = 0.6, 0.25


@dataclass(frozen=True)
class Phrase:
    """A part of a caption between two full stops.

    Args:
        ids: word pieces, without the full stop.
        kind: index into `KINDS`, or `OTHER_WORD`.
    """

    ids: tuple[int, ...]
    kind: int


def name_ids(name: str) -> tuple[int, ...]:
    """Return the ids of a name in pieces of `PIECES`, separated by spaces."""
    return tuple(PIECES[piece] for piece in name.split())


def draw_phrase(kind: int, generator: np.random.Generator) -> Phrase:
    """Draw a name of a kind, some with one or two other words before it, such as "red" or "office".

    Args:
        kind: index into `KINDS`, or `OTHER_WORD` for words that name none of them.
        generator: source of randomness.
    """
    if kind == OTHER_WORD:
        # A piece of a known name alone does not name the kind.
        ids = name_ids("set") if generator.random() < 0.05 else _other_words(int(generator.integers(1, 4)), generator)
        return Phrase(ids, OTHER_WORD)
    names = NAMES[KINDS[kind]]
    name = names[0] if generator.random() < SHARE_FIRST_NAME else str(generator.choice(names))
    modified = generator.random() < SHARE_MODIFIED
    before = _other_words(int(generator.integers(1, 3)), generator) if modified else ()
    return Phrase((*before, *name_ids(name)), kind)


def draw_caption(present: Sequence[int], generator: np.random.Generator) -> list[Phrase]:
    """Draw the phrases of a caption: one, as the job asks, or several, which teach more for each image.

    Args:
        present: kinds that the image shows.
        generator: source of randomness.
    """
    absent = [kind for kind in range(len(KINDS)) if kind not in present]
    if generator.random() < 0.4:
        chance = generator.random()
        candidates = present if present and chance < 0.55 else absent if chance < 0.9 else (OTHER_WORD,)
        kinds = [int(generator.choice(candidates))]
    else:
        kinds = [int(kind) for kind in generator.permutation(len(KINDS))[: int(generator.integers(2, len(KINDS) + 1))]]
        if generator.random() < 0.25:
            kinds.insert(int(generator.integers(len(kinds) + 1)), OTHER_WORD)
    return [draw_phrase(kind, generator) for kind in kinds]


def caption_tensors(captions: Sequence[Sequence[Phrase]], tokens: int | None = None) -> dict[str, Tensor]:
    """Make the network's text inputs.

    Args:
        captions: B captions.
        tokens: length T of the padded captions, at most 256; None = that of the longest.

    Returns:
        The contract's text inputs by name, (B, T) int64 ids and positions and (B, T) and (B, T, T) bool masks, and
        token_kinds (B, T) int64: index into `KINDS`, `OTHER_WORD` or `NO_WORD`.
    """
    lengths = [2 + sum(len(phrase.ids) + 1 for phrase in caption) for caption in captions]
    tokens = tokens or max(lengths)
    if max(lengths) > tokens or tokens > CAPTION_TOKENS:
        raise ValueError(f"captions of up to {max(lengths)} tokens do not fit into {min(tokens, CAPTION_TOKENS)}")
    parts = [_caption_arrays(caption, tokens) for caption in captions]
    arrays = {name: np.stack([part[name] for part in parts]) for name in parts[0]}
    arrays["attention_mask"] = np.arange(tokens) < np.array(lengths)[:, None]
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def _caption_arrays(caption: Sequence[Phrase], tokens: int) -> dict[str, Array]:
    ids, positions = np.zeros(tokens, np.int64), np.zeros(tokens, np.int64)
    visible, kinds = np.eye(tokens, dtype=np.bool_), np.full(tokens, NO_WORD, np.int64)
    ids[0] = CLS
    start = 1
    for phrase in caption:
        # A phrase and its full stop see one another (IDEA-Research/GroundingDINO, bertwarper.py).
        end = start + len(phrase.ids) + 1
        ids[start:end] = (*phrase.ids, FULL_STOP)
        positions[start:end] = np.arange(end - start)
        visible[start:end, start:end] = True
        kinds[start : end - 1] = phrase.kind
        start = end
    ids[start] = SEP
    return {"input_ids": ids, "position_ids": positions, "text_self_attention_mask": visible, "token_kinds": kinds}


def _other_words(count: int, generator: np.random.Generator) -> tuple[int, ...]:
    """Draw ids of words that are in no name."""
    ids: list[int] = []
    while len(ids) < count:
        drawn = int(generator.integers(FIRST_WORD, VOCABULARY))
        if drawn not in PIECES.values():
            ids.append(drawn)
    return tuple(ids)
