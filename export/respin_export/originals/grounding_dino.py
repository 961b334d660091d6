"""Known calls of the original GroundingDINO (IDEA-Research/GroundingDINO)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
from transformers import BertConfig, GroundingDinoConfig, GroundingDinoForObjectDetection, SwinConfig

from respin.contracts.networks import CAPTION_TOKENS
from respin.specs import Array
from respin_export.example import caption_inputs
from respin_export.mini.fill import fill_grounding_dino
from respin_export.mini.layers import FOLDED_VOCABULARY, FoldedEmbedding
from respin_export.networks.grounding_dino import GroundingDino
from respin_export.originals import fill
from respin_export.originals.case import Case, normalise
from respin_export.originals.reference import Reference

LAYOUT = "groundingdino/reduced"
CASES = ("chair", "two", "wide", "wide2")
"""Names of the calls: two captions on one picture, and two pictures so wide that some anchors are invalid."""

PHRASES = {4: ((1, 3),), 7: ((1, 4), (4, 6))}
"""Begin and end of each phrase, with its closing full stop, by the number of tokens of the caption."""

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def caption(ids: Array, length: int = CAPTION_TOKENS) -> dict[str, Array]:
    """Return the four text inputs of a caption, with a batch axis.

    Args:
        ids: BERT's tokens, (1, tokens).
        length: number of tokens to pad to.
    """
    inputs = caption_inputs(ids[0], PHRASES[ids.shape[1]], length)
    return {name: array[None] for name, array in inputs.items()}


def cases(reference: Reference, network: str) -> Iterator[Case]:
    """Yield the known calls.

    Args:
        reference: a reference folder.
        network: name of the network.
    """
    known = reference.outputs(LAYOUT)
    for name in CASES:
        ids = known[f"{name}.input_ids"]
        height, width = map(int, known.get(f"{name}.image_hw", reference.config(LAYOUT)["image_hw"]))
        picture = fill.image(f"gdino_{name}" if "wide" in name else "gdino", height, width)
        inputs = {"image": normalise(picture.astype(np.float32) / 255, MEAN, STD), **caption(ids)}
        wanted = {"logits": known[f"{name}.pred_logits"], "boxes": known[f"{name}.pred_boxes"]}
        yield Case(
            network, f"{name}, {height} x {width} px", inputs, wanted, kept=partial(_without_padding, ids.shape[1])
        )


def _without_padding(tokens: int, outputs: Sequence[Array]) -> list[Array]:
    """Remove the padding if all its logits are -inf; otherwise keep it, and the comparison fails."""
    logits, boxes = outputs
    silent = bool(np.isneginf(logits[..., tokens:]).all())
    return [logits[..., :tokens] if silent else logits, boxes]


def network_with_all_queries() -> GroundingDino:
    """Build a network with the contract's 900 queries, small and with random weights; the reference's has 40."""
    config = GroundingDinoConfig(
        backbone_config=SwinConfig(
            embed_dim=16,
            depths=[1, 1, 2, 1],
            num_heads=[1, 2, 4, 8],
            mlp_ratio=1.0,
            out_features=["stage2", "stage3", "stage4"],
        ),
        text_config=BertConfig(
            vocab_size=FOLDED_VOCABULARY,
            hidden_size=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=64,
        ),
        d_model=32,
        encoder_layers=1,
        decoder_layers=2,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        disable_custom_kernels=True,
    )
    model = GroundingDinoForObjectDetection(config)
    model.model.text_backbone.embeddings.word_embeddings = FoldedEmbedding(config.text_config.hidden_size)
    fill_grounding_dino(model)
    return GroundingDino(model)
