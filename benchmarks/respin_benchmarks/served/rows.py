"""The rows of the results."""

from __future__ import annotations

from dataclasses import dataclass

from respin_benchmarks.circumstances import RepeatRun


@dataclass(frozen=True, kw_only=True)
class ServedRun(RepeatRun):
    """The columns of every run."""

    profile: str  # of the embedded server; "running" = a server that was there already
    sampler: str  # of both UNets
    steps: int  # of the novel view
    background_steps: int  # of the background


@dataclass(frozen=True, kw_only=True)
class LoadRun(ServedRun):
    """Many jobs of one view: so many are kept under way."""

    concurrency: int  # jobs at the same time
    jobs: int  # that were sent
    refused: int  # as the server had no room
    failed: int  # in any other way
    first_error: str  # in words; empty = none
    images_s: float  # pictures a second
    p50_s: float  # of the latency of answered jobs
    p95_s: float  # of the latency
    latencies_s: str  # all of them, in the order of sending
    zero123_busy: float  # share of the time in which the UNet was called
    inpaint_busy: float  # the same of the other
    zero123_samples: float  # samples per call, mean
    inpaint_samples: float  # the same of the other
    peak_pss_mib: float  # the greatest of all processes of the server together; NaN where they are out of reach


@dataclass(frozen=True, kw_only=True)
class StagesRun(ServedRun):
    """One job alone on the server: what each part took, s. The background is made beside the view."""

    latency_s: float  # from the request to the answer, as its client saw it
    server_s: float  # from admission to the last answer, as the engine saw it
    decoding_s: float  # of the photo
    segmentation_s: float  # of the object
    background_s: float  # inpainting, from its text to the finished patch
    inpaint_unet_s: float  # of that, calls of the UNet
    zero123_unet_s: float  # calls of the UNet
    super_resolution_s: float  # of the view
    outline_s: float  # of the view: detection and segmentation again
    composition_s: float  # of view and background
