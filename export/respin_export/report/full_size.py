"""Report what exports and engine plans of all networks took, from the manifests of their sets.

`make parity-full` makes the sets at the published sizes, by `respin weights synthesize --size full`, `respin export` in
FP32 and in FP16, and `respin engines`; these commands go on where earlier ones stopped.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Mapping
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

from respin.contracts import NETWORKS
from respin.errors import ContractMismatch
from respin.model_set import ModelSet
from respin.report.circumstances import core_count, cpu_name, versions_text
from respin.report.markdown import check_section, write_section
from respin.report.rows import write_rows
from respin_export.report.page import full_size_text
from respin_export.report.rows import LIMIT_MIB, STEPS, Cost

PACKAGES = ("torch", "transformers", "diffusers", "onnx", "onnxscript", "onnxruntime", "tensorrt-rtx-cu13")

SECTION = "full size"


def costs_of(work: Path) -> list[Cost]:
    """Return a row for each network and step, in the contracts' order.

    Args:
        work: folder with a set for each of `STEPS`, under its name.

    Raises:
        ContractMismatch: a set is missing, or lacks a network.
    """
    sets = {step: ModelSet.load(work / step) for step in STEPS}
    for step, made in sets.items():
        if lacking := [network for network in NETWORKS if network not in made.networks]:
            raise ContractMismatch(f"the set '{work / step}' lacks {', '.join(lacking)}; make it again")
    return [_cost(work / step, sets[step], network, step) for network in NETWORKS for step in STEPS]


def _cost(folder: Path, made: ModelSet, network: str, step: str) -> Cost:
    files = made.files(folder, NETWORKS[network])
    row = partial(
        Cost,
        network=network,
        step=step,
        file_mib=round(sum(file.stat().st_size for file in files) / 2**20, 1),
        date=date.fromtimestamp(files[0].stat().st_mtime).isoformat(),
        cpu=cpu_name(),
        cores=core_count(),
        versions=versions_text(PACKAGES),
    )
    if step == "engine":
        engine: Mapping[str, Any] = made.origin["engines"][network]
        scratch = math.nan if engine["scratch_bytes"] is None else round(engine["scratch_bytes"] / 2**20, 1)
        peak_rss_mib = engine["peak_rss_bytes"] // 2**20
        return row(wall_s=engine["build_s"], peak_rss_mib=peak_rss_mib, errors="", scratch_mib=scratch)
    took, errors = made.origin["export"][network], made.origin["parity"][network]
    text = "; ".join(f"{output} {error:.1e}" for output, error in errors.items())
    return row(wall_s=took["wall_s"], peak_rss_mib=took["peak_rss_mib"], errors=text, scratch_mib=math.nan)


def main() -> None:
    """Write the rows and their section of the page; exit with status 1 if a step took more than `LIMIT_MIB`."""
    parser = argparse.ArgumentParser(prog="python -m respin_export.report.full_size", description=__doc__)
    parser.add_argument("work", type=Path, help=f"folder of the sets {', '.join(STEPS)}")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/parity_full.csv"))
    parser.add_argument("--page", type=Path, default=Path("docs/parity.md"), help="its section is written again")
    options = parser.parse_args()
    check_section(options.page, SECTION)
    costs = costs_of(options.work)
    write_rows(options.output, Cost, costs)
    write_section(options.page, SECTION, full_size_text(costs))
    if large := [cost for cost in costs if cost.peak_rss_mib > LIMIT_MIB]:
        sys.exit(
            f"{large[0].network} {large[0].step} took {large[0].peak_rss_mib} MiB of memory, more than {LIMIT_MIB}"
        )


if __name__ == "__main__":
    main()
