"""The stepping alone: one sample per request, driven by the step batcher or by a loop of its own."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from tritonclient import grpc as triton

from respin.contracts.networks import INPAINT_UNET, ZERO123_UNET
from respin_benchmarks.sending import send_open_loop
from respin_benchmarks.step_batcher import calls
from respin_benchmarks.step_batcher.calls import NS_PER_MS, CallLog, Span, UNetCall
from respin_benchmarks.step_batcher.cells import ARRIVALS, BATCHER, CONCURRENCY, COST_MS, WAYS
from respin_benchmarks.step_batcher.repository import ServedUNet, write_stepping_repository
from respin_benchmarks.step_batcher.rows import SteppingRun, circumstances_now
from respin_benchmarks.step_batcher.server import BatcherServer, counts_since

DEADLINE_S = 120.0
WARM_STEPS = 5

FIXED = ServedUNet(ZERO123_UNET, COST_MS)
FIXED_WAITING = ServedUNet(ZERO123_UNET, COST_MS, delay_ms=5)
MINI = ServedUNet(ZERO123_UNET, None)
MINI_WAITING = ServedUNet(ZERO123_UNET, None, delay_ms=5)
PAYLOADS = (ServedUNet(INPAINT_UNET, COST_MS), ServedUNet(ZERO123_UNET, 0.0), ServedUNet(INPAINT_UNET, 0.0))
UNETS = [FIXED, FIXED_WAITING, MINI, MINI_WAITING, *PAYLOADS]


@dataclass(frozen=True)
class SteppingCell:
    """One thing that is measured."""

    way: str  # one of `WAYS`
    unet: ServedUNet  # that is called
    arrival: str  # key of `ARRIVALS`
    concurrency: int  # requests

    @property
    def driver(self) -> str:
        """The model that drives."""
        return "batcher" if self.way == BATCHER else "loops"

    @property
    def arrivals_s(self) -> list[float]:
        """When each request is sent."""
        return [index * ARRIVALS[self.arrival] for index in range(self.concurrency)]


@dataclass(frozen=True)
class DriverAnswer:
    """What a driver says of one sample."""

    latency_ms: float  # from its request to its answer, as the client saw it
    span: Span  # in which it was stepped
    call_ms: float  # what a UNet call took, median
    between_ms: float  # time between two calls, median


def comparison_cells(concurrency: Sequence[int] = CONCURRENCY) -> list[SteppingCell]:
    """Return continuous batching beside loops, neighbours in time, on both networks."""
    return [
        SteppingCell(way, unet, arrival, count)
        for unets in ((FIXED, FIXED, FIXED_WAITING), (MINI, MINI, MINI_WAITING))
        for arrival in ARRIVALS
        for count in concurrency
        for way, unet in zip(WAYS, unets, strict=True)
    ]


def payload_cells() -> list[SteppingCell]:
    """Return the cells of what a step costs beside the network, at other payloads and with a network for nothing."""
    return [SteppingCell(BATCHER, unet, "simultaneous", count) for unet in PAYLOADS for count in (1, 8)]


def stepping_server() -> BatcherServer:
    """Return a server with every UNet and both drivers, not started yet."""
    return BatcherServer(lambda repository, logs: write_stepping_repository(repository, UNETS, logs))


def measure_stepping(
    server: BatcherServer, cells: Sequence[SteppingCell], *, repeats: int, steps: int
) -> Iterator[SteppingRun]:
    """Measure every cell once, then every cell again: what disturbs a moment disturbs all ways alike."""
    warm(server, cells)
    for repeat in range(repeats):
        for cell in cells:
            yield measure_cell(server, cell, repeat=repeat, steps=steps)


def warm(server: BatcherServer, cells: Iterable[SteppingCell]) -> None:
    """Let each driver call each UNet in full batches; not measured."""
    for driver, unet in sorted({(cell.driver, cell.unet.name) for cell in cells}):
        _drive(server, driver, unet, steps=WARM_STEPS, arrivals_s=[0.0] * 8)


def measure_cell(server: BatcherServer, cell: SteppingCell, *, repeat: int, steps: int) -> SteppingRun:
    """Make one run."""
    name, log, here = cell.unet.name, CallLog(cell.unet.call_log(server.folder)), circumstances_now()
    before, length = server.read_counts([name]), log.length()
    answers = _drive(server, cell.driver, name, steps=steps, arrivals_s=cell.arrivals_s)
    samples, executions = counts_since(server.read_counts([name]), before)[name]
    return SteppingRun(
        **here,
        network="mini" if cell.unet.cost_ms is None else "fixed",
        unet=cell.unet.spec.name,
        cost_ms="" if cell.unet.cost_ms is None else f"{cell.unet.cost_ms:g}",
        way=cell.way,
        arrival=cell.arrival,
        concurrency=cell.concurrency,
        repeat=repeat,
        ratio=round(samples / executions, 3),
        call_ms=round(statistics.median(each.call_ms for each in answers), 3),
        between_ms=round(statistics.median(each.between_ms for each in answers), 3),
        latencies_ms=" ".join(f"{each.latency_ms:.1f}" for each in answers),
        **_figures(answers, log.calls_since(length)),
    )


def _figures(answers: Sequence[DriverAnswer], made: Sequence[UNetCall]) -> dict[str, Any]:
    """Return what the UNet's calls tell, over the whole run and while ramped."""
    whole = Span(min(each.span.began_ns for each in answers), max(each.span.ended_ns for each in answers))
    ramped = calls.within(made, calls.common(each.span for each in answers))
    samples = sum(call.samples for call in made)
    return {
        "steps": samples // len(answers),
        "wall_s": round(whole.seconds, 4),
        "ramped_ratio": round(calls.samples_per_call(ramped), 3),
        "ramped_calls": len(ramped),
        "steps_per_s": round(samples / whole.seconds, 1),
        "busy": round(calls.busy_share(made, whole), 3),
        "period_ms": round(calls.period_ms(ramped), 3),
        "unet_ms": round(calls.duration_ms(ramped), 3),
    }


def _drive(
    server: BatcherServer, driver: str, unet: str, *, steps: int, arrivals_s: Sequence[float]
) -> list[DriverAnswer]:
    """Send a driver one request for each arrival, and wait for all."""

    def job(number: int) -> DriverAnswer:
        return _request(server.triton, driver, {"unet": unet, "steps": steps, "seed": number})

    answers = (sent.answer for sent in send_open_loop(job, arrivals_s).jobs)
    return [answer for answer in answers if isinstance(answer, DriverAnswer)]


def _request(client: triton.InferenceServerClient, driver: str, values: Mapping[str, str | int]) -> DriverAnswer:
    inputs = []
    for name, value in values.items():
        tensor = triton.InferInput(name, [1], "BYTES" if isinstance(value, str) else "INT64")
        array = np.array([value.encode()], np.object_) if isinstance(value, str) else np.array([value], np.int64)
        inputs.append(tensor.set_data_from_numpy(array))
    sent_s = time.perf_counter()
    times = client.infer(driver, inputs, client_timeout=DEADLINE_S).as_numpy("times")
    latency_ms = (time.perf_counter() - sent_s) * 1e3
    began_ns, ended_ns, call_ns, between_ns = (int(value) for value in times)
    return DriverAnswer(latency_ms, Span(began_ns, ended_ns), call_ns / NS_PER_MS, between_ns / NS_PER_MS)
