"""What the page says of the runs."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from respin_benchmarks.served.rows import LoadRun, Run, SpinRun, StagesRun
from respin_benchmarks.step_scheduler.ledger import percentile

SECTION = "served"

LOAD_TITLES = (
    "profile",
    "load",
    "jobs",
    "refused",
    "failed",
    "images/s",
    "p50, s",
    "p95",
    "p99",
    "spread",
    "UNets busy, Zero123 / inpainting",
    "samples a call",
)
MEMORY_TITLES = ("profile", "at once", "PSS before, MiB", "peak PSS", "peak RSS", "a job")
COMPARED = 4
"""Jobs at once at which memory is compared with the script's."""

SPIN_TITLES = (
    "profile",
    "views",
    "latency, s",
    "spread",
    "to one view",
    "a view, s",
    "first view after, s",
    "Zero123's UNet busy",
    "samples a call",
    "calls",
)
STAGE_NAMES = {
    "latency_s": "the whole job, as its client saw it",
    "server_s": "in the engine",
    "decoding_s": "decoding",
    "detection_s": "detection (the box is given)",
    "segmentation_s": "segmentation",
    "background_s": "background, beside the view",
    "inpaint_unet_s": "of that, calls of the UNet",
    "zero123_unet_s": "Zero123: calls of the UNet",
    "super_resolution_s": "super-resolution",
    "outline_s": "outline of the view",
    "composition_s": "composition",
}

R = TypeVar("R", bound=Run)


def page_of(
    loads: Sequence[LoadRun], spins: Sequence[SpinRun], stages: Sequence[StagesRun], script_mib: float = math.nan
) -> str:
    """The section; what has not been measured is left out.

    Args:
        loads: of many jobs at once.
        spins: of many views.
        stages: of one job's parts.
        script_mib: the most that a process of the script that Respin replaces held, for one job.
    """
    lines: list[str] = []
    if stages:
        lines += ["### Where one job's time goes", "", *_stages(stages), ""]
    if loads:
        lines += ["### Many jobs at once", "", *_loads(loads, script_mib), ""]
    if spins:
        lines += ["### Many views in one request", "", *_spins(spins), ""]
    return "\n".join(lines)


def _where(runs: Sequence[Run]) -> str:
    first, averages = runs[0], [run.load_average for run in runs]
    commits = " / ".join(dict.fromkeys(run.commit for run in runs))
    return (
        f"{first.machine}, {first.date}, mini set, {first.sampler}, {first.steps} + {first.background_steps} steps, "
        f"commit {commits}, {first.versions}; load average {min(averages):g} to {max(averages):g}."
    )


def _hits(runs: Iterable[LoadRun] | Iterable[SpinRun] | Iterable[StagesRun]) -> str:
    hits = sum(run.cache_hits for run in runs)
    return f"**{hits} results came from a cache.**" if hits else "No result came from a cache."


def _grouped(runs: Sequence[R], key: Callable[[R], object]) -> list[list[R]]:
    """The repeats of each cell, in the order of their first."""
    groups: dict[object, list[R]] = {}
    for run in runs:
        groups.setdefault(key(run), []).append(run)
    return list(groups.values())


def _repeats(cells: Iterable[Sequence[Run]]) -> str:
    most = max(map(len, cells))
    return f"{most} interleaved repeats" if most > 1 else "a single repeat"


def _table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(titles)} |", f"|{'---|' * len(titles)}", *(f"| {' | '.join(row)} |" for row in rows)]


def spread(values: Sequence[float]) -> str:
    """(greatest - least) / median; nothing of fewer than two numbers."""
    numbers = [value for value in values if not math.isnan(value)]
    return f"{(max(numbers) - min(numbers)) / statistics.median(numbers):.0%}" if len(numbers) > 1 else ""


def load_cells(runs: Sequence[LoadRun]) -> list[list[LoadRun]]:
    """The repeats of each cell: profiles together, closed loops first, each kind from little to much."""
    cells = _grouped(runs, lambda run: (run.profile, run.arrival, run.concurrency, run.rate_share))
    return sorted(cells, key=lambda cell: (cell[0].profile, cell[0].arrival, cell[0].concurrency, cell[0].rate_share))


def latencies_s(runs: Iterable[LoadRun]) -> list[float]:
    """Of all answered jobs of all repeats."""
    return [float(each) for run in runs for each in run.latencies_s.split()]


def _loads(runs: Sequence[LoadRun], script_mib: float) -> list[str]:
    cells = load_cells(runs)
    errors = dict.fromkeys(run.first_error for run in runs if run.first_error)
    return [
        f"{_where(runs)} Medians and percentiles of {_repeats(cells)}. {_hits(runs)}",
        "",
        "![Latency over throughput](images/served_load.png)",
        "",
        *_table(LOAD_TITLES, map(_load, cells)),
        "",
        *(f"* First error of a run: {error}" for error in errors),
        *([""] if errors else []),
        "![How many samples shared a call of a UNet](images/served_batches.png)",
        "",
        *_memory(runs, script_mib),
    ]


def _load(cell: Sequence[LoadRun]) -> list[str]:
    first, latencies = cell[0], latencies_s(cell)
    rate = f"{first.rate_s:.2f}/s, {first.rate_share:.0%} of the best"
    return [
        f"`{first.profile}`",
        f"{first.concurrency} at once" if first.concurrency else rate,
        *(f"{sum(counts)}" for counts in zip(*((run.jobs, run.refused, run.failed) for run in cell), strict=True)),
        f"{statistics.median(run.images_s for run in cell):.2f}",
        *(f"{percentile(latencies, share):.2f}" if latencies else "" for share in (0.5, 0.95, 0.99)),
        spread([run.p50_s for run in cell]),
        " / ".join(f"{_median(cell, name):.0%}" for name in ("zero123_busy", "inpaint_busy")),
        " / ".join(f"{_median(cell, name):.2f}" for name in ("zero123_samples", "inpaint_samples")),
    ]


def _median(runs: Iterable[Run], name: str) -> float:
    return statistics.median(float(getattr(run, name)) for run in runs)


def _memory(runs: Sequence[LoadRun], script_mib: float) -> list[str]:
    weighed = [run for run in runs if not math.isnan(run.peak_pss_mib)]
    if not weighed:
        return []
    profiles = list(dict.fromkeys(run.profile for run in weighed))
    fresh = {profile: min(run.idle_pss_mib for run in weighed if run.profile == profile) for profile in profiles}
    firsts = [cell[0] for cell in load_cells(weighed) if cell[0].concurrency]
    rows = ([*_weights(run), f"{(run.peak_pss_mib - fresh[run.profile]) / run.concurrency:.1f}"] for run in firsts)
    return [
        "Memory of all processes of the server together, in the first repeat of each closed loop. A job is the peak "
        "less what the warm server took before any load, over the jobs at once.",
        "",
        *_table(MEMORY_TITLES, rows),
        "",
        *(
            f"* {_shared(run, script_mib)}"
            for run in firsts
            if run.concurrency == COMPARED and not math.isnan(script_mib)
        ),
        *(f"* {_greatest([run for run in weighed if run.profile == profile])}" for profile in profiles),
        *(f"* {_vram(run)}" for run in firsts if not math.isnan(run.peak_vram_mib)),
    ]


def _shared(run: LoadRun, script_mib: float) -> str:
    """The whole server's memory over its jobs, against the script's process, which does one."""
    each = run.peak_pss_mib / run.concurrency
    verdict = "met" if each < script_mib else "**missed**"
    return (
        f"`{run.profile}`, {run.concurrency} at once: {each:.0f} MiB a job, the whole server shared out; the script "
        f"that Respin replaces takes {script_mib:.0f} in a process a job (aim: less): {verdict}."
    )


def _weights(run: LoadRun) -> list[str]:
    figures = (run.idle_pss_mib, run.peak_pss_mib, run.peak_rss_mib)
    return [f"`{run.profile}`", f"{run.concurrency}", *(f"{figure:.0f}" for figure in figures)]


def _greatest(runs: Sequence[LoadRun]) -> str:
    """Whose the memory is when it is most, and what is left of it."""
    most = max(runs, key=lambda run: run.peak_pss_mib)
    kept = f"before the last run it was {runs[-1].idle_pss_mib:.0f} MiB"
    return f"`{most.profile}`, at its peak: {_first_three(most.pss_by_process)}; {kept}."


def _vram(run: LoadRun) -> str:
    """The GPU's memory when it is most, and whose it is."""
    whose = _first_three(run.vram_by_process) or "no process of the server's, as far as NVML tells"
    return (
        f"`{run.profile}`, {run.concurrency} at once: {run.peak_vram_mib:.0f} MiB of the GPU in use, of that {whose}."
    )


def _first_three(by_process: str) -> str:
    pairs = [pair.rpartition(":")[::2] for pair in by_process.split()]
    return ", ".join(f"`{name}` {mib} MiB" for name, mib in sorted(pairs, key=lambda pair: -float(pair[1]))[:3])


def _spins(runs: Sequence[SpinRun]) -> list[str]:
    cells = sorted(
        _grouped(runs, lambda run: (run.profile, run.views)), key=lambda cell: (cell[0].profile, cell[0].views)
    )
    one_s = {cell[0].profile: _median(cell, "latency_s") for cell in cells if cell[0].views == 1}
    return [
        f"{_where(runs)} Medians of {_repeats(cells)}. {_hits(runs)}",
        "",
        *_table(SPIN_TITLES, (_spin(cell, one_s.get(cell[0].profile, math.nan)) for cell in cells)),
    ]


def _spin(cell: Sequence[SpinRun], one_s: float) -> list[str]:
    first, latency_s = cell[0], _median(cell, "latency_s")
    return [
        f"`{first.profile}`",
        f"{first.views}",
        f"{latency_s:.2f}",
        spread([run.latency_s for run in cell]),
        "" if math.isnan(one_s) else f"{latency_s / one_s:.2f} x",
        f"{latency_s / first.views:.2f}",
        f"{_median(cell, 'first_view_s'):.2f}",
        f"{_median(cell, 'zero123_busy'):.0%}",
        f"{_median(cell, 'zero123_samples'):.2f}",
        f"{_median(cell, 'zero123_calls'):.0f}",
    ]


def _stages(runs: Sequence[StagesRun]) -> list[str]:
    profiles = _grouped(runs, lambda run: run.profile)
    rows = ([name, *(_milliseconds(mine, column) for mine in profiles)] for column, name in STAGE_NAMES.items())
    return [
        f"{_where(runs)} Medians of {max(map(len, profiles))} jobs, one at a time, interleaved; ms, least to greatest "
        f"in brackets. {_hits(runs)}",
        "",
        *_table(["stage", *(f"`{mine[0].profile}`" for mine in profiles)], rows),
        "",
        "![One job from beginning to end](images/served_job.png)",
    ]


def _milliseconds(runs: Sequence[StagesRun], column: str) -> str:
    values = [float(getattr(run, column)) * 1e3 for run in runs]
    return f"{statistics.median(values):.1f} ({min(values):.1f} to {max(values):.1f})"
