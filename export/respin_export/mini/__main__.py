"""Build the mini set: `python -m respin_export.mini [--output FOLDER] [--only NAME]`.

Ten tiny networks of the published architectures, with random weights, exported to ONNX by the contracts and proved
against the modules that they were made from. They answer nonsense in the right shapes.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.progress import Progress

from respin.contracts import NETWORKS
from respin.errors import RespinError
from respin_export.mini.networks import BUILDERS, SEED, SIZES, build
from respin_export.set_writer import SetWriter
from respin_export.to_onnx import OPSET, export_network

EXAMPLES = """examples:
  python -m respin_export.mini                        the whole set, some minutes; GroundingDINO takes most of them
  python -m respin_export.mini --only edsr            one network, the other files and their records stay
  python -m respin_export.mini --output models/trial  somewhere else, to compare

The sizes of the networks stand at the top of respin_export/mini/networks.py. A network whose ONNX file does not keep
to its contract, or computes something else than its module, is refused and leaves file and manifest as they were.
"""


def export_mini(folder: Path, names: Sequence[str], progress: Progress) -> None:
    """Export networks of the mini set and record them in its manifest.

    Args:
        folder: of the set; `<network>/model.onnx` and `manifest.json` are written into it.
        names: of the networks; the records of others are kept.
        progress: shows one step a network.

    Raises:
        ContractMismatch: a graph does not keep to its contract.
        ExportMismatch: a graph computes something else than its module.
    """
    task = progress.add_task("mini set", total=len(names))
    writer = SetWriter.open(folder, name="mini", precision="fp32", sizes=SIZES)
    for name in names:
        progress.update(task, description=name)
        with writer.draft(name) as draft:
            parity = export_network(build(name), NETWORKS[name], SIZES, draft)
            weights = f"random, seed {SEED}, untrained"
            writer.publish(name, draft, parity=parity, export={"opset": OPSET}, weights=weights)
        progress.advance(task)


def main(arguments: list[str] | None = None) -> int:
    """Build the set; 1 if a network was refused."""
    parser = argparse.ArgumentParser(
        prog="python -m respin_export.mini",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--output", type=Path, default=Path("models/mini"), help="folder (default: %(default)s)")
    parser.add_argument("--only", choices=BUILDERS, metavar="NAME", help=f"one of {', '.join(BUILDERS)}")
    options = parser.parse_args(arguments)
    with Progress() as progress:
        try:
            export_mini(options.output, [options.only] if options.only else list(BUILDERS), progress)
        except RespinError as error:
            print(error, file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
