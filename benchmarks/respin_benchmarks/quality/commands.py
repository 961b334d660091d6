"""`respin quality`.

The `respin` command imports this module for its `--help`, also where the bench extra is not installed: what measures is
imported when the command runs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from respin.errors import InvalidInput


def quality(
    *,
    set_name: Annotated[
        str, typer.Option("--set", metavar="mini|FOLDER", help="The set of weights, by name or folder.")
    ] = "mini",
    scenes: Annotated[int, typer.Option(min=1, help="How many held-out scenes.")] = 200,
    output: Annotated[
        Path, typer.Option(help="Folder of quality_SET.csv; without --page, of the pictures too.")
    ] = Path("benchmarks/results"),
    page: Annotated[Path | None, typer.Option(help="Markdown file to update or create, e.g. docs/quality.md.")] = None,
    steps: Annotated[int | None, typer.Option(help="Of the novel view. Default: the request's.")] = None,
    background_steps: Annotated[int | None, typer.Option(help="Of the background. Default: the request's.")] = None,
    with_box: Annotated[
        bool, typer.Option("--with-box", help="Send each object's true box: judges a set without its detector.")
    ] = False,
    url: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT", envvar="RESPIN_URL", help="A running server of the same set. Default: embedded."
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda, of the stages that run in this process.")] = "cpu",
    check: Annotated[bool, typer.Option("--check", help="Exit with status 1 if a target is missed.")] = False,
    report_only: Annotated[
        bool, typer.Option("--report-only", help="Write the report again from the CSV file.")
    ] = False,
    broken_stages: Annotated[
        bool, typer.Option("--broken-stages", help="Measure deliberately broken stages instead, and print the table.")
    ] = False,
) -> None:
    """Measure the quality of a set's pictures on rendered scenes, beside baselines and targets.

    Every scene is sent to the served job, which finds the object by its name; single stages are measured in this
    process. Prints the report as Markdown; the CSV file has a row for each scene.

    For example:

        respin quality --set mini --scenes 200 --page docs/quality.md

        respin quality --set models/full-fp16 --device cuda --url 127.0.0.1:8001

        respin quality --broken-stages
    """
    try:
        from respin_benchmarks.quality import broken, measures, session  # noqa: PLC0415 (extras of their own)
    except ModuleNotFoundError as error:
        raise InvalidInput(f"there is no module '{error.name}'; pip install 'respin[serve,export,bench]'") from error
    folder = session.set_folder(set_name)
    if broken_stages:
        typer.echo(broken.report(folder, page=page, device=device))
        return
    asked: dict[str, Any] = {"steps": steps, "background_steps": background_steps}
    options = {name: value for name, value in asked.items() if value is not None}
    flags = [f"--{name.replace('_', '-')} {value}" for name, value in options.items()] + ["--with-box"] * with_box
    measurement = session.Measurement(
        folder=folder,
        output=output,
        page=page,
        command=" ".join([f"respin quality --set {set_name} --scenes {scenes}", *flags]),
        scenes=scenes,
        with_box=with_box,
        url=url,
        device=device,
        options=options,
    )
    rows = measurement.earlier_rows() if report_only else measurement.measure()
    typer.echo(measurement.report(rows))
    if check and (missed := measures.missed(rows)):
        typer.echo(f"{len(missed)} targets missed: {'; '.join(each.title for each in missed)}", err=True)
        raise typer.Exit(1)
