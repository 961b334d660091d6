"""Turn the cup once, from the start of a process to a picture on the disk, as the script that Respin replaces does."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import typer
from PIL import Image

from respin_benchmarks.baseline.pipeline import Baseline
from respin_benchmarks.in_process.engine import request_for_cup
from respin_benchmarks.in_process.weights import load_weights
from respin_export.isolated import peak_rss_mib


def main(
    *,
    device: str = "cpu",
    weights: str = "set",
    precision: str = "fp32",
    work: Path = Path("build/in-process"),
    steps: int = 75,
    background_steps: int = 50,
    output: Path = Path("generated.png"),
) -> None:
    """Load everything, do one job, write its picture, and print the most memory that this took, MiB."""
    loaded = load_weights(weights, work / "weights")
    request = request_for_cup(steps=steps, background_steps=background_steps)
    photo = np.array(Image.open(BytesIO(request.image)).convert("RGB"))
    made = Baseline(loaded, device=device, half=precision == "fp16")(request, photo)
    Image.fromarray(made["image"]).save(output)
    typer.echo(peak_rss_mib())


if __name__ == "__main__":
    typer.run(main)
