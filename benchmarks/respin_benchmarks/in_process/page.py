"""The section on a device, in Markdown."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from statistics import median

from respin.report.markdown import table
from respin.report.statistics import distinct_text, number_text, spread_text
from respin_benchmarks.in_process.aims import targets_of
from respin_benchmarks.in_process.analysis import (
    job_limit_ms,
    median_of,
    most_repeats,
    ratio_text,
    ratios,
    runtimes_of,
    select,
    usual_key,
)
from respin_benchmarks.in_process.rows import JobRun, NetworkRun
from respin_benchmarks.targets import target_table

COLUMNS = (
    *("way", "steps", "views x jobs", "latency, s", "spread", "images/s", "faster"),
    *(
        "UNets busy, Zero123 / inpainting",
        "PSNR view / background, dB",
        "memory, MiB: in all / this process",
        "J/image",
    ),
)

PUBLISHED = (
    ("inpaint_unet", "PyTorch 2.0, compiled (inpainting)", "A100", 20.3, "diffusers docs, torch2.0.md, 49.25 it/s"),
    ("inpaint_unet", "TensorRT 9.0 demo (SD-1.5)", "RTX 4080", 19.0, "stable-fast README, 52.6 it/s"),
    ("inpaint_unet", "PyTorch 2.1, eager (SD-1.5)", "H100", 18.3, "stable-fast README, 54.5 it/s"),
    ("inpaint_unet", "PyTorch 2.1, compiled (SD-1.5)", "H100", 15.2, "stable-fast README, 66.0 it/s"),
    ("inpaint_unet", "OneDiff, nexfort (SD-1.5)", "A800", 13.2, "onediff sd1.5 README, 76.02 it/s"),
    ("inpaint_unet", "ONNX Runtime CUDA (SD-1.5)", "H100", 11.4, "onnxruntime issue 22834, 572 ms for 50 steps"),
    ("inpaint_unet", "OneDiff, nexfort (SD-1.5)", "RTX 4090", 11.0, "onediff sd1.5 README, 91.0 it/s"),
    ("inpaint_unet", "stable-fast (SD-1.5)", "H100", 9.6, "stable-fast README, 104.6 it/s"),
    ("grounding_dino", "TensorRT FP16, fixed shape", "A100", 37.0, "OmDet docs, cvt_grounding_dino-en.md, 27 FPS"),
)
"""Times that others measured: network, who, on which GPU, ms per call (of a UNet a guided step of one 512 x 512 px
picture), source."""


def page_of(jobs: Sequence[JobRun], networks: Sequence[NetworkRun], device: str) -> str:
    """Return the section of one device."""
    lines: list[str] = []
    with_baseline = any(run.way == "baseline" for run in jobs)
    targets = targets_of(jobs if with_baseline else (), networks, device)
    if with_baseline:
        lines += [_where(jobs), "", *target_table(targets), "", *_jobs(jobs), ""]
        lines += [f"![One job by the baseline and by the engine](images/baseline_{device}.png)", ""]
        lines += [f"![Where the time of one job goes](images/jobs_{device}.png)", ""]
    elif networks and device != "cuda":
        lines += [*target_table(targets), ""]
    if networks:
        lines += [_ceilings(networks), "", *_networks(networks), ""]
        lines += [f"![Each network beside its limit](images/limits_{device}.png)", ""]
        lines += _whole_job(jobs, networks) if with_baseline else []
        lines += _beside_published(networks) if device == "cuda" else []
    return "\n".join(lines)


def _where(runs: Sequence[JobRun] | Sequence[NetworkRun]) -> str:
    first, commits = runs[0], distinct_text(run.commit for run in runs)
    photo = f", photo of {first.photo}" if isinstance(first, JobRun) else ""
    return f"{first.machine}, {first.date}, {first.weights} weights{photo}, commit {commits}, {first.versions}."


def _jobs(jobs: Sequence[JobRun]) -> list[str]:
    return [
        f"Whole jobs, medians of up to {most_repeats(jobs)} interleaved repeats; spread = (greatest - least) / median. "
        "Faster = the baseline's latency over this one's in the same repeat, where both do the same: the median, and "
        "the least to the greatest.",
        "",
        *table(COLUMNS, _job_rows(jobs)),
    ]


def _job_rows(jobs: Sequence[JobRun]) -> Iterator[list[str]]:
    usual = usual_key(jobs)
    for way, runtime, precision in dict.fromkeys((run.way, run.runtime, run.precision) for run in jobs):
        mine = [run for run in jobs if (run.way, run.runtime, run.precision) == (way, runtime, precision)]
        for key in dict.fromkeys(run.key for run in mine):
            runs = select(mine, way, key)
            compared = way == "engine" and key == usual
            faster = ratios(select(jobs, "baseline", usual), runs, lambda run: run.latency_s) if compared else []
            yield [f"{way}, {runtime}, {precision.upper()}", *_job(runs, ratio_text(faster))]


def _job(runs: Sequence[JobRun], faster: str) -> list[str]:
    sampler, steps, background_steps, views, count = runs[0].key
    latencies = [run.latency_s for run in runs]
    return [
        f"{sampler} {steps} + {background_steps}",
        f"{views} x {count}",
        f"{median(latencies):.3f}",
        spread_text(latencies) or "0%",
        f"{median_of(runs, 'images_s'):.2f}",
        faster,
        _pair(runs, "zero123_busy", "inpaint_busy", ".0%"),
        _pair(runs, "psnr_view_db", "psnr_background_db", ".1f"),
        number_text(median_of(runs, "memory_mib") or math.nan, ".0f")
        + ("" if math.isnan(process := median_of(runs, "process_memory_mib")) else f" / {process:.0f}"),
        number_text(median_of(runs, "joules"), ".0f"),
    ]


def _pair(runs: Sequence[JobRun], one: str, other: str, form: str) -> str:
    values = [median_of(runs, one), median_of(runs, other)]
    return "" if any(map(math.isnan, values)) else " / ".join(f"{value:{form}}" for value in values)


def _ceilings(runs: Sequence[NetworkRun]) -> str:
    tflops, copies = (_range([getattr(run, name) for run in runs]) for name in ("matmul_tflops", "copy_gb_s"))
    return (
        f"Networks by themselves: {_where(runs)} The limit is set by {tflops} TFLOP/s of matrix products and "
        f"{copies} GB/s of copies, measured in the same runs, and by the arithmetic and the bytes of a call, "
        "counted: weights, inputs and outputs moved once. Medians, on the device alone where a CUDA graph measures "
        "it, else from arrays to arrays."
    )


def _range(values: Sequence[float]) -> str:
    least, most = min(values), max(values)
    return f"{least:g}" if least == most else f"{least:g} to {most:g}"


def _whole_job(jobs: Sequence[JobRun], networks: Sequence[NetworkRun]) -> list[str]:
    """What a whole job's calls take at the limit, against what it took."""
    _, steps, background_steps, *_ = usual = usual_key(jobs)
    limit = job_limit_ms(networks, steps=steps, background_steps=background_steps)
    if limit is None:
        return []
    took = {f"`{runtime}`": select(jobs, "engine", usual, runtime) for runtime in runtimes_of(jobs)}
    took["the baseline"] = select(jobs, "baseline", usual)
    shares = ", ".join(f"{name} {limit[0] / (median_of(runs, 'latency_s') * 1e3):.0%}" for name, runs in took.items())
    return [
        f"The calls of one job at {steps} + {background_steps} steps have a limit of {limit[0]:.0f} ms together, those "
        f"of its UNets {limit[1]:.0f}. Of that limit the whole job, processor's work and all, reaches: {shares}.",
        "",
    ]


def _networks(runs: Sequence[NetworkRun]) -> list[str]:
    runtimes = list(dict.fromkeys(run.runtime for run in runs))
    titles = [title for name in runtimes for title in (f"{name}, ms", "share of the limit", f"errors of {name}")]
    by_key = {(run.network, run.batch, run.runtime): run for run in runs}
    rows = []
    for name, batch in dict.fromkeys((run.network, run.batch) for run in runs):
        mine = [by_key.get((name, batch, runtime)) for runtime in runtimes]
        first = next(run for run in mine if run)
        cells = [f"`{name}`", f"{batch}", f"{first.gflop:.4g}", f"{first.least_mib:.4g}", f"{first.floor_ms:.3g}"]
        rows.append(cells + [cell for run in mine for cell in _network(run)])
    return table(("network", "batch", "GFLOP", "MiB", "limit, ms", *titles), rows)


def _network(run: NetworkRun | None) -> list[str]:
    if run is None:
        return [""] * 3
    note = f" ({run.note})" if run.note else ""
    return [f"{run.best_ms:.2f}", f"{run.floor_share:.0%}", f"{run.errors}{note}"]


def _beside_published(runs: Sequence[NetworkRun]) -> list[str]:
    """Published figures and our runs of the same networks, slowest first; empty without such runs."""
    rows = []
    for name in dict.fromkeys(network for network, *_ in PUBLISHED):
        ours = [run for run in runs if (run.network, run.batch) == (name, 1)]
        figures = [(ms, who, gpu, source) for network, who, gpu, ms, source in PUBLISHED if network == name and ours]
        figures += [(run.best_ms, f"**Respin's module, {run.runtime}**", run.machine, "this page") for run in ours]
        rows += [
            [f"`{name}`", who, gpu, f"{ms:.1f}", f"{ours[-1].gflop / ms:.0f}", source]
            for ms, who, gpu, source in sorted(figures, reverse=True)
        ]
    if not rows:
        return []
    return [
        "Beside what others have published, on other cards; TFLOP/s are computed from our count of the same network's "
        "arithmetic.",
        "",
        *table(("network", "who", "GPU", "ms a call", "TFLOP/s", "source"), rows),
        "",
    ]
