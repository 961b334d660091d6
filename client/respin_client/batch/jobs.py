"""The jobs of a batch: from what the command line names to requests, and the files that each will write."""

from __future__ import annotations

import glob
import json
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from respin.errors import InvalidInput
from respin.request import DEFAULTS, OPTIONS, RotationRequest
from respin_client.batch.rows import LISTS, Row, read_list
from respin_client.files import FORMATS, SUFFIXES
from respin_client.photos import request_from_photo

Key = tuple[str, str]
"""What makes two jobs the same: the photo's path, and the request as JSON."""

# The photo of a request is read when its turn comes: a batch may be larger than memory.
_UNREAD = b"unread"


@dataclass(frozen=True)
class BatchJob:
    """One photo and what to do with it.

    Args:
        photo: absolute path.
        request: everything but the photo's content.
        wanted_name: path of the outputs within the batch's folder, without suffix, unless another job has it.
    """

    photo: Path
    request: RotationRequest
    wanted_name: Path

    @property
    def options(self) -> dict[str, Any]:
        """The fields of the request that differ from their defaults, without the photo, as JSON has them."""
        values = {name: getattr(self.request, name) for name in OPTIONS if name != "image"}
        given = {name: value for name, value in values.items() if value != DEFAULTS[name]}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in given.items()}

    @property
    def key(self) -> Key:
        """What makes two jobs the same."""
        return job_key(str(self.photo), self.options)

    def outputs(self, name: Path) -> tuple[str, ...]:
        """The files of the job under a name, relative to the batch's folder: NAME, or NAME-0, NAME-1, ..."""
        suffix = SUFFIXES[self.request.output_format]
        views = self.request.views
        ends = [f"-{view}{suffix}" for view in range(views)] if views > 1 else [suffix]
        return tuple(f"{name.as_posix()}{end}" for end in ends)


def job_key(photo: str, options: Mapping[str, Any]) -> Key:
    """The key of a job, from its photo's absolute path and its options."""
    return photo, json.dumps(options, sort_keys=True)


def collect_jobs(arguments: Sequence[str], flags: Mapping[str, Any], folder: Path) -> list[BatchJob]:
    """Make the jobs that a command line asks for; a job that is named twice is made once.

    Args:
        arguments: photos, folders, patterns, and lists by their suffix.
        flags: fields of the request that hold for every photo whose row has no other.
        folder: folder of the outputs; photos within it are taken only if they are named one by one.

    Raises:
        InvalidInput: an argument names no photo, or a request cannot be made as it stands.
    """
    jobs: dict[Key, BatchJob] = {}
    for argument in arguments:
        for job in _jobs_of(argument, flags, folder):
            jobs.setdefault(job.key, job)
    return list(jobs.values())


def _jobs_of(argument: str, flags: Mapping[str, Any], folder: Path) -> Iterator[BatchJob]:
    path = Path(argument)
    if path.suffix.lower() in LISTS and not path.is_dir():
        for row in read_list(path):
            yield _job(row, path.parent, flags)
        return
    base, photos = _photos(argument, folder.resolve())
    for photo in photos:
        yield _job(Row(argument, {"image": str(photo.relative_to(base))}), base, flags)


def _job(row: Row, base: Path, flags: Mapping[str, Any]) -> BatchJob:
    """Make a job of a row whose photo's path is relative to `base`."""
    fields = {**flags, **row.fields}
    written = Path(fields.pop("image"))
    if "class_name" not in fields:
        raise InvalidInput(f"{row.where} has no class_name; give --class-name, or a list with that column")
    try:
        request = request_from_photo(_UNREAD, **fields)
    except InvalidInput as error:
        raise InvalidInput(f"{row.where}: {error}") from None
    inside = not written.is_absolute() and ".." not in written.parts
    return BatchJob((base / written).resolve(), request, (written if inside else Path(written.name)).with_suffix(""))


def _photos(argument: str, output: Path) -> tuple[Path, list[Path]]:
    """The photos that an argument names, and the folder below which their outputs keep their own folders."""
    path = Path(argument)
    if path.is_file():
        return path.parent, [path]
    if path.is_dir():
        base, found = path, sorted(_photos_below(path))
    elif glob.has_magic(argument):
        fixed = [part for part in path.parts[: _first_magic(path.parts)]]
        base, found = Path(*fixed), sorted(map(Path, glob.glob(argument, recursive=True)))
    else:
        raise InvalidInput(f"there is no '{argument}'; name photos, folders of photos, or a list (.csv, .jsonl)")
    photos = [each for each in found if _is_photo(each) and output not in each.resolve().parents]
    if not photos:
        raise InvalidInput(
            f"'{argument}' has no photo ({', '.join(FORMATS)}) outside of the output folder; name other photos"
        )
    return base, photos


def _first_magic(parts: Sequence[str]) -> int:
    return next(index for index, part in enumerate(parts) if glob.has_magic(part))


def _photos_below(folder: Path) -> Iterator[Path]:
    for above, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(above, name) for name in files if not name.startswith("."))


def _is_photo(path: Path) -> bool:
    return path.suffix.lower() in FORMATS and path.is_file()


def assign_outputs(jobs: Sequence[BatchJob], recorded: Mapping[Key, Sequence[str]]) -> list[tuple[str, ...]]:
    """Name the files of every job such that no two jobs share one.

    A job that is recorded keeps its files. Another takes its photo's name, or, where that is taken, NAME_2, NAME_3, ...

    Args:
        jobs: jobs of this run.
        recorded: files of the jobs that earlier runs finished, by the jobs' keys.

    Returns:
        Paths relative to the batch's folder, for each job.
    """
    # Some file systems do not tell A from a.
    taken = {file.casefold() for files in recorded.values() for file in files}
    named = []
    for job in jobs:
        files = tuple(recorded.get(job.key, ())) or _free_outputs(job, taken)
        taken.update(file.casefold() for file in files)
        named.append(files)
    return named


def _free_outputs(job: BatchJob, taken: Collection[str]) -> tuple[str, ...]:
    for number in count(1):
        name = job.wanted_name if number == 1 else Path(f"{job.wanted_name}_{number}")
        files = job.outputs(name)
        if not any(file.casefold() in taken for file in files):
            return files
    raise AssertionError


def check_apart(jobs: Sequence[BatchJob], outputs: Sequence[Sequence[str]], folder: Path) -> None:
    """Refuse outputs that would replace a photo of the batch.

    Raises:
        InvalidInput: an output is a photo.
    """
    photos = {job.photo for job in jobs}
    for files in outputs:
        for file in files:
            if (folder / file).resolve() in photos:
                raise InvalidInput(f"'{folder / file}' is one of the photos; give another folder to --output")
