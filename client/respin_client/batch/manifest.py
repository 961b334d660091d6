"""What a batch has done so far: a file of JSON Lines beside its pictures."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from respin.errors import InvalidInput
from respin_client.batch.jobs import Key, job_key

NAME = "manifest.jsonl"


@dataclass(frozen=True)
class Record:
    """One line of a manifest: how a job ended.

    Args:
        photo: absolute path.
        request: the fields of the request that differ from their defaults.
        status: "done" or "failed".
        sha256: SHA-256 of the photo's content; None = it could not be read.
        outputs: files, relative to the manifest's folder; none of a failed job.
        seconds: duration of the job, waits included.
        code: gRPC's name of the error; None = no error.
        error: the sentence; None = no error.
        notes: what the server has to say about its choices.
    """

    photo: str
    request: Mapping[str, Any]
    status: Literal["done", "failed"]
    sha256: str | None = None
    outputs: Sequence[str] = ()
    seconds: float = 0.0
    code: str | None = None
    error: str | None = None
    notes: Sequence[str] = ()

    @property
    def key(self) -> Key:
        """The key of the record's job."""
        return job_key(self.photo, self.request)


class Manifest:
    """The records of a folder, read from its manifest and added to it, one line a job; several threads may add.

    A last line that was cut short, e.g. by a power failure, is removed: its job counts as not done.

    Args:
        folder: folder of the batch's outputs; it exists.

    Attributes:
        done: records of the jobs that are done, by the jobs' keys.

    Raises:
        InvalidInput: the manifest cannot be read or written, or has a line that is no record.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / NAME
        self._lock = threading.Lock()
        with ExitStack() as on_failure:
            try:
                # Unbuffered: a line is one write, which no signal can cut.
                self._file = on_failure.enter_context(self.path.open("a+b", buffering=0))
                self.done = self._read()
            except OSError as error:
                sentence = f"cannot use '{self.path}' ({error.strerror}); give another folder to --output"
                raise InvalidInput(sentence) from None
            on_failure.pop_all()

    def __enter__(self) -> Manifest:
        """Return the manifest, which is open already."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file."""
        self._file.close()

    def holds(self, key: Key, sha256: str | None, outputs: Sequence[str]) -> bool:
        """Whether a job is done: recorded with the same photo, and its files are still there."""
        record = self.done.get(key)
        if record is None or record.sha256 != sha256 or list(record.outputs) != list(outputs):
            return False
        return all((self.path.parent / file).is_file() for file in outputs)

    def add(self, record: Record) -> None:
        """Append a record, and see it onto the disk.

        Raises:
            InvalidInput: it cannot be written.
        """
        # A file name need not be UTF-8, and Python's `json` reads what this error handler writes.
        line = f"{json.dumps(asdict(record), ensure_ascii=False)}\n".encode(errors="surrogatepass")
        with self._lock:
            try:
                self._file.write(line)
                os.fsync(self._file.fileno())
            except OSError as error:
                raise InvalidInput(
                    f"cannot write '{self.path}' ({error.strerror}); make room, and run it again"
                ) from None

    def _read(self) -> dict[Key, Record]:
        self._file.seek(0)
        content = self._file.read()
        whole = content[: content.rfind(b"\n") + 1]
        if len(whole) < len(content):
            self._file.truncate(len(whole))
        done = {}
        for number, line in enumerate(whole.splitlines(), 1):
            record = self._record(number, line)
            if record.status == "done":
                done[record.key] = record
            else:
                done.pop(record.key, None)
        return done

    def _record(self, number: int, line: bytes) -> Record:
        try:
            return Record(**json.loads(line))
        except (ValueError, TypeError) as error:
            raise InvalidInput(
                f"'{self.path}' line {number} is no record of a batch ({error}); remove the line, or give another "
                "folder to --output"
            ) from None
