"""GPU memory, computed on tensors without values."""

import json
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional

from respin.contracts import NETWORKS
from respin.gpu_memory import FILE, GpuNeed, stored_figures
from respin.model_set import Sizes
from respin_benchmarks.gpu_memory import MIB, FusedAttention, LiveMemory, scratch_bytes
from respin_benchmarks.sections import SECTIONS
from respin_export.mini.trained import MiniSet

ROOT = Path(__file__).parents[2]


def test_the_peak_is_of_what_exists_at_the_same_time():
    memory = LiveMemory()
    with torch.device("meta"), memory:
        for _ in range(3):
            pair = [torch.empty(MIB, dtype=torch.uint8) for _ in range(2)]
            del pair
        view = torch.empty(MIB, dtype=torch.uint8).view(2, -1)
        assert memory.live == MIB, "a view takes no memory of its own"
        del view
    assert (memory.peak, memory.live) == (2 * MIB, 0)


def test_attention_holds_no_scores():
    query = torch.empty(1, 1, 4096, 8, device="meta")
    memory = LiveMemory()
    with FusedAttention(), memory:
        attended = functional.scaled_dot_product_attention(query, query, query)
    assert attended.shape == query.shape
    assert memory.peak == query.nbytes


def test_a_networks_scratch_grows_with_its_batch():
    module: nn.Module = MiniSet().load("vae_decoder").eval().to("meta")
    one, three = (scratch_bytes(module, "vae_decoder", MiniSet.sizes, batch) for batch in (1, 3))
    result = 3 * MiniSet.sizes.inpaint_side**2 * 4
    assert result < one < three <= 3 * one


def test_the_committed_figures_are_of_every_network_and_on_the_page():
    assert set(stored_figures()) == {"full", "mini"}
    for size, sizes in (("full", Sizes()), ("mini", MiniSet.sizes)):
        figures = json.loads(FILE.read_text())[size]
        assert figures["view_side"] == sizes.view_side
        assert list(figures["weights_mib"]) == list(NETWORKS)
        assert all(list(each) == list(NETWORKS) for each in figures["scratch_mib"].values())
    (report,) = SECTIONS["docs/gpu.md"]
    text = report.text(ROOT / "benchmarks/results")
    assert f"<!-- {report.section}: begin -->\n{text}" in (ROOT / "docs/gpu.md").read_text()


@pytest.mark.parametrize("scratch", [0, 100])
def test_a_need_adds_up(scratch):
    need = GpuNeed(10, scratch, 5)
    assert need.total_mib == 15 + scratch
    assert str(need).startswith(f"{15 + scratch} MiB of GPU memory (weights 10, scratch {scratch}, context 5")
