"""Networks with random weights: of the published architecture where the mini set has another one."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.progress import Progress

from respin_export.checkpoints import CHECKPOINT_OF, load_network
from respin_export.mini import networks
from respin_export.originals.grounding_dino import network_with_all_queries
from respin_export.weights.catalogue import choose
from respin_export.weights.synthesize import Synthesizer

OF_THE_MINI_SET = ("sam_encoder", "sam_decoder", "clip_vision", "edsr", "clip_text")

_FOLDER = TemporaryDirectory()


def build(name, *, seed=networks.SEED):
    """A network for inference; the same seed gives the same weights."""
    if name in OF_THE_MINI_SET:
        return networks.build(name, seed=seed)
    if name == "grounding_dino":
        return networks.build_seeded(network_with_all_queries, seed).eval()
    return load_network(name, _synthesized(CHECKPOINT_OF[name], seed))


@cache
def _synthesized(checkpoint, seed):
    folder = Path(_FOLDER.name) / f"{checkpoint}-{seed}"
    Synthesizer(folder, "mini", seed, Progress(disable=True)).write([choose(checkpoint)])
    return folder
