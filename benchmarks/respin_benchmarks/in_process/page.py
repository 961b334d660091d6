"""What the page says of the runs."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Sequence

from respin_benchmarks.in_process.limit import job_limit_ms
from respin_benchmarks.in_process.peers import table_of
from respin_benchmarks.in_process.rows import JobRun, NetworkRun

Aim = tuple[str, str, bool]
"""What is aimed at, what was measured, and whether that is enough."""

CellKey = tuple[str, int, int, int, int]
"""Sampler, steps, background steps, views, jobs."""

MEMORY_AIM_MIB = 9 * 1024

AS_FAST = 0.05
"""A share of a network's time that says nothing."""

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


def cell_of(run: JobRun) -> CellKey:
    """What was asked for."""
    return run.sampler, run.steps, run.background_steps, run.views, run.jobs


def of(runs: Iterable[JobRun], way: str, cell: CellKey, runtime: str | None = None) -> list[JobRun]:
    """The repeats of one cell in one way."""
    return [
        run for run in runs if run.way == way and cell_of(run) == cell and (runtime is None or run.runtime == runtime)
    ]


def median(runs: Sequence[JobRun], value: Callable[[JobRun], float]) -> float:
    """Of the repeats that have a number; NaN where none has."""
    numbers = [value(run) for run in runs if not math.isnan(value(run))]
    return statistics.median(numbers) if numbers else math.nan


def page_of(jobs: Sequence[JobRun], networks: Sequence[NetworkRun], device: str) -> str:
    """The section of one device."""
    lines: list[str] = []
    if any(run.way == "baseline" for run in jobs):
        lines += [_where(jobs), "", *_aims(jobs, networks, device), "", *_jobs(jobs), ""]
        lines += [f"![One job by the baseline and by the engine](images/baseline_{device}.png)", ""]
        lines += [f"![Where the time of one job goes](images/jobs_{device}.png)", ""]
    elif networks and device != "cuda":
        runtimes = dict.fromkeys(run.runtime for run in networks)
        lines += [*_verdicts((name, _fastest_of_all(networks, name)) for name in runtimes), ""]
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


def _aims(jobs: Sequence[JobRun], networks: Sequence[NetworkRun], device: str) -> list[str]:
    """The aims that these runs can speak to, each met or missed; eager PyTorch is there for comparison."""
    if device == "cuda":
        return _verdicts((runtime, _gpu_aims(jobs, runtime)) for runtime in _runtimes(jobs))
    return _verdicts(
        (runtime, [*_cpu_aims(jobs, runtime), *_fastest_of_all(networks, runtime)]) for runtime in _runtimes(jobs)
    )


def _verdicts(aims: Iterable[tuple[str, list[Aim]]]) -> list[str]:
    """A table of aims by runtime."""
    return [
        "| aim | measured | |",
        "|---|---|---|",
        *(
            f"| `{runtime}`: {aim} | {text} | {'met' if met else '**missed**'} |"
            for runtime, found in aims
            for aim, text, met in found
            if runtime != "torch eager" and "nan" not in text
        ),
    ]


def _usual(jobs: Sequence[JobRun]) -> CellKey:
    """One photo, one view, at the steps of the script that is replaced."""
    return cell_of(next(run for run in jobs if run.way == "baseline"))


def _runtimes(jobs: Sequence[JobRun]) -> list[str]:
    return list(dict.fromkeys(run.runtime for run in jobs if run.way == "engine"))


def _latency_s(jobs: Sequence[JobRun], way: str, cell: CellKey, runtime: str | None = None) -> float:
    return median(of(jobs, way, cell, runtime), lambda run: run.latency_s)


def latencies_of(jobs: Sequence[JobRun]) -> dict[str, list[float]]:
    """Every repeat of the usual job, by what did it; the cold baseline, on another scale, is left to the table."""
    if not any(run.way == "baseline" for run in jobs):
        return {}
    usual, found = _usual(jobs), {}
    for way, runtime in dict.fromkeys((run.way, run.runtime) for run in jobs if run.way != "cold baseline"):
        found[f"{way}, {runtime}"] = [run.latency_s for run in of(jobs, way, usual, runtime)]
    return found


def _gpu_aims(jobs: Sequence[JobRun], runtime: str) -> list[Aim]:
    usual = _usual(jobs)
    few = (*next(cell_of(run) for run in jobs if run.sampler != "ddim")[:3], 1, 1)
    one, quick = _latency_s(jobs, "engine", usual, runtime), _latency_s(jobs, "engine", few, runtime)
    twelve = _latency_s(jobs, "engine", (*usual[:3], 12, 1), runtime)
    memory = median(of(jobs, "engine", usual, runtime), lambda run: run.memory_mib)
    return [
        (f"one image at {usual[1]} + {usual[2]} steps in 0.8 s", f"{one:.2f} s", one <= 0.8),
        (f"at {few[1]} + {few[2]} steps in 0.4 s", f"{quick:.2f} s", quick <= 0.4),
        ("12 views in less than 2.5 times one", f"{twelve / one:.1f} times", twelve / one < 2.5),
        ("under 9 GB of GPU memory", f"{memory / 1024:.1f} GiB", memory < MEMORY_AIM_MIB),
        *_same_picture(jobs, usual, runtime, 30),
    ]


def _cpu_aims(jobs: Sequence[JobRun], runtime: str) -> list[Aim]:
    usual = _usual(jobs)
    baseline = of(jobs, "baseline", usual)
    faster = median(baseline, lambda run: run.latency_s) / _latency_s(jobs, "engine", usual, runtime)
    four = median(of(jobs, "engine", (*usual[:4], 4), runtime), lambda run: run.images_s)
    more = four / median(baseline, lambda run: run.images_s)
    return [
        ("one job at least 1.5 times faster than the warm eager baseline", f"{faster:.2f} times", faster >= 1.5),
        ("four jobs at once: at least 2 times its images a second", f"{more:.2f} times", more >= 2),
        *_same_picture(jobs, usual, runtime, 40),
    ]


def _fastest_of_all(networks: Sequence[NetworkRun], runtime: str) -> list[Aim]:
    """At how many rows a runtime is the fastest, and how much less another takes elsewhere; nothing without a rival."""
    names = dict.fromkeys(run.runtime for run in networks)
    if runtime not in names or not set(names) - {runtime, "torch eager"}:
        return []
    mine = [run for run in networks if run.runtime == runtime]
    less: dict[str, list[str]] = {}
    for run in mine:
        same = [other for other in networks if (other.network, other.batch) == (run.network, run.batch)]
        best = min(same, key=lambda other: other.best_ms)
        if best.best_ms < (1 - AS_FAST) * run.best_ms:
            share = f"{1 - best.best_ms / run.best_ms:.0%}"
            less.setdefault(best.runtime, []).append(f"`{run.network}` x {run.batch} {share}")
    won = len(mine) - sum(map(len, less.values()))
    found = [f"{won} of {len(mine)} rows", *(f"{name} takes less at {', '.join(rows)}" for name, rows in less.items())]
    return [
        (f"within {AS_FAST:.0%} of the fastest of {len(names)} runtimes at each network", "; ".join(found), not less)
    ]


def _same_picture(jobs: Sequence[JobRun], usual: CellKey, runtime: str, least_db: float) -> list[Aim]:
    mine = of(jobs, "engine", usual, runtime)
    view = median(mine, lambda run: run.psnr_view_db)
    background = median(mine, lambda run: run.psnr_background_db)
    worst = min(view, background)
    text = f"view {view:.1f} dB, background {background:.1f} dB"
    return [(f"the baseline's picture, at least {least_db:g} dB", text, worst >= least_db)]


def _jobs(jobs: Sequence[JobRun]) -> list[str]:
    usual = _usual(jobs)
    baseline_s = _latency_s(jobs, "baseline", usual)
    repeats = len(of(jobs, "baseline", usual))
    lines = [
        f"Whole jobs, medians of up to {repeats} interleaved repeats; spread = (greatest - "
        "least) / median. Faster = the baseline's latency over this one's, where both do the same.",
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
            lines.append(f"| {name} | {_job(runs, cell, baseline_s if cell == usual else math.nan)} |")
    return lines


def _job(runs: Sequence[JobRun], cell: CellKey, baseline_s: float) -> str:
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
        _number(baseline_s / latency, "{:.2f} x"),
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
    _, steps, background_steps, *_ = usual = _usual(jobs)
    limit = job_limit_ms(networks, steps=steps, background_steps=background_steps)
    if limit is None:
        return []
    took = {f"`{runtime}`": _latency_s(jobs, "engine", usual, runtime) * 1e3 for runtime in _runtimes(jobs)}
    took["the baseline"] = _latency_s(jobs, "baseline", usual) * 1e3
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
