"""What a denoising step copies to a device and back, on the code that a GPU runs with the CPU in its place."""

import numpy as np
import pytest
import torch

from respin.bundled import bundled_path
from respin.contracts.networks import INPAINT_UNET, STEP_INPUTS, UNETS
from respin.onnx_runtime import onnxruntime
from respin_ensemble.batching.step_batcher import StepBatcher
from respin_ensemble.networks import BatchedNetworks
from respin_ensemble.networks.onnx_cuda import BoundCall
from respin_ensemble.networks.torch_graph import CapturedCall, Lane, Transfers
from respin_ensemble.sampling import Guidance, SamplingParams, start
from respin_export.example import example_inputs, example_lengths
from respin_export.mini.sizes import SIZES

STEPS = 5


class CountedTransfers(Transfers):
    """Counts copies to the device and back, their bytes, and how often the machine waits for the device."""

    def __init__(self):
        super().__init__(Lane("cpu"))
        self.sent, self.fetched, self.waits = [], 0, 0

    def copy(self, target, source):
        if target.dtype == torch.uint8:
            self.sent.append(source.nbytes)
        else:
            self.fetched += 1
        super().copy(target, source)

    def synchronize(self):
        self.waits += 1
        super().synchronize()


def noise_of(latents, timestep, guidance, **conditions):
    """A UNet in one line, in which every input counts."""
    constant = sum(each.flatten(1).mean(1) for each in conditions.values())
    return latents * timestep[:, :, None, None] / 999 + (guidance[:, 0] * constant)[:, None, None, None]


class TorchStep:
    """A module as it is called by the runtimes torch and tensorrt."""

    def __init__(self, spec, arrays):
        self.transfers = CountedTransfers()
        self.call = CapturedCall(noise_of, arrays, Lane("cpu"), self.transfers)

    def __call__(self, arrays):
        return {"noise": self.call(arrays)[0]}

    @staticmethod
    def wanted(spec, arrays):
        return noise_of(**{name: torch.tensor(array) for name, array in arrays.items()}).numpy()

    def counts(self):
        found = self.transfers.sent, self.transfers.fetched, self.transfers.waits
        self.transfers.sent, self.transfers.fetched, self.transfers.waits = [], 0, 0
        return found


class CountedValue(onnxruntime.OrtValue):
    """A value on the device that counts the copies to it and from it."""

    sent, fetched = [], []

    def update_inplace(self, array):
        self.sent.append(array.nbytes)
        super().update_inplace(array)

    def numpy(self):
        self.fetched.append(1)
        return super().numpy()


class OnnxStep:
    """The mini set's graph as ONNX Runtime calls it on a GPU, where the run itself waits for the device."""

    def __init__(self, spec, arrays):
        session = onnxruntime.InferenceSession(bundled_path("models/mini") / spec.name / "model.onnx")
        shapes = [array.shape for array in session.run(None, dict(arrays))]
        self.runs, plain = 0, session.run_with_iobinding

        def run(*arguments):
            self.runs += 1
            plain(*arguments)

        session.run_with_iobinding = run
        CountedValue.sent, CountedValue.fetched = [], []
        self.call = BoundCall(session, spec, arrays, shapes, device="cpu", values=CountedValue)

    def __call__(self, arrays):
        return self.call(arrays)

    @staticmethod
    def wanted(spec, arrays):
        session = onnxruntime.InferenceSession(bundled_path("models/mini") / spec.name / "model.onnx")
        return session.run(None, dict(arrays))[0]

    def counts(self):
        found = CountedValue.sent, len(CountedValue.fetched), self.runs
        CountedValue.sent, CountedValue.fetched, self.runs = [], [], 0
        return found


RUNTIMES = pytest.mark.parametrize("runtime", [TorchStep, OnnxStep])
EACH_UNET = pytest.mark.parametrize("spec", UNETS.values(), ids=list(UNETS))


def inputs_of(spec, seed, batch=2):
    arrays = example_inputs(spec, SIZES, batch=batch, lengths=example_lengths(spec, SIZES, (0.3, 0.2)), seed=seed)
    for name, array in arrays.items():
        array.setflags(write=name in STEP_INPUTS)
    return arrays


def size_of(arrays, names):
    """Bytes of a block of inputs, each aligned to 256."""
    return sum(-(-arrays[name].nbytes // 256) * 256 for name in names)


@RUNTIMES
@EACH_UNET
def test_a_step_is_one_copy_of_what_changes_one_run_and_one_copy_back(runtime, spec):
    arrays = inputs_of(spec, 0)
    step = runtime(spec, arrays)
    step(arrays)
    step.counts()
    for seed in (1, 2, 3):
        changed = {**arrays, **{name: inputs_of(spec, seed)[name] for name in STEP_INPUTS}}
        noise = step(changed)["noise"]
        assert step.counts() == ([size_of(arrays, STEP_INPUTS)], 1, 1)
        np.testing.assert_array_equal(noise, runtime.wanted(spec, changed))


@RUNTIMES
@EACH_UNET
def test_other_samples_send_what_is_constant_once_more(runtime, spec):
    arrays, others = inputs_of(spec, 0), inputs_of(spec, 1)
    constant = [name for name in arrays if name not in STEP_INPUTS]
    step = runtime(spec, arrays)
    step(arrays)
    both = [size_of(arrays, STEP_INPUTS), size_of(arrays, constant)]
    for given, copies in ((arrays, both[:1]), (others, both), (others, both[:1]), (arrays, both)):
        step.counts()
        noise = step(given)["noise"]
        assert step.counts()[0] == copies
        np.testing.assert_array_equal(noise, runtime.wanted(spec, given))


@RUNTIMES
def test_an_array_that_can_be_written_is_sent_at_every_call(runtime):
    spec = INPAINT_UNET
    arrays = inputs_of(spec, 0)
    arrays["mask"] = arrays["mask"].copy()
    step = runtime(spec, arrays)
    step(arrays)
    arrays["mask"][:] = 1 - arrays["mask"]
    np.testing.assert_array_equal(step(arrays)["noise"], runtime.wanted(spec, arrays))


@RUNTIMES
def test_a_read_only_view_of_an_array_that_can_be_written_is_sent_at_every_call(runtime):
    spec = INPAINT_UNET
    arrays = inputs_of(spec, 0)
    beneath = arrays["mask"].copy()
    arrays["mask"] = beneath.view()
    arrays["mask"].setflags(write=False)
    step = runtime(spec, arrays)
    step(arrays)
    beneath[:] = 1 - beneath
    np.testing.assert_array_equal(step(arrays)["noise"], runtime.wanted(spec, arrays))


@RUNTIMES
def test_after_a_failed_call_everything_is_sent_again(runtime):
    spec = INPAINT_UNET
    arrays = inputs_of(spec, 0)
    step = runtime(spec, arrays)
    step(arrays)
    broken = {**arrays, "latents": None}
    with pytest.raises(TypeError):
        step(broken)
    step.counts()
    step(arrays)
    assert len(step.counts()[0]) == 2


class StepNetworks(BatchedNetworks):
    """Passes the calls of a step batcher to the code of a GPU."""

    def __init__(self, runtime):
        super().__init__(SIZES)
        self.runtime, self.step, self.copies = runtime, None, []

    def _run(self, spec, arrays):
        self.step = self.step or self.runtime(spec, arrays)
        answer = self.step(arrays)
        self.copies.append(self.step.counts())
        return answer


@RUNTIMES
@EACH_UNET
def test_over_the_steps_of_a_job_what_is_constant_goes_to_the_device_once(runtime, spec):
    networks = StepNetworks(runtime)
    arrays = inputs_of(spec, 0, batch=3)
    conditions = {name: array for name, array in arrays.items() if name not in STEP_INPUTS}
    samples = [
        start(
            SamplingParams("unipc", STEPS, Guidance(3.0)),
            arrays["latents"][index],
            {name: array[index] for name, array in conditions.items()},
            family="inpainting",
            generator=np.random.default_rng(index),
        )
        for index in range(3)
    ]
    with StepBatcher(networks, spec) as batcher:
        finished = [index for group in batcher.run(samples, lambda *_: None) for index in group]
    assert sorted(finished) == [0, 1, 2]
    assert networks.copies[1:] == [([size_of(arrays, STEP_INPUTS)], 1, 1)] * (STEPS - 1)
    assert networks.copies[0][0].count(size_of(arrays, conditions)) == 1
