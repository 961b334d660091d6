"""The stepping alone: one sample a request, driven by the step scheduler or by a loop of its own."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tritonclient import grpc as triton

from respin.contracts.networks import INPAINT_UNET, ZERO123_UNET
from respin_benchmarks.step_scheduler import ledger
from respin_benchmarks.step_scheduler.ledger import Ledger, Span
from respin_benchmarks.step_scheduler.load import Answer, counted, offered
from respin_benchmarks.step_scheduler.repository import PROFILE, ServedUNet, stepping_repository
from respin_server.launcher import EmbeddedTriton, ServerOptions

STAGGER_S = 0.053
"""Between two arrivals: no multiple of a step, so that loops meet at no particular phase."""

ARRIVALS = {"simultaneous": 0.0, "staggered": STAGGER_S}
CONCURRENCY = (1, 2, 4, 8, 16)
COST_MS = 10.0
WARM_STEPS = 5

FIXED = ServedUNet(ZERO123_UNET, COST_MS)
FIXED_WAITING = ServedUNet(ZERO123_UNET, COST_MS, delay_ms=5)
MINI = ServedUNet(ZERO123_UNET, None)
MINI_WAITING = ServedUNet(ZERO123_UNET, None, delay_ms=5)
PAYLOADS = (ServedUNet(INPAINT_UNET, COST_MS), ServedUNet(ZERO123_UNET, 0.0), ServedUNet(INPAINT_UNET, 0.0))
UNETS = [FIXED, FIXED_WAITING, MINI, MINI_WAITING, *PAYLOADS]

WAYS = ("scheduler", "loops", "loops, delay 5 ms")


@dataclass(frozen=True)
class Cell:
    """One thing that is measured.

    Args:
        way: one of `WAYS`.
        unet: that is called.
        arrival: one of `ARRIVALS`.
        concurrency: requests.
    """

    way: str
    unet: ServedUNet
    arrival: str
    concurrency: int

    @property
    def driver(self) -> str:
        """The model that drives."""
        return "scheduled" if self.way == "scheduler" else "loops"

    @property
    def arrivals_s(self) -> list[float]:
        """When each request is sent."""
        return [index * ARRIVALS[self.arrival] for index in range(self.concurrency)]


@dataclass(frozen=True)
class Run:
    """One measurement of one cell; times in ms, shares 0..1. "Ramped" is while all its requests were under way.

    `ratio` is Triton's inferences per execution over the whole run. While ramped, `period_ms` is the time from one UNet
    call to the next, and `unet_ms` what a call took by the UNet's own clock; `call_ms` and `between_ms` are what the
    driver saw of calls and gaps: the step scheduler's own metrics.
    """

    network: str
    unet: str
    cost_ms: str
    way: str
    arrival: str
    concurrency: int
    repeat: int
    steps: int
    wall_s: float
    ratio: float
    ramped_ratio: float
    ramped_calls: int
    steps_per_s: float
    busy: float
    period_ms: float
    unet_ms: float
    call_ms: float
    between_ms: float
    latencies_ms: str


def comparison_cells(concurrency: Sequence[int] = CONCURRENCY) -> list[Cell]:
    """Continuous batching beside loops, neighbours in time, on both networks."""
    return [
        Cell(way, unet, arrival, count)
        for unets in ((FIXED, FIXED, FIXED_WAITING), (MINI, MINI, MINI_WAITING))
        for arrival in ARRIVALS
        for count in concurrency
        for way, unet in zip(WAYS, unets, strict=True)
    ]


def payload_cells() -> list[Cell]:
    """What a step costs beside the network, at other payloads and where the network costs nothing."""
    return [Cell("scheduler", unet, "simultaneous", count) for unet in PAYLOADS for count in (1, 8)]


class Bench:
    """A server with every UNet and both drivers; a context manager."""

    def __init__(self) -> None:
        """Nothing is started yet."""
        self._folder = tempfile.TemporaryDirectory()

    def __enter__(self) -> Bench:
        """Start it, and let every way work once before anything is measured."""
        folder = Path(self._folder.name)
        stepping_repository(folder / "models", UNETS, folder)
        options = ServerOptions(folder / "models", PROFILE, grpc_port=0, http_port=0, metrics_port=0)
        self._server = EmbeddedTriton(options)
        self._server.start()
        self._client = triton.InferenceServerClient(str(self._server.endpoints["gRPC"]))
        return self

    def __exit__(self, *_: object) -> None:
        """Stop it, and remove what it left."""
        self._client.close()
        self._server.stop()
        self._folder.cleanup()

    def warm(self, cells: Iterable[Cell]) -> None:
        """Let each driver call each UNet in full batches; not measured."""
        for driver, unet in sorted({(cell.driver, cell.unet.name) for cell in cells}):
            offered(self._client, driver, unet, steps=WARM_STEPS, arrivals_s=[0.0] * 8)

    def measured(self, cell: Cell, *, repeat: int, steps: int) -> Run:
        """Make one run."""
        name, book = cell.unet.name, Ledger(cell.unet.ledger(Path(self._folder.name)))
        before, length = counted(self._client, [name]), book.length()
        answers = offered(self._client, cell.driver, name, steps=steps, arrivals_s=cell.arrivals_s)
        samples, executions = counted(self._client, [name]).since(before)[name]
        return _run_of(cell, answers, book.calls_since(length), samples / executions, repeat)


def _run_of(cell: Cell, answers: list[Answer], calls: list[ledger.Call], ratio: float, repeat: int) -> Run:
    whole = Span(min(each.span.began_ns for each in answers), max(each.span.ended_ns for each in answers))
    ramped = ledger.within(calls, ledger.common(each.span for each in answers))
    samples = sum(call.samples for call in calls)
    return Run(
        network="mini" if cell.unet.cost_ms is None else "fixed",
        unet=cell.unet.spec.name,
        cost_ms="" if cell.unet.cost_ms is None else f"{cell.unet.cost_ms:g}",
        way=cell.way,
        arrival=cell.arrival,
        concurrency=cell.concurrency,
        repeat=repeat,
        steps=samples // cell.concurrency,
        wall_s=round(whole.seconds, 4),
        ratio=round(ratio, 3),
        ramped_ratio=round(ledger.samples_per_call(ramped), 3),
        ramped_calls=len(ramped),
        steps_per_s=round(samples / whole.seconds, 1),
        busy=round(ledger.busy_share(calls, whole), 3),
        period_ms=round(ledger.period_ms(ramped), 3),
        unet_ms=round(ledger.duration_ms(ramped), 3),
        call_ms=round(statistics.median(each.call_ms for each in answers), 3),
        between_ms=round(statistics.median(each.between_ms for each in answers), 3),
        latencies_ms=" ".join(f"{each.latency_ms:.1f}" for each in answers),
    )


def runs_of(bench: Bench, cells: Sequence[Cell], *, repeats: int, steps: int) -> Iterator[Run]:
    """Every cell once, then every cell again: what disturbs a moment disturbs all ways alike."""
    bench.warm(cells)
    for repeat in range(repeats):
        for cell in cells:
            yield bench.measured(cell, repeat=repeat, steps=steps)
