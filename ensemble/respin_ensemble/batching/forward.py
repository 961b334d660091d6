"""One call of a UNet for many samples: stacked, made, and taken apart again. What fails, fails alone."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from respin.errors import InternalError, RespinError
from respin.specs import Array, ModelSpec
from respin_ensemble.batching.fair_queue import Entry
from respin_ensemble.networks import Networks
from respin_ensemble.sampling.trajectory import Ask, Latents

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Result:
    """What one step made of a sample: what it asks next, or its clean latents, or why it cannot go on."""

    ask: Ask | None = None
    clean: Latents | None = None
    failure: RespinError | None = None


class Call:
    """Advances samples by one step each.

    Args:
        networks: to call.
        unet: the network's contract.
    """

    def __init__(self, networks: Networks, unet: ModelSpec) -> None:
        self._networks = networks
        self._unet = unet
        self._company: tuple[Entry, ...] = ()
        self._conditions: dict[str, Array] = {}

    def __call__(self, entries: Sequence[Entry]) -> list[Result]:
        """Start those samples that are new, make the call, and send each sample its noise.

        A call that fails is made again sample by sample, once.

        Args:
            entries: of one latent shape, no more than the network's batch.
        """
        results: dict[int, Result] = {}
        asked: list[int] = []
        for place, entry in enumerate(entries):
            try:
                entry.ask = entry.ask or next(entry.sample.trajectory)
                asked.append(place)
            except Exception as error:  # one sample's sampler must not stop the others
                results[place] = Result(failure=self._bug(entry, error))
        noises = self._noises([entries[place] for place in asked])
        for place, noise in zip(asked, noises, strict=True):
            results[place] = self._advanced(entries[place], noise)
        return [results[place] for place in range(len(entries))]

    def _noises(self, entries: Sequence[Entry]) -> list[Array | RespinError]:
        """The noise predicted in each sample, or why there is none."""
        if not entries:
            return []
        try:
            return list(self._predicted(entries))
        except Exception as error:  # whatever it is: each sample by itself will show whose fault it was
            _log.warning("%s failed at %d samples, each is tried alone: %s", self._unet.name, len(entries), error)
        return [self._alone(entry) for entry in entries]

    def _alone(self, entry: Entry) -> Array | RespinError:
        try:
            return np.asarray(self._predicted([entry])[0])
        except RespinError as error:
            return error
        except Exception as error:
            return self._bug(entry, error)

    def _predicted(self, entries: Sequence[Entry]) -> Array:
        asks = [entry.ask for entry in entries if entry.ask is not None]
        return self._networks(
            self._unet,
            latents=np.stack([ask.latents for ask in asks]),
            timestep=np.array([[ask.timestep] for ask in asks], np.float32),
            guidance=np.array([[ask.guidance] for ask in asks], np.float32),
            **self._stacked_conditions(tuple(entries)),
        )["noise"]

    def _stacked_conditions(self, company: tuple[Entry, ...]) -> dict[str, Array]:
        """What stays the same at every step, stacked anew only when the company changes: megabytes of text contexts."""
        if company != self._company:
            names = company[0].sample.conditions
            self._conditions = {name: np.stack([entry.sample.conditions[name] for entry in company]) for name in names}
            self._company = company
        return self._conditions

    def _advanced(self, entry: Entry, noise: Array | RespinError) -> Result:
        if isinstance(noise, RespinError):
            return Result(failure=noise)
        if not np.isfinite(noise).all():
            return Result(failure=self._not_numbers(entry, "predicted noise that is not finite"))
        try:
            return Result(ask=entry.sample.trajectory.send(noise))
        except StopIteration as end:
            clean: Latents = end.value
        except Exception as error:
            return Result(failure=self._bug(entry, error))
        if not np.isfinite(clean).all():
            return Result(failure=self._not_numbers(entry, "ended in latents that are not finite"))
        return Result(clean=clean)

    def _not_numbers(self, entry: Entry, what: str) -> InternalError:
        return InternalError(
            f"{self._unet.name} {what} at step {entry.done + 1} of {entry.sample.steps}; "
            "the weights may not bear their precision: serve a float32 set"
        )

    def _bug(self, entry: Entry, error: Exception) -> InternalError:
        _log.error("%s: step %d of a sample failed", self._unet.name, entry.done + 1, exc_info=error)
        return InternalError(f"{self._unet.name}: a step failed ({type(error).__name__})")
