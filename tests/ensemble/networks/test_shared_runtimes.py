"""Networks of each runtime that runs here on less memory than they take together: answers, books, and what is freed."""

import re

import numpy as np
import pytest
import torch

from respin.bundled import bundled_path
from respin.contracts import NETWORKS
from respin.contracts.networks import EDSR, UNETS
from respin.errors import InvalidInput
from respin.gpu_memory import shared_need
from respin.model_set import ModelSet
from respin.runtimes import RUNTIMES, InProcess
from respin_ensemble.metrics import InMemoryMeter
from respin_ensemble.networks.in_process import Source, load_networks
from respin_ensemble.networks.onnx import OnnxNetworks, PagedSession
from respin_ensemble.networks.torch_calls import EagerCall, GraphedCall
from respin_ensemble.networks.torch_networks import ModuleNetworks
from respin_ensemble.networks.torch_paged import WITHOUT_GRAPHS, PagedModule
from respin_export.example import example_inputs, example_lengths
from respin_export.mini.trained import MiniSet

MINI = bundled_path("models/mini")
HERE = [name for name, runtime in RUNTIMES.items() if "cpu" in runtime.devices]


@pytest.fixture
def load(tmp_path):
    """Loads the mini set as the engine does; returns the networks, their meter, and what was reported of paging."""
    for name in NETWORKS:
        (tmp_path / "networks" / name).mkdir(parents=True)
        (tmp_path / "networks" / name / "model.onnx").symlink_to(MINI / name / "model.onnx")
    (tmp_path / "weights").symlink_to(MINI)

    def make(runtime, gpu_memory_mib=0):
        meter, reported = InMemoryMeter(), []
        source = Source(tmp_path, ModelSet.load(MINI), InProcess(runtime, gpu_memory_mib=gpu_memory_mib))
        networks = load_networks(source, lambda step: None, meter, reported.append).networks
        return networks, meter, reported

    return make


def budget_mib(runtime, *, unets_stay):
    return shared_need(runtime, ModelSet.load(MINI), 8, unets_stay=unets_stay).total_mib


def inputs_of(spec, sizes):
    return example_inputs(spec, sizes, batch=1, lengths=example_lengths(spec, sizes))


@pytest.mark.parametrize("runtime", HERE)
@pytest.mark.parametrize("unets_stay", [True, False], ids=["UNets stay", "UNets give way"])
def test_shared_networks_answer_the_same_bytes_and_hold_no_more_than_the_budget(load, runtime, unets_stay):
    shared, meter, reported = load(runtime, budget_mib(runtime, unets_stay=unets_stay))
    enough, _, _ = load(runtime)
    for _ in range(2):
        for spec in reversed(NETWORKS.values()):
            arrays = inputs_of(spec, shared.sizes)
            wanted = enough(spec, **arrays)
            for name, answer in shared(spec, **arrays).items():
                np.testing.assert_array_equal(answer, wanted[name])
    evicted = {name for (metric, name) in meter.values if metric == "respin_network_evictions_total"}
    assert evicted
    assert bool(evicted & UNETS.keys()) != unets_stay
    held = [re.search(r"hold ([\d.]+) of ([\d.]+) MiB", line) for line in reported]
    assert all(float(each[1]) <= float(each[2]) for each in held)


@pytest.mark.parametrize("runtime", HERE)
def test_the_warm_up_loads_each_network_that_shares_memory_once(load, runtime):
    _, meter, reported = load(runtime, budget_mib(runtime, unets_stay=True))
    loads = {name: count for (metric, name), count in meter.values.items() if metric == "respin_network_loads_total"}
    assert loads == dict.fromkeys(NETWORKS.keys() - UNETS.keys(), 1)
    assert len(reported) == len(loads)


@pytest.mark.parametrize("runtime", HERE)
def test_a_budget_that_is_too_small_also_for_sharing_ends_the_start(load, runtime):
    with pytest.raises(InvalidInput, match="needs at least"):
        load(runtime, budget_mib(runtime, unets_stay=False) - 1)


def test_a_module_that_gives_its_memory_up_keeps_its_weights_and_its_call():
    module = MiniSet().load("edsr").eval().requires_grad_(False)
    weights = next(module.parameters())
    kept = weights.data_ptr()
    paged, call = PagedModule(module, "cpu"), EagerCall(module, EDSR, "cpu")
    arrays = {"image": np.ones((1, 3, 32, 32), np.float32)}
    wanted = call(arrays)["upscaled"]
    for _ in range(2):
        paged.load()
        assert weights.data_ptr() != kept
        np.testing.assert_array_equal(call(arrays)["upscaled"], wanted)
        paged.unload()
        assert weights.data_ptr() == kept


def test_networks_that_share_memory_are_called_without_graphs():
    modules = {name: torch.nn.Identity() for name in ("edsr", "vae_decoder")}
    networks = ModuleNetworks(
        modules,
        ModelSet.load(MINI).sizes,
        execution="graphs",
        pageables={"edsr": PagedModule(modules["edsr"], "cpu")},
    )
    reasons = {name: call.uncaptured for name, call in networks.calls.items() if isinstance(call, GraphedCall)}
    assert reasons["edsr"] == WITHOUT_GRAPHS != reasons["vae_decoder"]


def test_a_session_that_gives_its_memory_up_is_dropped():
    networks = OnnxNetworks.from_set(MINI)
    assert not networks.pageables

    class Session:
        def __init__(self):
            self.closed = False

        def close(self):
            self.closed = True

    opened = []
    paged = PagedSession(lambda: opened.append(Session()) or opened[-1])
    assert not opened
    for _ in range(2):
        paged.load()
        paged.unload()
        paged.unload()  # as after a load that failed
    assert [session.closed for session in opened] == [True, True]
