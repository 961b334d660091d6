"""What others have published of the same networks: times that they measured, not we."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from respin_benchmarks.in_process.rows import NetworkRun


@dataclass(frozen=True)
class PublishedFigure:
    """A published figure.

    Args:
        network: ours that it is comparable with.
        who: measured what.
        gpu: on which.
        call_ms: of a call; of a UNet a guided step of one 512 x 512 px picture.
        source: where it stands.
    """

    network: str
    who: str
    gpu: str
    call_ms: float
    source: str


PUBLISHED_FIGURES = (
    PublishedFigure(
        "inpaint_unet", "PyTorch 2.0, compiled (inpainting)", "A100", 20.3, "diffusers docs, torch2.0.md, 49.25 it/s"
    ),
    PublishedFigure("inpaint_unet", "TensorRT 9.0 demo (SD-1.5)", "RTX 4080", 19.0, "stable-fast README, 52.6 it/s"),
    PublishedFigure("inpaint_unet", "PyTorch 2.1, eager (SD-1.5)", "H100", 18.3, "stable-fast README, 54.5 it/s"),
    PublishedFigure("inpaint_unet", "PyTorch 2.1, compiled (SD-1.5)", "H100", 15.2, "stable-fast README, 66.0 it/s"),
    PublishedFigure("inpaint_unet", "OneDiff, nexfort (SD-1.5)", "A800", 13.2, "onediff sd1.5 README, 76.02 it/s"),
    PublishedFigure(
        "inpaint_unet", "ONNX Runtime CUDA (SD-1.5)", "H100", 11.4, "onnxruntime issue 22834, 572 ms for 50 steps"
    ),
    PublishedFigure("inpaint_unet", "OneDiff, nexfort (SD-1.5)", "RTX 4090", 11.0, "onediff sd1.5 README, 91.0 it/s"),
    PublishedFigure("inpaint_unet", "stable-fast (SD-1.5)", "H100", 9.6, "stable-fast README, 104.6 it/s"),
    PublishedFigure(
        "grounding_dino", "TensorRT FP16, fixed shape", "A100", 37.0, "OmDet docs, cvt_grounding_dino-en.md, 27 FPS"
    ),
)


def table_of(runs: Sequence[NetworkRun]) -> list[str]:
    """Published figures and our fastest runs of the same networks, slowest first; empty without such runs."""
    names = dict.fromkeys(figure.network for figure in PUBLISHED_FIGURES)
    ours = [run for run in runs if run.network in names and run.batch == 1]
    if not ours:
        return []
    lines = [
        "Beside what others have published, on other cards; TFLOP/s are computed from our count of the same network's "
        "arithmetic.",
        "",
        "| network | who | GPU | ms a call | TFLOP/s | source |",
        "|---|---|---|---|---|---|",
    ]
    gflop = {run.network: run.gflop for run in ours}
    for name in names:
        if name not in gflop:
            continue
        cells = [
            (figure.call_ms, figure.who, figure.gpu, figure.source)
            for figure in PUBLISHED_FIGURES
            if figure.network == name
        ]
        cells += [
            (run.best_ms, f"**Respin's module, {run.runtime}**", run.machine, "this page")
            for run in ours
            if run.network == name
        ]
        lines += [
            f"| `{name}` | {who} | {gpu} | {call_ms:.1f} | {gflop[name] / call_ms:.0f} | {source} |"
            for call_ms, who, gpu, source in sorted(cells, reverse=True)
        ]
    return lines
