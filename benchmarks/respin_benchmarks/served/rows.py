"""The rows of the results."""

from __future__ import annotations

from dataclasses import dataclass

from respin.report.circumstances import Circumstances


@dataclass(frozen=True, kw_only=True)
class ServedRun(Circumstances):
    """The columns of every run."""

    profile: str  # of the embedded server; "running" = a server that was there already
    repeat: int  # number of the run
    sampler: str  # of both UNets
    steps: int  # of the novel view
    background_steps: int  # of the background
    load_average: float  # of the machine's last minute when the run began; 1 = one busy core


@dataclass(frozen=True, kw_only=True)
class LoadRun(ServedRun):
    """Many jobs of one view."""

    arrival: str  # "closed": so many jobs are kept under way; "open": jobs come at a rate, whatever is answered
    concurrency: int  # jobs at the same time; 0 = open
    rate_share: float  # of the closed loop's best throughput at which jobs come; 0 = closed
    rate_s: float  # jobs that come a second; 0 = closed
    jobs: int  # that were sent
    answered: int  # with a picture
    refused: int  # as the server had no room
    failed: int  # in any other way
    first_error: str  # in words; empty = none
    wall_s: float  # from the first job's being sent to the last answer
    images_s: float  # pictures a second
    p50_s: float  # of the latency of answered jobs; open: since the job was due
    p95_s: float  # of the latency
    p99_s: float  # of the latency
    latencies_s: str  # all of them, in the order of sending
    zero123_busy: float  # share of the wall time in which the UNet was called
    inpaint_busy: float  # the same of the other
    zero123_samples: float  # samples per call, mean
    inpaint_samples: float  # the same of the other
    zero123_batches: str  # calls by the number of samples, "1:20 2:7"
    inpaint_batches: str  # the same of the other
    cache_hits: int  # results that were there already
    idle_rss_mib: float  # of all processes of the server together before the run; NaN where they are out of reach
    peak_rss_mib: float  # the greatest while it lasted
    idle_pss_mib: float  # the same with each shared page counted once
    peak_pss_mib: float  # the greatest while it lasted
    pss_by_process: str  # at that moment, "rotate_object_stream:310 ..."
    peak_vram_mib: float  # the greatest of the whole GPU while it lasted, by any process; NaN if there is no GPU
    vram_by_process: str  # at that moment, of the server's processes that NVML reports


@dataclass(frozen=True, kw_only=True)
class SpinRun(ServedRun):
    """One request of many views, over the stream."""

    views: int  # that were asked for
    latency_s: float  # from the request to the end of the stream
    first_view_s: float  # from the request to the first picture
    zero123_busy: float  # share of the latency in which the UNet was called
    zero123_samples: float  # samples per call, mean
    zero123_calls: int  # of the UNet
    cache_hits: int  # results that were there already


@dataclass(frozen=True, kw_only=True)
class StagesRun(ServedRun):
    """One job alone on the server: what each part took, s. The background is made beside the view."""

    latency_s: float  # from the request to the answer, as its client saw it
    server_s: float  # from admission to the last answer, as the engine saw it
    decoding_s: float  # of the photo
    detection_s: float  # of the object; nothing where the box was given
    segmentation_s: float  # of the object
    background_s: float  # inpainting, from its text to the finished patch
    inpaint_unet_s: float  # of that, calls of the UNet
    zero123_unet_s: float  # calls of the UNet
    super_resolution_s: float  # of the view
    outline_s: float  # of the view: detection and segmentation again
    composition_s: float  # of view and background
    cache_hits: int  # results that were there already


def text_from_batches(batches: dict[int, int]) -> str:
    """Return calls by the number of samples in the form of a column: "1:20 2:7"."""
    return " ".join(f"{size}:{count}" for size, count in batches.items())


def batches_from_text(text: str) -> dict[int, int]:
    """Return what `text_from_batches` wrote."""
    pairs = (pair.partition(":") for pair in text.split())
    return {int(size): int(count) for size, _, count in pairs}
