"""`respin quality`.

The `respin` command imports this module for its `--help`, also where the bench extra is not installed: what measures is
imported when the command runs.
"""

from __future__ import annotations

from typing import Any

import typer

from respin.errors import InvalidInput
from respin_benchmarks.options import QualityOptions, command_from


def _run(given: QualityOptions) -> None:
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
    folder = session.set_folder(given.set_name)
    if given.broken_stages:
        typer.echo(broken.report(folder, page=given.page, device=given.device))
        return
    asked: dict[str, Any] = {"steps": given.steps, "background_steps": given.background_steps}
    options = {name: value for name, value in asked.items() if value is not None}
    flags = [f"--{name.replace('_', '-')} {value}" for name, value in options.items()] + ["--with-box"] * given.with_box
    measurement = session.QualityMeasurement(
        folder=folder,
        output=given.output,
        page=given.page,
        command=" ".join([f"respin quality --set {given.set_name} --scenes {given.scenes}", *flags]),
        scenes=given.scenes,
        with_box=given.with_box,
        url=given.url,
        device=given.device,
        options=options,
    )
    rows = measurement.earlier_rows() if given.report_only else measurement.measure()
    typer.echo(measurement.report(rows))
    if given.check and (missed := measures.missed_targets(rows)):
        typer.echo(f"{len(missed)} targets missed: {'; '.join(each.title for each in missed)}", err=True)
        raise typer.Exit(1)


quality = command_from(QualityOptions, _run)
