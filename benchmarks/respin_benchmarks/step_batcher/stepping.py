"""The stepping alone: one sample per request, driven by the step batcher or by a loop of its own."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from tritonclient import grpc as triton

from respin.contracts.networks import INPAINT_UNET, ZERO123_UNET
from respin_benchmarks.circumstances import repeat_columns
from respin_benchmarks.step_batcher import calls
from respin_benchmarks.step_batcher.calls import Span
from respin_benchmarks.step_batcher.rows import ARRIVALS, BATCHER, CONCURRENCY, WAYS, SteppingRun
from respin_benchmarks.step_batcher.server import DRIVERS, BatcherServer

DEADLINE_S = 120.0
WARM_STEPS = 5


@dataclass(frozen=True)
class SteppingCell:
    """One thing that is measured."""

    way: str  # one of `WAYS`
    unet: str  # that is called
    arrival: str  # key of `ARRIVALS`
    concurrency: int  # requests


def stepping_cells() -> list[SteppingCell]:
    """Return continuous batching beside loops, neighbours in time, and the batcher alone with larger inputs."""
    compared = itertools.product(ARRIVALS, CONCURRENCY, WAYS)
    cells = [SteppingCell(way, ZERO123_UNET.name, arrival, count) for arrival, count, way in compared]
    return cells + [SteppingCell(BATCHER, INPAINT_UNET.name, "simultaneous", count) for count in (1, 8)]


def measure_stepping(server: BatcherServer, *, repeats: int, steps: int) -> Iterator[SteppingRun]:
    """Measure every cell once, then every cell again: what disturbs a moment disturbs all ways alike."""
    cells = stepping_cells()
    for way, unet in sorted({(cell.way, cell.unet) for cell in cells}):
        _drive(server, way, unet, steps=WARM_STEPS, arrivals_s=[0.0] * 8)  # not measured
    for repeat in range(repeats):
        for cell in cells:
            yield measure_cell(server, cell, repeat=repeat, steps=steps)


def measure_cell(server: BatcherServer, cell: SteppingCell, *, repeat: int, steps: int) -> SteppingRun:
    """Make one run."""
    columns, log = repeat_columns(repeat), server.logs[cell.unet]
    length, arrivals_s = log.length(), [index * ARRIVALS[cell.arrival] for index in range(cell.concurrency)]
    latencies_s, spans = zip(*_drive(server, cell.way, cell.unet, steps=steps, arrivals_s=arrivals_s), strict=True)
    made = log.calls_since(length)
    ramped, samples = calls.within(made, calls.common(spans)), sum(call.samples for call in made)
    wall_s = Span(min(span.began_ns for span in spans), max(span.ended_ns for span in spans)).seconds
    return SteppingRun(
        **columns,
        **vars(cell),
        steps=samples // cell.concurrency,
        wall_s=round(wall_s, 4),
        ramped_ratio=round(calls.samples_per_call(ramped), 3),
        steps_per_s=round(samples / wall_s, 1),
        period_ms=round(calls.period_ms(ramped), 3),
        unet_ms=round(calls.duration_ms(ramped), 3),
        latencies_ms=" ".join(f"{1e3 * each:.1f}" for each in latencies_s),
    )


def _drive(
    server: BatcherServer, way: str, unet: str, *, steps: int, arrivals_s: Sequence[float]
) -> list[tuple[float, Span]]:
    """Send the driver of a way one request for each arrival; return the latency in s and the span of each."""
    began_s = time.perf_counter()

    def request(number: int) -> tuple[float, Span]:
        inputs = []
        for name, value in (("unet", unet.encode()), ("steps", steps), ("seed", number)):
            array = np.array([value], np.object_ if isinstance(value, bytes) else np.int64)
            tensor = triton.InferInput(name, [1], "BYTES" if isinstance(value, bytes) else "INT64")
            inputs.append(tensor.set_data_from_numpy(array))
        time.sleep(max(0.0, began_s + arrivals_s[number] - time.perf_counter()))
        sent_s = time.perf_counter()
        times = client.infer(DRIVERS[way], inputs, client_timeout=DEADLINE_S).as_numpy("times")
        return time.perf_counter() - sent_s, Span(*map(int, times))

    with triton.InferenceServerClient(server.url) as client, ThreadPoolExecutor(len(arrivals_s)) as senders:
        client.is_server_live()  # connects, which is no part of a latency
        return list(senders.map(request, range(len(arrivals_s))))
