"""`respin weights`: list, fetch, verify and synthesize the published checkpoints.

The `respin` command imports this module for its `--help`, also without the export extra: modules of the extra are
imported inside the functions.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer

from respin.errors import ContractMismatch, InvalidInput
from respin_export.checks import check_installed
from respin_export.errors import MissingWeights
from respin_export.progress import bars
from respin_export.weights.catalogue import CATALOGUE, SHA256_DIGITS, Chosen, Variant, WeightFile, choose
from respin_export.weights.verify import SYNTHESIZED, findings

_ALL_NAMES = ", ".join(CATALOGUE)

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help=(
        "The published checkpoints that the full set is exported from: list them, fetch them, verify them, or write "
        f"random ones in the same layouts. Five are needed: {_ALL_NAMES}; about 22 GB, 15.5 of them Zero123's."
    ),
    epilog="""\b
Examples:
  respin weights list                                    files, publishers and licences
  respin weights fetch                                   all five, into weights/
  respin weights fetch sam inpaint:fp16                  these two, the second in float16
  respin weights fetch --from /media/disk                from a folder, without a network
  respin weights verify                                  compare the files with what is published
  respin weights synthesize --output trial --size mini   random weights in the same layouts, some 400 MB
""",
)

NamesArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="NAME[:VARIANT]", help=f"Checkpoints: {_ALL_NAMES}. Default: all, each in its first variant."
    ),
]
WeightsOption = Annotated[Path, typer.Option(help="The weights folder, with a sub-folder for each checkpoint.")]


@app.command("list")
def list_checkpoints() -> None:
    """List the checkpoints with their variants, addresses, sizes, licences and checksums.

    The other commands take the first variant unless another is named. Sizes and checksums that are not published are
    marked as unknown.
    """
    for checkpoint in CATALOGUE.values():
        typer.echo(f"{checkpoint.name}: {checkpoint.project}\n  licence: {checkpoint.licence}")
        for variant in checkpoint.variants:
            typer.echo(f"  {checkpoint.name}:{variant.name}  {variant.summary}")
            typer.echo(f"    from {_source_text(variant)}\n    {variant.quoted_from}")
            for file in variant.files:
                if file.is_weights:
                    typer.echo(f"    {file.path}: {_size_text(file)}; {_checksum_text(variant, file)}")


def _source_text(variant: Variant) -> str:
    if variant.repository is None:
        return ", ".join(variant.url(file) for file in variant.files)
    return f"the Hugging Face repository {variant.repository}, revision {variant.revision}"


def _size_text(file: WeightFile) -> str:
    if file.size_bytes is None:
        return "size unknown"
    return f"{file.size_bytes} bytes" if file.size_is_exact else f"about {file.size_bytes / 1e6:.0f} MB"


def _checksum_text(variant: Variant, file: WeightFile) -> str:
    if file.sha256 is None:
        on_hub = "; the Hub states it" if variant.repository else ""
        return f"SHA-256 not known here{on_hub}"
    whole = len(file.sha256) == SHA256_DIGITS
    return f"SHA-256 {file.sha256}" if whole else f"SHA-256 begins {file.sha256} (no more is published)"


@app.command()
def fetch(
    names: NamesArgument = None,
    *,
    weights: WeightsOption = Path("weights"),
    mirror: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Take URL/<checkpoint>/<file> instead: a weights folder served over HTTP."),
    ] = None,
    source: Annotated[
        Path | None,
        typer.Option("--from", metavar="DIR", help="Take DIR/<checkpoint>/<file> or DIR/<file>; no network is used."),
    ] = None,
    tries: Annotated[int, typer.Option(min=1, help="Tries in a row without progress before giving up on a file.")] = 6,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bars.")] = False,
) -> None:
    """Fetch checkpoints into the weights folder, and compare each with its published size and SHA-256.

    Files that are there already are compared and left alone. A file gets its name once it is complete and checked.
    Free space on the disk is checked first. A broken connection is resumed; so is an interrupted command, except for
    the files of Hugging Face repositories, of which it downloads the unfinished one again.

    HF_ENDPOINT names a mirror of the Hugging Face Hub; HF_TOKEN is sent to the Hub's host, and to no other.
    """
    check_installed("`respin weights fetch`", "httpx2", "huggingface_hub")
    # These need the export extra.
    from respin_export.weights.download import RetryPolicy  # noqa: PLC0415
    from respin_export.weights.fetch import DownloadSource, Fetcher  # noqa: PLC0415

    origin = DownloadSource.from_environment(mirror, source)
    with bars(disable=quiet) as progress:
        for sentence in Fetcher(weights, origin, progress, RetryPolicy(tries=tries)).fetch(_chosen(names)):
            typer.echo(sentence)


@app.command()
def verify(weights: WeightsOption = Path("weights")) -> None:
    """Compare the weights folder with the catalogue, file by file.

    "ok": the SHA-256 agrees with the published one. "unproved": nothing disagrees, but no SHA-256 is published.
    "wrong" and "missing" say what to do. The exit status is 2 if a file is wrong, else 1 if one is missing, else 0.
    """
    if (weights / SYNTHESIZED).is_file():
        raise InvalidInput(
            f"'{weights}' was written by `respin weights synthesize`; name a folder of published weights"
        )
    verdicts = []
    for finding in findings(weights):
        verdicts.append(finding.verdict)
        typer.echo(f"{finding.verdict:8}  {finding.path}: {finding.reason}")
    if wrong := verdicts.count("wrong"):
        raise ContractMismatch(
            f"{wrong} file(s) in '{weights}' are not the published ones; remove and fetch them again"
        )
    if missing := verdicts.count("missing"):
        raise MissingWeights(f"{missing} file(s) are missing in '{weights}'; fetch them with `respin weights fetch`")


@app.command()
def synthesize(
    names: NamesArgument = None,
    *,
    output: Annotated[Path, typer.Option(help="Weights folder to write; earlier files of this command are replaced.")],
    size: Annotated[
        Literal["mini", "full"],
        typer.Option(help="mini: small widths, some 400 MB; full: the published shapes, 15 GB."),
    ] = "mini",
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same weights.")] = 0,
    optimizer_state: Annotated[
        bool,
        typer.Option(
            "--optimizer-state",
            help="Write Zero123's optimizer state as in the published file: 7 GB more at full size.",
        ),
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bars.")] = False,
) -> None:
    """Write random weights in the layouts of the published files, for tests and benchmarks.

    The outputs of such networks mean nothing. Their shapes and speed are those of the published weights (full), or of
    smaller networks with the contracts' inputs and outputs (mini; sizes.json has its image sizes). Memory stays under
    3 GB at any size.
    """
    check_installed("`respin weights synthesize`", "torch", "safetensors")
    # This needs the export extra.
    from respin_export.weights.synthesize import Synthesizer  # noqa: PLC0415

    with bars(disable=quiet) as progress:
        written = Synthesizer(output, size, seed, progress, optimizer_state).write(_chosen(names))
    for path in written:
        typer.echo(f"{path}: {path.stat().st_size / 1e6:.1f} MB")


def _chosen(names: Sequence[str] | None) -> list[Chosen]:
    return [choose(name) for name in names or CATALOGUE]
