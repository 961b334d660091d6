"""One batched call of a UNet: stack the samples, call, and advance each sample with its own prediction."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from respin.errors import InternalError, RespinError
from respin.specs import Array, ModelSpec
from respin_ensemble.batching.fair_queue import QueuedSample
from respin_ensemble.networks import Networks
from respin_ensemble.sampling.trajectory import Latents, UNetInput

_log = logging.getLogger(__name__)

MOST_STACKS = 4
"""Batches whose constant inputs stay stacked: latents of different shapes take turns."""


@dataclass(frozen=True, eq=False)
class StepResult:
    """The outcome of one step of one sample: its next input, its clean latents, or the error that ended it."""

    unet_input: UNetInput | None = None
    clean: Latents | None = None
    error: RespinError | None = None


class BatchedForward:
    """Advances samples by one step each, with a single call of the UNet. A failure affects only its own sample.

    Args:
        networks: the networks of the set.
        unet: contract of the UNet.
    """

    def __init__(self, networks: Networks, unet: ModelSpec) -> None:
        self._networks = networks
        self._unet = unet
        self._stacks: dict[tuple[QueuedSample, ...], dict[str, Array]] = {}
        """Constant inputs of the latest batches, the latest last."""

    def __call__(self, samples: Sequence[QueuedSample]) -> list[StepResult]:
        """Start the samples that are new, call the UNet, and send each sample its predicted noise.

        If the call fails, it is repeated once for each sample alone.

        Args:
            samples: samples of one latent shape, at most as many as the UNet's batch size.

        Returns:
            The result of each sample, in the order of `samples`.
        """
        results: dict[int, StepResult] = {}
        ready: list[int] = []
        for index, queued in enumerate(samples):
            try:
                queued.unet_input = queued.unet_input or next(queued.sample.trajectory)
                ready.append(index)
            except Exception as error:  # an error in one sampler must not stop the other samples
                results[index] = StepResult(error=self._log_bug(queued, error))
        predictions = self._predict([samples[index] for index in ready])
        for index, noise in zip(ready, predictions, strict=True):
            results[index] = self._advance(samples[index], noise)
        return [results[index] for index in range(len(samples))]

    def _predict(self, samples: Sequence[QueuedSample]) -> list[Array | RespinError]:
        """Return the noise predicted for each sample, or the error of its call."""
        if not samples:
            return []
        try:
            return list(self._call(samples))
        except Exception as error:  # any kind: calling each sample alone shows which one caused it
            _log.warning("%s failed with %d samples, calling each alone: %s", self._unet.name, len(samples), error)
        return [self._predict_alone(queued) for queued in samples]

    def _predict_alone(self, queued: QueuedSample) -> Array | RespinError:
        try:
            return np.asarray(self._call([queued])[0])
        except RespinError as error:
            return error
        except Exception as error:
            return self._log_bug(queued, error)

    def _call(self, samples: Sequence[QueuedSample]) -> Array:
        inputs = [queued.unet_input for queued in samples if queued.unet_input is not None]
        return self._networks(
            self._unet,
            latents=np.stack([each.latents for each in inputs]),
            timestep=np.array([[each.timestep] for each in inputs], np.float32),
            guidance=np.array([[each.guidance] for each in inputs], np.float32),
            **self._stack_conditions(tuple(samples)),
        )["noise"]

    def _stack_conditions(self, samples: tuple[QueuedSample, ...]) -> dict[str, Array]:
        """Stack what is constant over the steps (megabytes of text contexts) once for each batch.

        The arrays are read-only and the same at every step, so that they are sent to a GPU once.
        """
        stacks = self._stacks
        stacked = stacks.pop(samples, None)
        if stacked is None:
            names = samples[0].sample.conditions
            stacked = {name: np.stack([queued.sample.conditions[name] for queued in samples]) for name in names}
            for array in stacked.values():
                array.setflags(write=False)
        stacks[samples] = stacked
        if len(stacks) > MOST_STACKS:
            del stacks[next(iter(stacks))]
        return stacked

    def _advance(self, queued: QueuedSample, noise: Array | RespinError) -> StepResult:
        if isinstance(noise, RespinError):
            return StepResult(error=noise)
        if not np.isfinite(noise).all():
            return StepResult(error=self._not_finite(queued, "predicted noise that is not finite"))
        try:
            return StepResult(unet_input=queued.sample.trajectory.send(noise))
        except StopIteration as end:
            clean: Latents = end.value
        except Exception as error:
            return StepResult(error=self._log_bug(queued, error))
        if not np.isfinite(clean).all():
            return StepResult(error=self._not_finite(queued, "returned latents that are not finite"))
        return StepResult(clean=clean)

    def _not_finite(self, queued: QueuedSample, what: str) -> InternalError:
        return InternalError(
            f"{self._unet.name} {what} at step {queued.steps_done + 1} of {queued.sample.steps}; "
            "the weights may overflow in their precision: serve a float32 set"
        )

    def _log_bug(self, queued: QueuedSample, error: Exception) -> InternalError:
        _log.error("%s: step %d of a sample failed", self._unet.name, queued.steps_done + 1, exc_info=error)
        return InternalError(f"{self._unet.name}: a step failed ({type(error).__name__})")
