"""The section on the server, in Markdown."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from statistics import median
from typing import TypeVar

from respin.report.markdown import table
from respin.report.statistics import distinct_text, number_text, percentile, ranged_text, spread_text
from respin_benchmarks.served.rows import LoadRun, ServedRun, SpinRun, StagesRun
from respin_benchmarks.targets import verdict

COMPARED = 4
"""Jobs at once at which memory is compared with the script's."""

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

R = TypeVar("R", bound=ServedRun)


def page_of(
    loads: Sequence[LoadRun], spins: Sequence[SpinRun], stages: Sequence[StagesRun], script_mib: float = math.nan
) -> str:
    """Return the section; what has not been measured is left out.

    Args:
        loads: of many jobs at once.
        spins: of many views.
        stages: of one job's parts.
        script_mib: peak memory of a process of the script that Respin replaces, for one job.
    """
    lines: list[str] = []
    if stages:
        lines += ["### Where one job's time goes", "", *_stages(stages), ""]
    if loads:
        lines += ["### Many jobs at once", "", *_loads(loads, script_mib), ""]
    if spins:
        lines += ["### Many views in one request", "", *_spins(spins), ""]
    return "\n".join(lines)


def _where(runs: Sequence[ServedRun]) -> str:
    first, averages = runs[0], [run.load_average for run in runs]
    commits = distinct_text(run.commit for run in runs)
    return (
        f"{first.machine}, {first.date}, mini set, {first.sampler}, {first.steps} + {first.background_steps} steps, "
        f"commit {commits}, {first.versions}; load average {min(averages):g} to {max(averages):g}."
    )


def _hits(runs: Iterable[LoadRun] | Iterable[SpinRun] | Iterable[StagesRun]) -> str:
    hits = sum(run.cache_hits for run in runs)
    return f"**{hits} results came from a cache.**" if hits else "No result came from a cache."


def _cells(runs: Sequence[R], *key: str) -> list[list[R]]:
    """The repeats of each cell, in the order of their columns."""
    groups: dict[tuple[object, ...], list[R]] = {}
    for run in runs:
        groups.setdefault(tuple(getattr(run, name) for name in key), []).append(run)
    return [groups[each] for each in sorted(groups)]


def _repeats(cells: Iterable[Sequence[ServedRun]]) -> str:
    most = max(map(len, cells))
    return f"{most} interleaved repeats" if most > 1 else "a single repeat"


def _median(runs: Iterable[ServedRun], name: str) -> float:
    return median(float(getattr(run, name)) for run in runs)


def _pair(runs: Iterable[ServedRun], suffix: str, form: str) -> str:
    runs = list(runs)
    return " / ".join(f"{_median(runs, f'{unet}_{suffix}'):{form}}" for unet in ("zero123", "inpaint"))


def _table(columns: Mapping[str, Callable[[list[R]], str]], cells: Iterable[list[R]]) -> list[str]:
    return table(list(columns), ([column(cell) for column in columns.values()] for cell in cells))


def load_cells_of(runs: Sequence[LoadRun]) -> list[list[LoadRun]]:
    """Return the repeats of each cell: profiles together, closed loops first, each kind from little to much."""
    return _cells(runs, "profile", "arrival", "concurrency", "rate_share")


def latencies_s(runs: Iterable[LoadRun]) -> list[float]:
    """Return the latencies of all answered jobs of all repeats."""
    return [float(each) for run in runs for each in run.latencies_s.split()]


def _sum_of(name: str) -> Callable[[list[LoadRun]], str]:
    return lambda cell: f"{sum(getattr(run, name) for run in cell)}"


def _percentile_of(share: float) -> Callable[[list[LoadRun]], str]:
    return lambda cell: number_text(percentile(latencies_s(cell), share), ".2f")


def _sending(run: LoadRun) -> str:
    if run.concurrency:
        return f"{run.concurrency} at once"
    return f"{run.rate_s:.2f}/s, {run.rate_share:.0%} of the best"


LOAD_COLUMNS: dict[str, Callable[[list[LoadRun]], str]] = {
    "profile": lambda cell: f"`{cell[0].profile}`",
    "load": lambda cell: _sending(cell[0]),
    "jobs": _sum_of("jobs"),
    "refused": _sum_of("refused"),
    "failed": _sum_of("failed"),
    "images/s": lambda cell: f"{_median(cell, 'images_s'):.2f}",
    "p50, s": _percentile_of(0.5),
    "p95": _percentile_of(0.95),
    "p99": _percentile_of(0.99),
    "spread": lambda cell: spread_text(run.p50_s for run in cell),
    "UNets busy, Zero123 / inpainting": lambda cell: _pair(cell, "busy", ".0%"),
    "samples a call": lambda cell: _pair(cell, "samples", ".2f"),
}


def _loads(runs: Sequence[LoadRun], script_mib: float) -> list[str]:
    cells = load_cells_of(runs)
    errors = [f"* First error of a run: {error}" for error in dict.fromkeys(run.first_error for run in runs) if error]
    return [
        f"{_where(runs)} Medians and percentiles of {_repeats(cells)}. {_hits(runs)}",
        "",
        "![Latency over throughput](images/served_load.png)",
        "",
        *_table(LOAD_COLUMNS, cells),
        "",
        *([*errors, ""] if errors else []),
        "![How many samples shared a call of a UNet](images/served_batches.png)",
        "",
        *_memory(runs, script_mib),
    ]


def _memory(runs: Sequence[LoadRun], script_mib: float) -> Iterator[str]:
    weighed = [run for run in runs if not math.isnan(run.peak_pss_mib)]
    if not weighed:
        return
    profiles = list(dict.fromkeys(run.profile for run in weighed))
    fresh = {profile: min(run.idle_pss_mib for run in weighed if run.profile == profile) for profile in profiles}
    firsts = [cell[0] for cell in load_cells_of(weighed) if cell[0].concurrency]
    yield (
        "Memory of all processes of the server together, in the first repeat of each closed loop. A job is the peak "
        "less what the warm server took before any load, over the jobs at once."
    )
    yield ""
    columns: dict[str, Callable[[list[LoadRun]], str]] = {
        "profile": lambda cell: f"`{cell[0].profile}`",
        "at once": lambda cell: f"{cell[0].concurrency}",
        "PSS before, MiB": lambda cell: f"{cell[0].idle_pss_mib:.0f}",
        "peak PSS": lambda cell: f"{cell[0].peak_pss_mib:.0f}",
        "peak RSS": lambda cell: f"{cell[0].peak_rss_mib:.0f}",
        "a job": lambda cell: f"{(cell[0].peak_pss_mib - fresh[cell[0].profile]) / cell[0].concurrency:.1f}",
    }
    yield from _table(columns, ([run] for run in firsts))
    yield ""
    if not math.isnan(script_mib):
        yield from (_shared(run, script_mib) for run in firsts if run.concurrency == COMPARED)
    yield from (_greatest([run for run in weighed if run.profile == profile]) for profile in profiles)
    yield from (_vram(run) for run in firsts if not math.isnan(run.peak_vram_mib))


def _shared(run: LoadRun, script_mib: float) -> str:
    """The whole server's memory over its jobs, against the script's process, which does one."""
    each = run.peak_pss_mib / run.concurrency
    return (
        f"* `{run.profile}`, {run.concurrency} at once: {each:.0f} MiB a job, the whole server shared out; the script "
        f"that Respin replaces takes {script_mib:.0f} in a process a job (aim: less): {verdict(each < script_mib)}."
    )


def _greatest(runs: Sequence[LoadRun]) -> str:
    """The processes with the most memory at the peak, and what is left of it."""
    most = max(runs, key=lambda run: run.peak_pss_mib)
    kept = f"before the last run it was {runs[-1].idle_pss_mib:.0f} MiB"
    return f"* `{most.profile}`, at its peak: {_first_three(most.pss_by_process)}; {kept}."


def _vram(run: LoadRun) -> str:
    """The GPU's memory at its peak, and the processes that have it."""
    whose = _first_three(run.vram_by_process) or "no process of the server's, as far as NVML reports"
    return (
        f"* `{run.profile}`, {run.concurrency} at once: {run.peak_vram_mib:.0f} MiB of the GPU in use, of that {whose}."
    )


def _first_three(by_process: str) -> str:
    pairs = [pair.rpartition(":")[::2] for pair in by_process.split()]
    return ", ".join(f"`{name}` {mib} MiB" for name, mib in sorted(pairs, key=lambda pair: -float(pair[1]))[:3])


def _spins(runs: Sequence[SpinRun]) -> list[str]:
    cells = _cells(runs, "profile", "views")
    one_s = {cell[0].profile: _median(cell, "latency_s") for cell in cells if cell[0].views == 1}

    def to_one_view(cell: list[SpinRun]) -> str:
        one = one_s.get(cell[0].profile)
        return "" if one is None else f"{_median(cell, 'latency_s') / one:.2f} x"

    columns: dict[str, Callable[[list[SpinRun]], str]] = {
        "profile": lambda cell: f"`{cell[0].profile}`",
        "views": lambda cell: f"{cell[0].views}",
        "latency, s": lambda cell: f"{_median(cell, 'latency_s'):.2f}",
        "spread": lambda cell: spread_text(run.latency_s for run in cell),
        "to one view": to_one_view,
        "a view, s": lambda cell: f"{_median(cell, 'latency_s') / cell[0].views:.2f}",
        "first view after, s": lambda cell: f"{_median(cell, 'first_view_s'):.2f}",
        "Zero123's UNet busy": lambda cell: f"{_median(cell, 'zero123_busy'):.0%}",
        "samples a call": lambda cell: f"{_median(cell, 'zero123_samples'):.2f}",
        "calls": lambda cell: f"{_median(cell, 'zero123_calls'):.0f}",
    }
    return [f"{_where(runs)} Medians of {_repeats(cells)}. {_hits(runs)}", "", *_table(columns, cells)]


def _stages(runs: Sequence[StagesRun]) -> list[str]:
    profiles = [[run for run in runs if run.profile == name] for name in dict.fromkeys(run.profile for run in runs)]
    rows = (
        [name, *(ranged_text([float(getattr(run, column)) for run in mine], ".1f", 1e3) for mine in profiles)]
        for column, name in STAGE_NAMES.items()
    )
    return [
        f"{_where(runs)} Medians of {max(map(len, profiles))} jobs, one at a time, interleaved; ms, least to greatest "
        f"in brackets. {_hits(runs)}",
        "",
        *table(("stage", *(f"`{mine[0].profile}`" for mine in profiles)), rows),
    ]
