"""perf_analyzer's figures as a table."""

from __future__ import annotations

import math
from collections.abc import Sequence

from respin_benchmarks.perf_analyzer.runs import PerfRun

SECTION = "perf_analyzer"


def page_of(runs: Sequence[PerfRun]) -> str:
    """The section.

    Args:
        runs: at least one.
    """
    first = runs[0]
    lines = [
        f"{first.machine}, {first.date}, profile `{first.profile}`, set `{first.weights}`, commit {first.commit}, "
        f"{first.versions}. perf_analyzer shares these cores.",
        "",
        "| model | gRPC | load | shared memory | requests/s | messages/s | p50, ms | p95 | p99 | queue, ms | compute | "
        "rest |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for run in runs:
        load = f"{run.concurrency} at once" if run.concurrency else f"{run.request_rate:g}/s"
        times = [run.p50_ms, run.p95_ms, run.p99_ms, run.queue_ms, run.compute_ms, run.network_ms]
        lines.append(
            f"| `{run.model}` | {run.protocol} | {load} | {run.shared_memory} | {run.requests_s:.4g} | "
            f"{run.responses_s:.4g} | {' | '.join('' if math.isnan(time) else f'{time:.4g}' for time in times)} |"
        )
    return "\n".join(lines) + "\n"
