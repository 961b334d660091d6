"""Measure the ten networks and whole jobs in this process, without a server, and write the page again.

On a GPU: full-size networks with seeded random weights in FP16, since speed and memory do not depend on the values. On
a CPU: the mini set in FP32, so that the same path is walked. Rows are kept as they come: run the same command again
after an interruption, or when --budget-s is over.
"""

from __future__ import annotations

import argparse
import sys
from contextlib import suppress
from pathlib import Path

import torch

from respin.contracts import NETWORKS
from respin.errors import InvalidInput, RespinError
from respin.report.markdown import check_section
from respin_benchmarks.circumstances import noted
from respin_benchmarks.counts import count
from respin_benchmarks.in_process.report import jobs_file, networks_file, section_name, text_of, write_report
from respin_benchmarks.in_process.runtimes import RUNTIMES, default_runtimes
from respin_benchmarks.in_process.session import Session
from respin_benchmarks.served.report import LOAD
from respin_benchmarks.served.report import write_report as write_served


def parser() -> argparse.ArgumentParser:
    """The command's options."""
    made = argparse.ArgumentParser(
        prog="python -m respin_benchmarks.in_process",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--device", choices=("cpu", "cuda"), default="cuda" if torch.cuda.is_available() else "cpu")
    made.add_argument("--weights", choices=("set", "mini", "full"), help="default: full on a GPU, set on a CPU")
    made.add_argument("--precision", choices=("fp32", "fp16"), help="default: fp16 on a GPU, fp32 on a CPU")
    made.add_argument("--runtimes", nargs="+", choices=RUNTIMES, metavar="NAME", help=f"of {', '.join(RUNTIMES)}")
    made.add_argument(
        "--measure",
        nargs="*",
        choices=("networks", "cold", "jobs"),
        default=["networks", "cold", "jobs"],
        help="what to measure; nothing: the page is written from the files (default: all)",
    )
    made.add_argument(
        "--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS), metavar="NAME", help="of single ones, these"
    )
    made.add_argument("--calls", type=count, default=30, help="timed, of each network (default: %(default)s)")
    made.add_argument("--repeats", type=count, default=5, help="of every job, interleaved (default: %(default)s)")
    made.add_argument("--steps", type=int, default=75, help="of Zero123 (default: %(default)s)")
    made.add_argument("--background-steps", type=int, default=50, help="of the inpainting (default: %(default)s)")
    made.add_argument("--few-steps", type=int, default=20, help="of both, with UniPC (default: %(default)s)")
    made.add_argument("--cold-starts", type=int, default=3, help="of the baseline (default: %(default)s)")
    made.add_argument("--views", type=count, default=12, help="of a job with many (default: %(default)s)")
    made.add_argument("--most-jobs", type=count, default=8, help="at the same time (default: %(default)s)")
    made.add_argument("--largest-batch", type=count, default=8, help="of single networks (default: %(default)s)")
    made.add_argument("--budget-s", type=float, default=float("inf"), help="after which nothing new begins")
    made.add_argument("--work", type=Path, default=Path("build/in-process"), help="for weights and graphs")
    made.add_argument("--results", type=Path, default=Path("benchmarks/results"), help="folder of the CSV files")
    made.add_argument("--page", type=Path, help="its section on the device is written again, e.g. docs/benchmarks.md")
    return made


def main(arguments: list[str] | None = None) -> int:
    """Measure; 1 if something could not be."""
    options = parser().parse_args(arguments)
    on_gpu = options.device == "cuda"
    options.weights = options.weights or ("full" if on_gpu else "set")
    options.precision = options.precision or ("fp16" if on_gpu else "fp32")
    # Full size on a CPU has a section of its own: nobody serves it so.
    options.label = "cpu_full" if (options.device, options.weights) == ("cpu", "full") else options.device
    try:
        options.runtimes = options.runtimes or default_runtimes(options.device)
        if options.page:
            check_section(options.page, section_name(options.label))
        if options.measure:
            files = [files_of(options.results, options.label) for files_of in (jobs_file, networks_file)]
            session = Session(options)
            # Rows of earlier runs stay: a run that was ended goes on.
            with noted(section_name(options.label), files, anew=False):
                session.run()
            print(text_of(options.results, options.label))
        if options.page:
            write_report(options.results, options.label, options.page)
            if (options.results / LOAD).is_file():  # what is said of the server quotes the script's memory
                with suppress(InvalidInput):  # somebody's own page may lack that section
                    write_served(options.results, options.page)
    except RespinError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
