"""What the server adds to a job: the same job through gRPC, Triton and the proxies, and in this process, interleaved.

The server is the embedded one, profile local: its engine runs the same networks in its own process. Both keep nothing
between jobs. Beside the jobs: a round trip with the same photo that is refused on admission, which is what gRPC, Triton
and the proxy cost by themselves, and the encoding of the answer's picture, which both ways pay.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from tritonclient import grpc as triton
from tritonclient.utils import InferenceServerException

from respin.bundled import bundled
from respin.contracts import ROTATE_OBJECT
from respin.report.circumstances import Circumstances
from respin.report.markdown import table
from respin.report.rows import read_rows
from respin.report.statistics import ranged_text
from respin.request import RotationRequest
from respin_benchmarks.circumstances import SERVER_PACKAGES, recorded
from respin_benchmarks.embedded import embedded
from respin_benchmarks.in_process.engine import InProcessEngine, request_for_cup
from respin_benchmarks.options import OverheadOptions
from respin_benchmarks.runner import PageReport, collect, run_benchmark
from respin_benchmarks.targets import verdict
from respin_client import Client
from respin_ensemble.networks.onnx import OnnxNetworks

FILE, PROFILE = "overhead.csv", "local"
AIM_SHARE, AIM_MS = 0.05, 20.0
COLUMNS = {
    "server_ms": "through the server, ms",
    "in_process_ms": "in this process",
    "refusal_ms": "refused at the door",
    "encoding_ms": "encoding of one picture",
}


@dataclass(frozen=True, kw_only=True)
class OverheadRun(Circumstances):
    """One repeat, times in ms."""

    steps: int  # of the novel view; the background takes two thirds
    repeat: int  # number of the run
    server_ms: float  # a job through the server, as its client saw it
    in_process_ms: float  # the same job in this process
    refusal_ms: float  # a round trip with the same photo, refused on admission
    encoding_ms: float  # of the answer's picture


def send_refused(client: triton.InferenceServerClient, request: RotationRequest) -> None:
    """Send a request that is refused before anything is done for it.

    Raises:
        RuntimeError: it was not refused.
    """
    arrays = request.to_arrays() | {"azimuth": np.array([1000], np.float32)}
    inputs = []
    for tensor in ROTATE_OBJECT.inputs:
        if tensor.name in arrays:
            array = arrays[tensor.name]
            inputs.append(triton.InferInput(tensor.name, list(array.shape), tensor.dtype.value))
            inputs[-1].set_data_from_numpy(array)
    try:
        client.infer(ROTATE_OBJECT.name, inputs)
    except InferenceServerException:
        return
    raise RuntimeError("an azimuth of 1000 was not refused")


def _time_ms(work: Callable[[], object]) -> float:
    began_s = time.perf_counter()
    work()
    return round((time.perf_counter() - began_s) * 1e3, 2)


def measure_overhead(*, steps: int, repeats: int, warm_ups: int = 2) -> Iterator[OverheadRun]:
    """Measure, server and process in turn.

    Args:
        steps: of the novel view.
        repeats: that are measured.
        warm_ups: that are not.
    """
    here = Circumstances.now(SERVER_PACKAGES)
    request = request_for_cup(steps=steps, background_steps=max(2, steps * 2 // 3))
    with (
        embedded(PROFILE) as server,
        Client(str(server.endpoints["gRPC"])) as client,
        triton.InferenceServerClient(str(server.endpoints["gRPC"])) as plain,
        InProcessEngine(OnnxNetworks.from_set(bundled("models/mini"))) as engine,
    ):
        for repeat in range(-warm_ups, repeats):
            server_ms = _time_ms(lambda: client.rotate_object(request, outputs=("image",)))
            outcome = engine.run_job(request)
            row = OverheadRun(
                **vars(here),
                steps=steps,
                repeat=repeat,
                server_ms=server_ms,
                in_process_ms=round(outcome.latency_s * 1e3, 2),
                refusal_ms=_time_ms(partial(send_refused, plain, request)),
                encoding_ms=_time_ms(outcome.pictures["background"]),
            )
            if repeat >= 0:
                yield row


def page_of(runs: Sequence[OverheadRun]) -> str:
    """Return the section.

    Args:
        runs: at least one.
    """
    first = runs[0]
    differences = [run.server_ms - run.in_process_ms for run in runs]
    added = statistics.median(differences)
    allowed = max(AIM_MS, AIM_SHARE * statistics.median(run.in_process_ms for run in runs))
    figures = [ranged_text([float(getattr(run, name)) for run in runs], ".1f") for name in COLUMNS]
    lines = [
        f"{first.machine}, {first.date}, profile `{PROFILE}`, mini set, {first.steps} steps, commit {first.commit}, "
        f"{first.versions}; medians of {len(runs)} interleaved repeats (least to greatest).",
        "",
        f"The server adds {added:.1f} ms ({_middle_half(differences)}); the aim is at most {allowed:.1f} ms (5 % of "
        f"the job, or 20 ms): {verdict(added <= allowed)}.",
        "",
        *table(list(COLUMNS.values()), [figures]),
    ]
    return "\n".join(lines) + "\n"


def _middle_half(differences: Sequence[float]) -> str:
    """The spread of the differences, in words."""
    if len(differences) < 4:
        return "too few repeats to say how far they lie apart"
    low, _, high = statistics.quantiles(differences, n=4, method="inclusive")
    return f"the middle half of the differences: {low:.1f} to {high:.1f}"


def run(options: OverheadOptions) -> None:
    """Measure, and write the report."""

    def measure() -> None:
        file = options.results / FILE
        with recorded("overhead", [file], anew=True):
            rows = measure_overhead(steps=options.steps, repeats=options.repeats)
            collect(file, OverheadRun, rows, options.repeats)

    run_benchmark(OVERHEAD, measure, options)


def text_of(results: Path) -> str:
    """Return the section from the folder of results."""
    return page_of(read_rows(results / FILE, OverheadRun))


OVERHEAD = PageReport("overhead", text_of)
