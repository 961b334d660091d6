"""The networks of the engine's process: loaded by each runtime that runs here, called once before it is ready."""

import json
import resource
import subprocess
import sys
from dataclasses import replace
from types import ModuleType

import numpy as np
import pytest

from respin.bundled import bundled_path
from respin.contracts import NETWORKS
from respin.contracts.networks import EDSR, INPAINT_UNET, ZERO123_UNET
from respin.errors import Busy, ContractMismatch, InternalError
from respin.lengths import usual_lengths
from respin.model_set import ModelSet
from respin.runtimes import RUNTIMES, InProcess
from respin_ensemble.networks import BatchedNetworks
from respin_ensemble.networks.in_process import (
    LOADERS,
    Source,
    blank_inputs,
    load_networks,
    time_batches,
    useful_batch,
    warm_up,
)
from respin_export.mini.trained import MiniSet

MINI = bundled_path("models/mini")
HERE = [name for name, runtime in RUNTIMES.items() if "cpu" in runtime.devices]


@pytest.fixture
def source_of(tmp_path):
    """The folder of an engine, as `respin assemble` lays it out."""

    def make(runtime, model_set=None, **fields):
        for name in NETWORKS:
            (tmp_path / "networks" / name).mkdir(parents=True, exist_ok=True)
            (tmp_path / "networks" / name / "model.onnx").symlink_to(MINI / name / "model.onnx")
        (tmp_path / "weights").symlink_to(MINI)
        return Source(tmp_path, model_set or ModelSet.load(MINI), InProcess(runtime, **fields))

    return make


@pytest.mark.parametrize("runtime", HERE)
def test_every_network_is_loaded_and_called_before_the_engine_is_ready(source_of, runtime):
    said = []
    loaded = load_networks(source_of(runtime), said.append)
    wanted = [
        f"{what} {name} ({place} of 10)" for what in ("loading", "warming up") for place, name in enumerate(NETWORKS, 1)
    ]
    assert said == wanted
    assert loaded.useful_batch == {}, "only a GPU's time is worth it"
    upscaled = loaded.networks(EDSR, image=np.zeros((1, 3, 32, 48), np.float32))["upscaled"]
    assert upscaled.shape == (1, 3, 128, 192)


@pytest.mark.parametrize("runtime", HERE)
def test_sizes_that_the_networks_do_not_have_are_found_before_the_engine_is_ready(source_of, runtime):
    mini = ModelSet.load(MINI)
    other = replace(mini, sizes=replace(mini.sizes, sam_side=512))
    with pytest.raises(ContractMismatch, match="sam_encoder does not answer with the sizes of the set's manifest"):
        load_networks(source_of(runtime, other), lambda step: None)


def test_modules_in_another_precision_than_the_manifests_are_refused(source_of, monkeypatch):
    maker = ModuleType("halved_modules")
    maker.module_loader = lambda folder, device, precision: lambda name: MiniSet().load(name).half()
    monkeypatch.setitem(sys.modules, "halved_modules", maker)
    with pytest.raises(ContractMismatch, match=r"weights of torch\.float16 and the set's manifest says fp32"):
        load_networks(source_of("torch", modules="halved_modules"), lambda step: None)


def test_each_runtime_has_a_module():
    assert set(LOADERS) == set(RUNTIMES)


class CountingNetworks(BatchedNetworks):
    """Answers zeros of the right shapes, and counts calls by batch."""

    def __init__(self):
        super().__init__(ModelSet.load(MINI).sizes)
        self.calls = {}

    def _run(self, spec, arrays):
        batch = len(arrays[spec.inputs[0].name])
        self.calls.setdefault(spec.name, []).append(batch)
        lengths = usual_lengths(spec, self.sizes)
        outputs = {}
        for tensor in spec.outputs:
            shape = [lengths.get(getattr(each, "name", ""), each) for each in self.sizes.shape(tensor.shape)]
            shape = [each if isinstance(each, int) else each.smallest for each in shape]
            outputs[tensor.name] = np.zeros((batch, *shape), tensor.dtype.numpy)
        return outputs


def test_on_a_gpu_every_batch_of_a_unet_comes_three_times_with_and_without_guidance_the_largest_first():
    networks = CountingNetworks()
    warm_up(networks, lambda step: None, 8)
    assert networks.calls[ZERO123_UNET.name] == [batch for batch in range(8, 0, -1) for _ in range(6)]
    assert networks.calls["inpaint_unet"] == [batch for batch in range(4, 0, -1) for _ in range(6)]
    assert networks.calls["clip_text"] == [2, 2, 2]
    assert len(networks.calls["grounding_dino"]) == 6, "the shape of a square photo, and the usual one"


@pytest.mark.parametrize(
    ("seconds", "batch"),
    [
        ({1: 7.8, 4: 10.9, 8: 15.4}, 8),
        ({1: 7.2, 2: 16.8, 4: 30.0}, 1),
        ({1: 10.0, 2: 11.0, 3: 15.0, 4: 20.0}, 2),
        ({1: 10.0, 2: 19.0}, 1),
        ({1: 10.0}, 1),
    ],
)
def test_a_call_is_as_large_as_its_samples_gain_by_it(seconds, batch):
    assert useful_batch(seconds) == batch


def test_the_largest_call_of_each_unet_is_chosen_by_its_time():
    class Slow(CountingNetworks):
        """Takes as long as a fixed cost and each sample's own, by a clock that it turns itself."""

        def _run(self, spec, arrays):
            clock[0] += 8.0 + len(arrays["latents"]) * (0.01 if spec is ZERO123_UNET else 100.0)
            return super()._run(spec, arrays)

    clock, networks = [0.0], Slow()
    timed = {
        unet.name: time_batches(networks, unet, 4, clock=lambda: clock[0]) for unet in (ZERO123_UNET, INPAINT_UNET)
    }
    assert {name: useful_batch(seconds) for name, seconds in timed.items()} == {"zero123_unet": 4, "inpaint_unet": 1}


class ShortOfMemory(CountingNetworks):
    """Fails as a runtime does that has no memory for more than two samples."""

    def __init__(self, error):
        super().__init__()
        self.error, self.released = error, 0

    def _run(self, spec, arrays):
        if len(arrays[spec.inputs[0].name]) > 2:
            self.held = np.zeros(1)
            raise InternalError(f"{spec.name} failed") from self.error
        return super()._run(spec, arrays)

    def release_memory(self):
        self.released += 1


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory"),
        RuntimeError("Failed to allocate memory for requested buffer of size 4194304"),
        RuntimeError("std::bad_alloc"),
    ],
)
def test_a_call_without_memory_is_unavailable_in_one_sentence_and_gives_back_what_it_can(error):
    networks = ShortOfMemory(error)
    inputs = {batch: blank_inputs(ZERO123_UNET, networks.sizes, batch, {}) for batch in (2, 3)}
    with pytest.raises(Busy, match="zero123_unet ran out of memory with 3 samples in a call; send the request again"):
        networks(ZERO123_UNET, **inputs[3])
    assert networks.released == 1
    assert len(networks(ZERO123_UNET, **inputs[2])["noise"]) == 2


def test_other_failures_keep_their_error():
    networks = ShortOfMemory(RuntimeError("invalid dimensions"))
    with pytest.raises(InternalError, match="zero123_unet failed"):
        networks(ZERO123_UNET, **blank_inputs(ZERO123_UNET, networks.sizes, 3, {}))
    assert networks.released == 0


MEMORY_SCRIPT = """
import json, resource, sys
from pathlib import Path
import numpy as np
from respin.contracts.networks import VAE_DECODER
from respin.errors import Busy
from respin.model_set import ModelSet
from respin.runtimes import InProcess
from respin_ensemble.networks.in_process import Source, blank_inputs, load_networks

folder = Path(sys.argv[1])
source = Source(folder, ModelSet.load(folder / "weights"), InProcess(sys.argv[2]))
networks = load_networks(source, lambda step: None).networks
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
large = blank_inputs(VAE_DECODER, networks.sizes, 1, {"latent_height": 96, "latent_width": 96})
small = blank_inputs(VAE_DECODER, networks.sizes, 1, {})
limits = resource.getrlimit(resource.RLIMIT_AS)
resource.setrlimit(resource.RLIMIT_AS, (used + 24 * 2**20, limits[1]))
told = ""
try:
    networks(VAE_DECODER, **large)
except Busy as error:
    told = str(error)
resource.setrlimit(resource.RLIMIT_AS, limits)
print(json.dumps([told, list(networks(VAE_DECODER, **small)["image"].shape)]))
"""


@pytest.mark.parametrize("runtime", HERE)
def test_a_process_that_is_out_of_memory_refuses_the_call_and_serves_the_next(source_of, runtime):
    source = source_of(runtime)
    done = subprocess.run(
        [sys.executable, "-c", MEMORY_SCRIPT, source.folder, runtime],
        capture_output=True,
        text=True,
        timeout=250,
        check=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (8 * 2**30, 8 * 2**30)),
    )
    told, shape = json.loads(done.stdout)
    assert "vae_decoder ran out of memory with 1 samples in a call" in told
    side = ModelSet.load(MINI).sizes.inpaint_side
    assert shape == [1, 3, side, side]
