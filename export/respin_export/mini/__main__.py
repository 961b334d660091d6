"""Make the mini set: `python -m respin_export.mini [--output FOLDER] [--only NAME] [--runs FOLDER]`.

Ten small networks of the published architectures, trained on rendered scenes by `respin train`, exported to ONNX by
the contracts and compared with the modules that they were made from.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from rich.progress import Progress
from torch import nn

from respin.contracts import NETWORKS
from respin.errors import RespinError
from respin_export.mini.networks import BUILDERS, SEED, build, seeded
from respin_export.mini.sizes import SIZES
from respin_export.mini.stored import store_in_half
from respin_export.set_writer import SetWriter
from respin_export.to_onnx import OPSET, export_network
from respin_export.training.loop import CHECKPOINT, CURVE
from respin_export.training.recipes import TRAINED

EXAMPLES = """examples:
  respin train all && python -m respin_export.mini    train and export the whole set
  python -m respin_export.mini --only edsr            one network, the other files and their records stay
  python -m respin_export.mini --output models/trial  somewhere else, to compare

A network without a finished run is exported with the weights from which training starts, and recorded as not trained.
A network whose ONNX file does not keep to its contract, or computes something else than its module, is refused and
leaves file and manifest as they were.
"""

KNOWS = "rendered scenes"
"""What the networks of this set were trained on."""


def export_mini(folder: Path, names: Sequence[str], runs: Path, progress: Progress) -> None:
    """Export networks of the mini set and record them in its manifest.

    Args:
        folder: of the set; `<network>/model.onnx` and `manifest.json` are written into it.
        names: of the networks; the records of others are kept.
        runs: folder of the training runs.
        progress: shows one step a network.

    Raises:
        ContractMismatch: a graph does not keep to its contract.
        ExportMismatch: a graph computes something else than its module.
    """
    task = progress.add_task("mini set", total=len(names))
    writer = SetWriter.open(folder, name="mini", precision="fp32", sizes=SIZES)
    for name in names:
        progress.update(task, description=name)
        module, training = trained_or_new(name, runs)
        with writer.draft(name) as draft:
            parity = export_network(rounded(module), NETWORKS[name], SIZES, draft)
            store_in_half(draft)
            writer.publish(
                name,
                draft,
                parity=parity,
                export={"opset": OPSET, "weights_stored_in": "fp16"},
                weights="trained by respin train",
                training=training,
                knows=KNOWS,
            )
        progress.advance(task)


def trained_or_new(name: str, runs: Path) -> tuple[nn.Module, dict[str, Any]]:
    """Load a network from its run, or make it new, with what there is to say about its training."""
    run, load = TRAINED.get(name, (None, None))
    if run is None or load is None or not (runs / run / CHECKPOINT).is_file():
        return build(name), {"trained": False, "seed": SEED}
    with (runs / run / CURVE).open() as file:
        rows = list(csv.DictReader(file))
    figures = {key: float(value) for key, value in rows[-1].items()} if rows else {}
    return seeded(lambda: load(runs)), {"trained": True, "run": run, **figures}


@torch.no_grad()
def rounded(module: nn.Module) -> nn.Module:
    """Round the weights to float16, as they will be stored: graph and module stay the same function."""
    for parameter in module.parameters():
        parameter.copy_(parameter.half().float())
    return module


def main(arguments: list[str] | None = None) -> int:
    """Make the set; return 1 if a network was refused."""
    parser = argparse.ArgumentParser(
        prog="python -m respin_export.mini",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--output", type=Path, default=Path("models/mini"), help="folder (default: %(default)s)")
    parser.add_argument("--only", choices=BUILDERS, metavar="NAME", help=f"one of {', '.join(BUILDERS)}")
    parser.add_argument(
        "--runs", type=Path, default=Path("build/training"), help="folder of the training runs (default: %(default)s)"
    )
    options = parser.parse_args(arguments)
    with Progress() as progress:
        try:
            export_mini(options.output, [options.only] if options.only else list(BUILDERS), options.runs, progress)
        except RespinError as error:
            print(error, file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
