"""Write the mini set: `python -m respin_export.mini [--output FOLDER] [--only NAME] [--runs FOLDER]`.

Ten small networks of the published architectures, trained on rendered scenes by `respin train`, exported to ONNX by
the contracts and compared with the modules that they were made from.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.progress import Progress

from respin.contracts import NETWORKS
from respin.errors import RespinError
from respin_export.mini.networks import BUILDERS
from respin_export.mini.sizes import SIZES
from respin_export.mini.stored import store_in_half
from respin_export.mini.trained import KEPT, load_or_build
from respin_export.set_writer import SetWriter
from respin_export.to_onnx import OPSET, export_network
from respin_export.training.recipes import TRAINED
from respin_export.training.run_files import CURVE, WEIGHTS

EXAMPLES = """examples:
  python -m respin_export.mini                        the whole set from the committed weights
  python -m respin_export.mini --runs build/training --keep    from new runs of respin train, whose weights are kept
  python -m respin_export.mini --only edsr            one network, the other files and their records stay
  python -m respin_export.mini --output models/trial  somewhere else, to compare

A network without a run is exported with the weights from which training starts. It is recorded as not trained, and so
is one whose run has not reached its targets (`respin_export.mini.trained.TARGETS`): every command and answer says it.
A network whose ONNX file does not keep to its contract, or computes something else than its module, is refused and
leaves file and manifest as they were.
"""

KNOWS = "rendered scenes"
"""The data that the networks of this set were trained on."""


def export_mini(folder: Path, names: Sequence[str], runs: Path, progress: Progress) -> None:
    """Export networks of the mini set and record them in its manifest.

    Args:
        folder: folder of the set; `<network>/model.onnx` and `manifest.json` are written into it.
        names: names of the networks; the records of others are kept.
        runs: folder of the training runs.
        progress: shows one step for each network.

    Raises:
        ContractMismatch: a graph does not match its contract.
        ExportMismatch: a graph does not compute what its module computes.
    """
    task = progress.add_task("mini set", total=len(names))
    writer = SetWriter.open(folder, name="mini", precision="fp32", sizes=SIZES)
    for name in names:
        progress.update(task, description=name)
        module, training = load_or_build(name, runs)
        with writer.draft(name) as draft:
            parity = export_network(module, NETWORKS[name], SIZES, draft)
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


def keep_runs(runs: Path, kept: Path) -> None:
    """Copy weights and curves of the finished runs.

    Args:
        runs: folder of the runs.
        kept: destination folder.
    """
    for run in sorted({run for run, _ in TRAINED.values()}):
        for name in (WEIGHTS, CURVE):
            if (runs / run / name).is_file():
                (kept / run).mkdir(parents=True, exist_ok=True)
                shutil.copy2(runs / run / name, kept / run / name)


def main(arguments: list[str] | None = None) -> int:
    """Write the set, and return the exit status: 1 if the export of a network failed."""
    parser = argparse.ArgumentParser(
        prog="python -m respin_export.mini",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--output", type=Path, default=Path("models/mini"), help="folder (default: %(default)s)")
    parser.add_argument("--only", choices=BUILDERS, metavar="NAME", help=f"one of {', '.join(BUILDERS)}")
    parser.add_argument("--runs", type=Path, default=KEPT, help="folder of the training runs (default: %(default)s)")
    parser.add_argument("--keep", action="store_true", help=f"copy weights and curves of the runs to {KEPT}")
    options = parser.parse_args(arguments)
    if options.keep:
        keep_runs(options.runs, KEPT)
    with Progress() as progress:
        try:
            export_mini(options.output, [options.only] if options.only else list(BUILDERS), options.runs, progress)
        except RespinError as error:
            print(error, file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
