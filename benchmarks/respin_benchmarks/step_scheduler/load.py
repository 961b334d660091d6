"""Requests to a driver, all at the times they are meant to come, and Triton's own count of what they caused."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from tritonclient import grpc as triton

from respin_benchmarks.step_scheduler.ledger import NS_PER_MS, Span

DEADLINE_S = 120.0
QUIET_S = 0.05


@dataclass(frozen=True)
class Answer:
    """What became of one request.

    Args:
        latency_ms: from its being sent to its answer, as its sender saw it.
        span: in which its sample was stepped.
        call_ms: what a UNet call took, median.
        between_ms: what passed between two calls, median.
    """

    latency_ms: float
    span: Span
    call_ms: float
    between_ms: float


class Counts(dict[str, tuple[int, int]]):
    """By model: samples inferred and calls executed since the server started."""

    def since(self, before: Counts) -> Counts:
        """What was added since."""
        return Counts({name: (now[0] - before[name][0], now[1] - before[name][1]) for name, now in self.items()})


def counted(client: triton.InferenceServerClient, models: Sequence[str]) -> Counts:
    """Triton's statistics, once they stand still: it counts a call a moment after it has answered."""
    counts, before = _counts(client, models), None
    while counts != before:
        time.sleep(QUIET_S)
        counts, before = _counts(client, models), counts
    return counts


def _counts(client: triton.InferenceServerClient, models: Sequence[str]) -> Counts:
    counts = Counts()
    for model in models:
        statistics = client.get_inference_statistics(model).model_stats[0]
        counts[model] = int(statistics.inference_count), int(statistics.execution_count)
    return counts


def offered(
    client: triton.InferenceServerClient, driver: str, unet: str, *, steps: int, arrivals_s: Sequence[float]
) -> list[Answer]:
    """Send one request for each arrival, and wait for all.

    Args:
        client: of the server.
        driver: which model drives.
        unet: which UNet it calls.
        steps: asked of the sampler.
        arrivals_s: when each is sent, from the first.
    """
    start_s = time.perf_counter()

    def one(seed: int) -> Answer:
        time.sleep(max(0.0, start_s + arrivals_s[seed] - time.perf_counter()))
        return _asked(client, driver, {"unet": unet, "steps": steps, "seed": seed})

    with ThreadPoolExecutor(len(arrivals_s)) as senders:
        return list(senders.map(one, range(len(arrivals_s))))


def _asked(client: triton.InferenceServerClient, driver: str, values: Mapping[str, str | int]) -> Answer:
    inputs = []
    for name, value in values.items():
        tensor = triton.InferInput(name, [1], "BYTES" if isinstance(value, str) else "INT64")
        array = np.array([value.encode()], np.object_) if isinstance(value, str) else np.array([value], np.int64)
        inputs.append(tensor.set_data_from_numpy(array))
    sent_s = time.perf_counter()
    times = client.infer(driver, inputs, client_timeout=DEADLINE_S).as_numpy("times")
    latency_ms = (time.perf_counter() - sent_s) * 1e3
    began_ns, ended_ns, call_ns, between_ns = (int(value) for value in times)
    return Answer(latency_ms, Span(began_ns, ended_ns), call_ns / NS_PER_MS, between_ns / NS_PER_MS)
