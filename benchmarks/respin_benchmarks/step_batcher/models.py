"""The models that run inside Triton for this benchmark: a UNet that logs its calls, and two ways of driving it."""

from __future__ import annotations

import json
import logging
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import triton_python_backend_utils as pb_utils

from respin.bundled import bundled_path
from respin.contracts.networks import UNETS, ZERO123_UNET
from respin.lengths import usual_lengths
from respin.model_set import ModelSet, Sizes
from respin.specs import Array, ModelSpec
from respin_benchmarks.step_batcher.calls import CallLog, Span
from respin_benchmarks.step_batcher.rows import COST_MS
from respin_ensemble.batching.step_batcher import StepBatcher
from respin_ensemble.networks.triton import TritonNetworks
from respin_ensemble.sampling import Guidance, Sample, SamplingParams, start
from respin_ensemble.sampling.samplers import ModelFamily
from respin_ensemble.serving.engine import SWITCH_S
from respin_ensemble.serving.replies import FINAL
from respin_export.example import example_inputs

MOST_JOBS = 32
"""Requests that a driver works on at once, each in a thread."""

STEP_INPUTS = ("latents", "timestep", "guidance")
"""Inputs of a UNet that change at each step; the others are conditions."""

_log = logging.getLogger(__name__)


def sample_for(unet: ModelSpec, steps: int, seed: int) -> Sample:
    """Return one sample of a UNet by DDIM, with random conditions of the mini set's sizes.

    Args:
        unet: a UNet's contract.
        steps: asked of the sampler, which may run another number (`zero123_schedule`).
        seed: seed of noise and conditions.
    """
    sizes = ModelSet.load(bundled_path("models/mini")).sizes
    inputs = example_inputs(unet, sizes, batch=1, lengths=usual_lengths(unet, sizes), seed=seed)
    conditions = {name: array[0] for name, array in inputs.items() if name not in STEP_INPUTS}
    # As a job's defaults: DDIM adds noise back to a view and none to a background.
    views = unet.name == ZERO123_UNET.name
    params = SamplingParams("ddim", steps, Guidance(3.0), eta=float(views))
    family: ModelFamily = "zero123" if views else "inpainting"
    return start(params, inputs["latents"][0], conditions, family=family, generator=np.random.default_rng(seed))


def _input(request: pb_utils.InferenceRequest, name: str) -> Array:
    """Return one input without a copy: a GPU's backend would read no more of it on the CPU."""
    return next(tensor.as_numpy() for tensor in request.inputs() if tensor.name() == name)


class FixedCostUNet:
    """A UNet that takes the same time whatever the batch, and predicts the latents themselves as the noise.

    That prediction keeps latents at unit variance all the way, so that they become pictures.
    """

    def initialize(self, args: Mapping[str, str]) -> None:
        """Read the path of the log."""
        self._calls = CallLog(Path(json.loads(args["model_config"])["parameters"]["call_log"]["string_value"]))

    def execute(self, requests: Sequence[pb_utils.InferenceRequest]) -> list[pb_utils.InferenceResponse]:
        """Take the time of one call for all requests together."""
        began_ns = time.monotonic_ns()
        time.sleep(COST_MS / 1e3)
        noises = [_input(request, "latents").copy() for request in requests]
        self._calls.record(Span(began_ns, time.monotonic_ns(), sum(map(len, noises))))
        return [pb_utils.InferenceResponse([pb_utils.Tensor("noise", noise)]) for noise in noises]


class Driver(ABC):
    """Takes one sample per request from noise to latents, each in a thread.

    Answers when the sample entered and when it was done, ns on the machine's monotonic clock.
    """

    def initialize(self, args: Mapping[str, str]) -> None:
        """Start the threads; `args` contain nothing that matters here."""
        sys.setswitchinterval(SWITCH_S)  # as the engine does
        self._networks = TritonNetworks(Sizes())
        self._jobs = ThreadPoolExecutor(MOST_JOBS)

    def execute(self, requests: Sequence[pb_utils.InferenceRequest]) -> None:
        """Take requests in and return at once."""
        for request in requests:
            unet, steps, seed = (_input(request, name)[0] for name in ("unet", "steps", "seed"))
            self._jobs.submit(self._work, request.get_response_sender(), unet.decode(), int(steps), int(seed))

    def finalize(self) -> None:
        """Wait for the requests under way."""
        self._jobs.shutdown()

    def _work(self, sender: pb_utils.InferenceResponseSender, unet: str, steps: int, seed: int) -> None:
        try:
            sample = sample_for(UNETS[unet], steps, seed)
            began_ns = time.monotonic_ns()
            self._drive(UNETS[unet], sample)
            times = np.array([began_ns, time.monotonic_ns()], np.int64)
            response = pb_utils.InferenceResponse([pb_utils.Tensor("times", times)])
        except Exception as error:  # the one who waits must hear of it
            _log.exception("a sample failed")
            response = pb_utils.InferenceResponse(error=pb_utils.TritonError(repr(error)))
        sender.send(response, FINAL)

    @abstractmethod
    def _drive(self, unet: ModelSpec, sample: Sample) -> None:
        """Take a sample to its end."""


class BatcherDriver(Driver):
    """Continuous batching: the samples of all requests share each call."""

    def initialize(self, args: Mapping[str, str]) -> None:
        """Start a batcher for each UNet."""
        super().initialize(args)
        self._batchers = {name: StepBatcher(self._networks, unet) for name, unet in UNETS.items()}

    def finalize(self) -> None:
        """Stop the batchers' threads."""
        super().finalize()
        for batcher in self._batchers.values():
            batcher.close()

    def _drive(self, unet: ModelSpec, sample: Sample) -> None:
        for _ in self._batchers[unet.name].run([sample], lambda _done, _total: None):
            pass


class LoopsDriver(Driver):
    """What one writes without a batcher: each request calls for itself, and Triton may merge calls that meet."""

    def _drive(self, unet: ModelSpec, sample: Sample) -> None:
        conditions = {name: array[None] for name, array in sample.conditions.items()}
        unet_input = next(sample.trajectory)
        while True:
            noise = self._networks(
                unet,
                latents=unet_input.latents[None],
                timestep=np.array([[unet_input.timestep]], np.float32),
                guidance=np.array([[unet_input.guidance]], np.float32),
                **conditions,
            )["noise"][0]
            try:
                unet_input = sample.trajectory.send(noise)
            except StopIteration:
                return
