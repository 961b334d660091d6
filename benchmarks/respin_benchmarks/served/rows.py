"""The rows of the results."""

from __future__ import annotations

from dataclasses import dataclass

from respin.report.circumstances import Circumstances


@dataclass(frozen=True, kw_only=True)
class ServedRun(Circumstances):
    """The columns of every run.

    Args:
        profile: of the embedded server; "running" = a server that was there already.
        repeat: number of the run.
        sampler: of both UNets.
        steps: of the novel view.
        background_steps: of the background.
        load_average: of the machine's last minute when the run began; 1 = one busy core.
    """

    profile: str
    repeat: int
    sampler: str
    steps: int
    background_steps: int
    load_average: float


@dataclass(frozen=True, kw_only=True)
class LoadRun(ServedRun):
    """Many jobs of one view.

    Args:
        arrival: "closed": so many jobs are kept under way; "open": jobs come at a rate, whatever is answered.
        concurrency: jobs at the same time; 0 = open.
        rate_share: of the closed loop's best throughput at which jobs come; 0 = closed.
        rate_s: jobs that come a second; 0 = closed.
        jobs: that were sent.
        answered: with a picture.
        refused: as the server had no room.
        failed: in any other way.
        first_error: in words; empty = none.
        wall_s: from the first job's being sent to the last answer.
        images_s: pictures a second.
        p50_s: of the latency of answered jobs; open: since the job was due.
        p95_s: of the latency.
        p99_s: of the latency.
        latencies_s: all of them, in the order of sending.
        zero123_busy: share of the wall time in which the UNet was called.
        inpaint_busy: the same of the other.
        zero123_samples: samples per call, mean.
        inpaint_samples: the same of the other.
        zero123_batches: calls by the number of samples, "1:20 2:7".
        inpaint_batches: the same of the other.
        cache_hits: results that were there already.
        idle_rss_mib: of all processes of the server together before the run; NaN where they are out of reach.
        peak_rss_mib: the greatest while it lasted.
        idle_pss_mib: the same with each shared page counted once.
        peak_pss_mib: the greatest while it lasted.
        pss_by_process: at that moment, "rotate_object_stream:310 ...".
        peak_vram_mib: the greatest of the whole GPU while it lasted, whoever held it; NaN where there is no GPU.
        vram_by_process: at that moment, of the server's processes that NVML tells of.
    """

    arrival: str
    concurrency: int
    rate_share: float
    rate_s: float
    jobs: int
    answered: int
    refused: int
    failed: int
    first_error: str
    wall_s: float
    images_s: float
    p50_s: float
    p95_s: float
    p99_s: float
    latencies_s: str
    zero123_busy: float
    inpaint_busy: float
    zero123_samples: float
    inpaint_samples: float
    zero123_batches: str
    inpaint_batches: str
    cache_hits: int
    idle_rss_mib: float
    peak_rss_mib: float
    idle_pss_mib: float
    peak_pss_mib: float
    pss_by_process: str
    peak_vram_mib: float
    vram_by_process: str


@dataclass(frozen=True, kw_only=True)
class SpinRun(ServedRun):
    """One request of many views, over the stream.

    Args:
        views: that were asked for.
        latency_s: from the request to the end of the stream.
        first_view_s: from the request to the first picture.
        zero123_busy: share of the latency in which the UNet was called.
        zero123_samples: samples per call, mean.
        zero123_calls: of the UNet.
        cache_hits: results that were there already.
    """

    views: int
    latency_s: float
    first_view_s: float
    zero123_busy: float
    zero123_samples: float
    zero123_calls: int
    cache_hits: int


@dataclass(frozen=True, kw_only=True)
class StagesRun(ServedRun):
    """One job alone on the server: what each part took, s. The background is made beside the view.

    Args:
        latency_s: from the request to the answer, as its client saw it.
        server_s: from admission to the last answer, as the engine saw it.
        decoding_s: of the photo.
        detection_s: of the object; nothing where the box was given.
        segmentation_s: of the object.
        background_s: inpainting, from its text to the finished patch.
        inpaint_unet_s: of that, calls of the UNet.
        zero123_unet_s: calls of the UNet.
        super_resolution_s: of the view.
        outline_s: of the view: detection and segmentation again.
        composition_s: of view and background.
        cache_hits: results that were there already.
    """

    latency_s: float
    server_s: float
    decoding_s: float
    detection_s: float
    segmentation_s: float
    background_s: float
    inpaint_unet_s: float
    zero123_unet_s: float
    super_resolution_s: float
    outline_s: float
    composition_s: float
    cache_hits: int


def text_from_batches(batches: dict[int, int]) -> str:
    """Return calls by the number of samples in the form of a column: "1:20 2:7"."""
    return " ".join(f"{size}:{count}" for size, count in batches.items())


def batches_from_text(text: str) -> dict[int, int]:
    """Return what `text_from_batches` wrote."""
    pairs = (pair.partition(":") for pair in text.split())
    return {int(size): int(count) for size, _, count in pairs}
