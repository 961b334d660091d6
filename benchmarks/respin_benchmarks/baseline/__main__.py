"""Turn the cup once, from the start of a process to a picture on the disk, as the script that Respin replaces does."""

from __future__ import annotations

import argparse
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from respin_benchmarks.baseline.pipeline import Baseline
from respin_benchmarks.in_process.engine import request_for_cup
from respin_benchmarks.in_process.weights import Kind, weights_of
from respin_export.isolated import peak_rss_mib


def main(arguments: list[str] | None = None) -> None:
    """Load everything, do one job, write its picture, and say the most memory that this took, MiB."""
    parser = argparse.ArgumentParser(prog="python -m respin_benchmarks.baseline", description=__doc__)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--weights", choices=("set", "mini", "full"), default="set")
    parser.add_argument("--precision", choices=("fp32", "fp16"), default="fp32")
    parser.add_argument("--work", type=Path, default=Path("build/in-process"), help="for synthesized weights")
    parser.add_argument("--steps", type=int, default=75, help="of Zero123 (default: %(default)s)")
    parser.add_argument("--background-steps", type=int, default=50, help="of the inpainting (default: %(default)s)")
    parser.add_argument("--output", type=Path, default=Path("generated.png"))
    options = parser.parse_args(arguments)
    kind: Kind = options.weights
    weights = weights_of(kind, options.work / "weights")
    request = request_for_cup(steps=options.steps, background_steps=options.background_steps)
    photo = np.array(Image.open(BytesIO(request.image)).convert("RGB"))
    made = Baseline(weights, device=options.device, half=options.precision == "fp16")(request, photo)
    Image.fromarray(made["image"]).save(options.output)
    print(peak_rss_mib())


if __name__ == "__main__":
    main()
