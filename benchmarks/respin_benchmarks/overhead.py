"""What the server adds to a job: the same job through gRPC, Triton and the fronts, and in this process, interleaved.

The server is the embedded one, profile local: its engine runs the same networks in its own process. Both keep nothing
between jobs. Beside the jobs: a round trip with the same photo that is refused at the door, which is what gRPC, Triton
and the front cost by themselves, and the encoding of the answer's picture, which both ways pay.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from rich.progress import track
from tritonclient import grpc as triton
from tritonclient.utils import InferenceServerException

from respin.bundled import bundled
from respin.contracts import ROTATE_OBJECT
from respin.report.circumstances import Circumstances, commit_here
from respin.report.markdown import check_section, write_section
from respin.report.rows import read_rows, write_rows
from respin.request import RotationRequest
from respin_benchmarks.circumstances import noted
from respin_benchmarks.counts import count
from respin_benchmarks.embedded import embedded
from respin_benchmarks.in_process.engine import InProcessEngine, request_for_cup
from respin_client import Client
from respin_ensemble.networks.onnx import OnnxNetworks

SECTION = "overhead"
AIM_SHARE, AIM_MS = 0.05, 20.0
PROFILE = "local"


@dataclass(frozen=True)
class OverheadRun:
    """One repeat, times in ms.

    Args:
        steps: of Zero123; the background takes two thirds.
        repeat: number of the run.
        server_ms: a job through the server, as its client saw it.
        in_process_ms: the same job in this process.
        refusal_ms: a round trip with the same photo, refused at the door.
        encoding_ms: of the answer's picture.
        commit: of the code that was measured.
        date: of the measurement; then the machine and the versions.
    """

    steps: int
    repeat: int
    server_ms: float
    in_process_ms: float
    refusal_ms: float
    encoding_ms: float
    commit: str
    date: str
    machine: str
    versions: str


def refused(client: triton.InferenceServerClient, request: RotationRequest) -> None:
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


def _ms(work: Callable[[], object]) -> float:
    began_s = time.perf_counter()
    work()
    return round((time.perf_counter() - began_s) * 1e3, 2)


def runs_of(*, steps: int, repeats: int, warm_ups: int = 2) -> Iterator[OverheadRun]:
    """Measure, server and process in turn.

    Args:
        steps: of Zero123.
        repeats: that are measured.
        warm_ups: that are not.
    """
    here, commit = Circumstances.now(("nvidia-pytriton", "onnxruntime", "numpy")), commit_here()
    request = request_for_cup(steps=steps, background_steps=max(2, steps * 2 // 3))
    with (
        embedded(PROFILE) as server,
        Client(str(server.endpoints["gRPC"])) as client,
        triton.InferenceServerClient(str(server.endpoints["gRPC"])) as plain,
        InProcessEngine(OnnxNetworks.from_set(bundled("models/mini"))) as engine,
    ):
        for repeat in range(-warm_ups, repeats):
            server_ms = _ms(lambda: client.rotate_object(request, outputs=("image",)))
            outcome = engine.job(request)
            row = OverheadRun(
                steps=steps,
                repeat=repeat,
                server_ms=server_ms,
                in_process_ms=round(outcome.latency_s * 1e3, 2),
                refusal_ms=_ms(partial(refused, plain, request)),
                encoding_ms=_ms(outcome.pictures["background"]),
                commit=commit,
                date=here.date,
                machine=here.machine,
                versions=here.versions,
            )
            if repeat >= 0:
                yield row


def page_of(runs: Sequence[OverheadRun]) -> str:
    """The section.

    Args:
        runs: at least one.
    """
    first = runs[0]
    names = ("server_ms", "in_process_ms", "refusal_ms", "encoding_ms")
    values = {name: [float(getattr(run, name)) for run in runs] for name in names}
    medians = {name: statistics.median(each) for name, each in values.items()}
    differences = [run.server_ms - run.in_process_ms for run in runs]
    added = statistics.median(differences)
    allowed = max(AIM_MS, AIM_SHARE * medians["in_process_ms"])
    verdict = "met" if added <= allowed else "**missed**"
    lines = [
        f"{first.machine}, {first.date}, profile `{PROFILE}`, mini set, {first.steps} steps, commit {first.commit}, "
        f"{first.versions}; medians of {len(runs)} interleaved repeats (least to greatest).",
        "",
        f"The server adds {added:.1f} ms ({_middle_half(differences)}); the aim is at most {allowed:.1f} ms (5 % of "
        f"the job, or 20 ms): {verdict}.",
        "",
        "| through the server, ms | in this process | refused at the door | encoding of one picture |",
        "|---|---|---|---|",
        f"| {' | '.join(_spread(values[name]) for name in names)} |",
    ]
    return "\n".join(lines) + "\n"


def _middle_half(differences: Sequence[float]) -> str:
    """How far they lie apart, in words."""
    if len(differences) < 4:
        return "too few repeats to say how far they lie apart"
    low, _, high = statistics.quantiles(differences, n=4, method="inclusive")
    return f"the middle half of the differences: {low:.1f} to {high:.1f}"


def _spread(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.1f} ({min(values):.1f} to {max(values):.1f})"


def main(arguments: list[str] | None = None) -> None:
    """Measure, and write the page where one is named."""
    parser = argparse.ArgumentParser(
        prog="respin bench overhead", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=count, default=30, help="default: %(default)s")
    parser.add_argument("--steps", type=int, default=75, help="of Zero123 (default: %(default)s)")
    parser.add_argument("--results", type=Path, default=Path("benchmarks/results/overhead.csv"))
    parser.add_argument("--page", type=Path, help="its section is written again, e.g. docs/benchmarks.md")
    options = parser.parse_args(arguments)
    if options.page:
        check_section(options.page, SECTION)
    rows = []
    runs = runs_of(steps=options.steps, repeats=options.repeats)
    with noted(SECTION, [options.results], anew=True):
        for row in track(runs, total=options.repeats, description="jobs"):
            rows.append(row)
            write_rows(options.results, OverheadRun, rows)
    text = page_of(read_rows(options.results, OverheadRun))
    print(text)
    if options.page:
        write_section(options.page, SECTION, text)


if __name__ == "__main__":
    main()
