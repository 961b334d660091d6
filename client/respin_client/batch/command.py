"""The command `respin batch`."""

from __future__ import annotations

import inspect
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Annotated, Any, get_args

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from respin.errors import InvalidInput
from respin.request import OPTIONS
from respin_client.batch.jobs import assign_outputs, check_apart, collect_jobs
from respin_client.batch.manifest import NAME, Manifest, Record
from respin_client.batch.runner import BatchRunner, Event, PlannedJob, Waiting
from respin_client.client import DEFAULT_TIMEOUT_S
from respin_client.files import make_folder
from respin_client.flags import CONNECTION_FLAGS, client_from_flags, request_flags, with_flags
from respin_client.follow import print_notes

MAX_CONCURRENCY = 28
"""The server's job models take no more requests at once."""

INTERRUPTED = 130
"""The exit code of a shell's command that SIGINT ended."""

EXAMPLES = """\b
Examples:
  respin batch photos --class-name chair --azimuth 80 --output turned
  respin batch 'shop/**/*.jpg' --class-name chair --azimuth -40 --azimuth 40 --output turned
  respin batch photos.csv --steps 20 --sampler unipc_karras --output turned

\b
photos.csv, whose columns are fields of a request; image is the path of the photo, as seen from the list:
  image,class_name,box,azimuth
  chair.jpg,chair,,80
  sofa.jpg,sofa,12 40 310 290,-40 40

\b
Exit codes: 0 every photo is done; 1 some are not: the same command again does these alone; 2 a flag or a list is wrong
and nothing was sent; 130 interrupted.
"""


def _changed(parameter: inspect.Parameter, kind: Any, text: str, default: Any) -> inspect.Parameter:
    """A flag with another type, help and default."""
    _, flag = get_args(parameter.annotation)
    names = [] if flag.param_decls is None else list(flag.param_decls)
    other = typer.Option(*names, metavar=flag.metavar, help=text)
    return parameter.replace(annotation=Annotated[kind, other], default=default)


def _batch_flags() -> list[inspect.Parameter]:
    flags = {each.name: each for each in (*request_flags([n for n in OPTIONS if n != "image"]), *CONNECTION_FLAGS)}
    name, deadline = flags["class_name"], flags["timeout_s"]
    meaning = OPTIONS["class_name"].meaning
    flags["class_name"] = _changed(name, str | None, f"{meaning[:1].upper()}{meaning[1:]}, unless a list has it", None)
    flags["timeout_s"] = _changed(deadline, float, "Deadline of each photo", DEFAULT_TIMEOUT_S)
    return list(flags.values())


@with_flags(_batch_flags())
def batch(
    *,
    photos: Annotated[
        list[str],
        typer.Argument(
            metavar="PHOTOS...",
            help="Files, folders with all that is below, patterns in quotes, and lists (.csv, .jsonl)",
        ),
    ],
    output: Annotated[Path, typer.Option(metavar="FOLDER", help=f"For the pictures, and {NAME}")],
    concurrency: Annotated[
        int, typer.Option(metavar="INTEGER", help=f"Requests in flight at once (1 to {MAX_CONCURRENCY})")
    ] = 4,
    wait_s: Annotated[
        float, typer.Option(metavar="SECONDS", help="How long to wait for a server that is unreachable or full")
    ] = 300.0,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bar, and no line for each picture")] = False,
    **flags: Any,
) -> None:
    """Turn the objects of many photos.

    Each photo is a job of its own, whose failure stops no other. How each ended is a line of FOLDER/manifest.jsonl. Run
    the same command again to do what is missing: photos that failed, changed, or have no picture in FOLDER.
    """
    if not 1 <= concurrency <= MAX_CONCURRENCY:
        raise InvalidInput(f"concurrency is {concurrency}; send 1 to {MAX_CONCURRENCY}")
    if not wait_s >= 0:
        raise InvalidInput(f"wait_s is {wait_s}; send a number of seconds, 0 or more")
    given = {name: flags[name] for name in OPTIONS if flags.get(name) not in (None, [])}
    jobs = collect_jobs(photos, given, output)
    make_folder(output)
    # The runner itself asks again: for longer, and it can be stopped meanwhile.
    with client_from_flags(flags, retries=0) as client, Manifest(output) as manifest:
        outputs = assign_outputs(jobs, {key: record.outputs for key, record in manifest.done.items()})
        check_apart(jobs, outputs, output)
        runner = BatchRunner(client, manifest, concurrency=concurrency, wait_s=wait_s)
        notes: Counter[str] = Counter()
        planned = list(zip(jobs, outputs, strict=True))
        interrupted = not _follow(runner, planned, notes, wait_s=wait_s, quiet=quiet)
    # A note of one photo is in the manifest; one of all is about the server's set.
    print_notes([note for note, times in notes.items() if times == runner.counts["done"]])
    _summarize(runner, len(jobs), output, interrupted=interrupted)


def _follow(
    runner: BatchRunner, jobs: Sequence[PlannedJob], notes: Counter[str], *, wait_s: float, quiet: bool
) -> bool:
    """Run the jobs, print what becomes of them and count their notes; return whether that came to its end."""
    columns = (TextColumn("photos"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    hidden = quiet or not console.is_terminal
    try:
        with (
            Progress(
                *columns, console=console, redirect_stdout=False, redirect_stderr=False, disable=hidden
            ) as progress,
            closing(runner.run(jobs)) as events,
        ):
            task = progress.add_task("photos", total=len(jobs))
            for event in events:
                _tell(event, runner.folder, partial(_print_above, progress), wait_s=wait_s, quiet=quiet)
                if isinstance(event, Record) and event.status == "done":
                    notes.update(dict.fromkeys(event.notes, 1))
                progress.update(task, completed=runner.counts.total())
    except KeyboardInterrupt:
        return False
    return True


def _print_above(progress: Progress, line: str, *, err: bool = False) -> None:
    """Print a line; above the bar if there is one on the same terminal."""
    if progress.disable or not (err or sys.stdout.isatty()):
        typer.echo(line, err=err)
    else:
        progress.console.print(line, markup=False, highlight=False, soft_wrap=True)


def _tell(event: Event, folder: Path, print_line: Callable[..., None], *, wait_s: float, quiet: bool) -> None:
    if isinstance(event, Waiting):
        print_line(f"waiting up to {wait_s:g} s for the server: {event.error}", err=True)
    elif isinstance(event, Record) and event.status == "failed":
        print_line(_printable(f"failed {event.photo}: {event.error}"), err=True)
    elif isinstance(event, Record) and not quiet:
        for each in event.outputs:
            print_line(_printable(f"wrote {folder / each}"))


def _printable(text: str) -> str:
    """Replace what a file name has that is not UTF-8."""
    return text.encode(errors="surrogateescape").decode(errors="replace")


def _summarize(runner: BatchRunner, photos: int, folder: Path, *, interrupted: bool) -> None:
    """Print what the run came to, and exit with its code.

    Raises:
        typer.Exit: unless every photo is done.
    """
    counts = runner.counts
    words = {"done": "done", "kept": "done before", "failed": "failed"}
    parts = [f"{counts[kind]} {word}" for kind, word in words.items() if counts[kind]]
    left = photos - counts.total()
    if left:
        parts.append(f"{left} left")
    typer.echo(f"{photos} photo{'s' if photos != 1 else ''}: {', '.join(parts)}; see {folder / NAME}")
    if runner.gave_up is not None:
        typer.echo(f"respin: stopped waiting for the server: {runner.gave_up}", err=True)
    if interrupted or left or counts["failed"]:
        typer.echo("the same command again does what is missing", err=True)
        raise typer.Exit(INTERRUPTED if interrupted else 1)
