"""What the page says of the runs."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from respin_benchmarks.in_process.job_cells import (
    CellKey,
    cell_of,
    latency_of,
    median,
    most_repeats,
    of,
    ratio_in_words,
    ratios,
    runtimes_of,
    usual_cell,
)
from respin_benchmarks.in_process.limit import job_limit_ms
from respin_benchmarks.in_process.published_figures import table_of
from respin_benchmarks.in_process.rows import JobRun, NetworkRun
from respin_benchmarks.in_process.targets import check_targets, fastest_of_all, verdicts

COLUMNS = (
    "way",
    "steps",
    "views x jobs",
    "latency, s",
    "spread",
    "images/s",
    "faster",
    "UNets busy, Zero123 / inpainting",
    "PSNR view / background, dB",
    "memory, MiB: in all / this process",
    "J/image",
)


def page_of(jobs: Sequence[JobRun], networks: Sequence[NetworkRun], device: str) -> str:
    """The section of one device."""
    lines: list[str] = []
    if any(run.way == "baseline" for run in jobs):
        lines += [_where(jobs), "", *check_targets(jobs, networks, device), "", *_jobs(jobs), ""]
        lines += [f"![One job by the baseline and by the engine](images/baseline_{device}.png)", ""]
        lines += [f"![Where the time of one job goes](images/jobs_{device}.png)", ""]
    elif networks and device != "cuda":
        runtimes = dict.fromkeys(run.runtime for run in networks)
        lines += [*verdicts((name, fastest_of_all(networks, name)) for name in runtimes), ""]
    if networks:
        lines += [_ceilings(networks), "", *_networks(networks), ""]
        lines += [f"![Each network beside its limit](images/limits_{device}.png)", "", *_whole_job(jobs, networks)]
        if device == "cuda":
            lines += [*table_of(networks), ""]
    return "\n".join(lines)


def _where(runs: Sequence[JobRun] | Sequence[NetworkRun]) -> str:
    first = runs[0]
    commits = " / ".join(dict.fromkeys(run.commit for run in runs))
    photo = f", photo of {first.photo}" if isinstance(first, JobRun) else ""
    return f"{first.machine}, {first.date}, {first.weights} weights{photo}, commit {commits}, {first.versions}."


def _jobs(jobs: Sequence[JobRun]) -> list[str]:
    usual = usual_cell(jobs)
    baseline = of(jobs, "baseline", usual)
    lines = [
        f"Whole jobs, medians of up to {most_repeats(jobs)} interleaved repeats; spread = (greatest - least) / median. "
        "Faster = the baseline's latency over this one's in the same repeat, where both do the same: the median, and "
        "the least to the greatest.",
        "",
        f"| {' | '.join(COLUMNS)} |",
        f"|{'---|' * len(COLUMNS)}",
    ]
    ways = dict.fromkeys((run.way, run.runtime, run.precision) for run in jobs)
    for way, runtime, precision in ways:
        mine = [run for run in jobs if (run.way, run.runtime, run.precision) == (way, runtime, precision)]
        for cell in dict.fromkeys(map(cell_of, mine)):
            runs = of(mine, way, cell)
            name = f"{way}, {runtime}, {precision.upper()}"
            lines.append(f"| {name} | {_job(runs, cell, baseline if cell == usual else [])} |")
    return lines


def _job(runs: Sequence[JobRun], cell: CellKey, baseline: Sequence[JobRun]) -> str:
    latencies = [run.latency_s for run in runs]
    latency = statistics.median(latencies)
    sampler, steps, background_steps, views, count = cell
    psnr = [median(runs, lambda run: run.psnr_view_db), median(runs, lambda run: run.psnr_background_db)]
    busy = [median(runs, lambda run: run.zero123_busy), median(runs, lambda run: run.inpaint_busy)]
    cells = [
        f"{sampler} {steps} + {background_steps}",
        f"{views} x {count}",
        f"{latency:.3f}",
        f"{(max(latencies) - min(latencies)) / latency:.0%}",
        f"{median(runs, lambda run: run.images_s):.2f}",
        ratio_in_words(ratios(baseline, runs, lambda run: run.latency_s)) if runs[0].way == "engine" else "",
        _pair(busy, "{:.0%}"),
        _pair(psnr, "{:.1f}"),
        _number(median(runs, lambda run: run.memory_mib or math.nan), "{:.0f}")
        + _number(median(runs, lambda run: run.process_memory_mib), " / {:.0f}"),
        _number(median(runs, lambda run: run.joules), "{:.0f}"),
    ]
    return " | ".join(cells)


def _number(value: float, form: str) -> str:
    return "" if math.isnan(value) else form.format(value)


def _pair(values: Sequence[float], form: str) -> str:
    return "" if any(map(math.isnan, values)) else " / ".join(map(form.format, values))


def _ceilings(runs: Sequence[NetworkRun]) -> str:
    tflops = [run.matmul_tflops for run in runs]
    copies = [run.copy_gb_s for run in runs]
    return (
        f"Networks by themselves: {_where(runs)} The limit is set by {_range(tflops)} TFLOP/s of matrix products and "
        f"{_range(copies)} GB/s of copies, measured in the same runs, and by the arithmetic and the bytes of a call, "
        "counted: weights, inputs and outputs moved once. Medians, on the device alone where a CUDA graph tells, else "
        "from arrays to arrays."
    )


def _whole_job(jobs: Sequence[JobRun], networks: Sequence[NetworkRun]) -> list[str]:
    """What a whole job's calls take at the limit, against what it took."""
    if not any(run.way == "baseline" for run in jobs):
        return []
    _, steps, background_steps, *_ = usual = usual_cell(jobs)
    limit = job_limit_ms(networks, steps=steps, background_steps=background_steps)
    if limit is None:
        return []
    took = {f"`{runtime}`": latency_of(jobs, "engine", usual, runtime) * 1e3 for runtime in runtimes_of(jobs)}
    took["the baseline"] = latency_of(jobs, "baseline", usual) * 1e3
    shares = ", ".join(f"{name} {limit[0] / ms:.0%}" for name, ms in took.items())
    return [
        f"The calls of one job at {steps} + {background_steps} steps have a limit of {limit[0]:.0f} ms together, those "
        f"of its UNets {limit[1]:.0f}. Of that limit the whole job, processor's work and all, reaches: {shares}.",
        "",
    ]


def _range(values: Sequence[float]) -> str:
    least, most = min(values), max(values)
    return f"{least:g}" if least == most else f"{least:g} to {most:g}"


def _networks(runs: Sequence[NetworkRun]) -> list[str]:
    runtimes = list(dict.fromkeys(run.runtime for run in runs))
    titles = [f"{runtime}, ms" + f" | share of the limit | errors of {runtime}" for runtime in runtimes]
    lines = [
        f"| network | batch | GFLOP | MiB | limit, ms | {' | '.join(titles)} |",
        f"|---|---|---|---|---|{'---|' * (3 * len(runtimes))}",
    ]
    by_key = {(run.network, run.batch, run.runtime): run for run in runs}
    for name, batch in dict.fromkeys((run.network, run.batch) for run in runs):
        mine = [by_key.get((name, batch, runtime)) for runtime in runtimes]
        first = next(run for run in mine if run)
        cells = [
            f"{run.best_ms:.2f} | {run.floor_share:.0%} | {run.errors}{_note(run)}" if run else " | | " for run in mine
        ]
        lines.append(
            f"| `{name}` | {batch} | {first.gflop:.4g} | {first.least_mib:.4g} | {first.floor_ms:.3g} | "
            f"{' | '.join(cells)} |"
        )
    return lines


def _note(run: NetworkRun) -> str:
    return f" ({run.note})" if run.note else ""
