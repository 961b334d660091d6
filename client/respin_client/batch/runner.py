"""Work through a batch: several requests at once, and a record of every job that ends."""

from __future__ import annotations

import hashlib
import os
import queue
import threading
import time
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from respin.errors import Busy, InternalError, InvalidInput, RespinError
from respin_client.batch.jobs import BatchJob
from respin_client.batch.manifest import Manifest, Record
from respin_client.batch.retrying_client import RetryingClient, RunStopped
from respin_client.client import Client
from respin_client.results import EncodedImage

PlannedJob = tuple[BatchJob, Sequence[str]]
"""A job and its output files, relative to the manifest's folder."""


@dataclass(frozen=True)
class Kept:
    """A job that an earlier run did."""


@dataclass(frozen=True)
class Waiting:
    """The server is unreachable or full, and jobs wait for it."""

    error: Busy


Event = Record | Kept | Waiting
"""What a run reports: a job that ended, now or in an earlier run, or that it waits for the server."""


class BatchRunner:
    """Runs jobs in several threads; the thread that ran a job records it.

    Args:
        client: client of the server; `run` closes it.
        manifest: records of earlier runs, to which this run adds its own.
        concurrency: requests in flight at once.
        wait_s: how long to ask a server again that is unreachable or full, in seconds.

    Attributes:
        folder: folder of the outputs.
        counts: how many jobs are "done", "failed" and "kept": done by an earlier run.
    """

    def __init__(self, client: Client, manifest: Manifest, *, concurrency: int, wait_s: float) -> None:
        self._manifest = manifest
        self.folder = manifest.path.parent
        self.counts: Counter[str] = Counter()
        self._counting = threading.Lock()
        self._concurrency = concurrency
        self._events: queue.SimpleQueue[Event | BaseException | None] = queue.SimpleQueue()
        self._client = RetryingClient(client, wait_s=wait_s, on_wait=lambda error: self._events.put(Waiting(error)))

    @property
    def gave_up(self) -> Busy | None:
        """The server's last answer, if the run ended because it was unreachable or full for too long."""
        return self._client.gave_up

    def run(self, jobs: Sequence[PlannedJob]) -> Generator[Event, None, None]:
        """Run jobs, and yield what becomes of each as it ends. Closing the generator cancels those under way.

        Raises:
            InvalidInput: the manifest cannot be written.
        """
        # Threads may share it: next() of a list's iterator is atomic.
        remaining = iter(list(jobs))
        threads = [threading.Thread(target=self._work, args=(remaining,)) for _ in range(self._concurrency)]
        try:
            for thread in threads:
                thread.start()
            running = len(threads)
            while running:
                event = self._events.get()
                if event is None:
                    running -= 1
                elif isinstance(event, BaseException):
                    raise event
                else:
                    yield event
        finally:
            self._client.stop()
            for thread in threads:
                if thread.ident is not None:
                    thread.join()

    def _work(self, remaining: Iterator[PlannedJob]) -> None:
        try:
            for job, outputs in remaining:
                self._client.check()
                event = self._done(job, outputs)
                with self._counting:
                    self.counts["kept" if isinstance(event, Kept) else event.status] += 1
                self._events.put(event)
        except RunStopped:
            pass
        except BaseException as error:  # a full disk or a bug of ours ends the run, in the thread that reads the events
            self._events.put(error)
        finally:
            self._events.put(None)

    def _done(self, job: BatchJob, outputs: Sequence[str]) -> Record | Kept:
        """Run one job to its end, and record it."""
        began_s = time.monotonic()
        record = Record(str(job.photo), job.options, "failed")
        try:
            photo = _content(job.photo)
            record = replace(record, sha256=hashlib.sha256(photo).hexdigest())
            if self._manifest.holds(job.key, record.sha256, outputs):
                return Kept()
            result = self._client.rotate_object(replace(job.request, image=photo))
            self._write(outputs, result.image)
            record = replace(record, status="done", outputs=tuple(outputs), notes=result.notes)
        except RespinError as error:
            record = replace(record, code=error.grpc_code, error=str(error))
        record = replace(record, seconds=round(time.monotonic() - began_s, 3))
        self._manifest.add(record)
        return record

    def _write(self, outputs: Sequence[str], pictures: Sequence[EncodedImage]) -> None:
        if len(pictures) != len(outputs):
            raise InternalError(f"the server sent {len(pictures)} of {len(outputs)} views; its log has the reason")
        for output, picture in zip(outputs, pictures, strict=True):
            path = self.folder / output
            unfinished = path.with_name(f".{path.name}.part")
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                unfinished.write_bytes(picture)
                os.replace(unfinished, path)
            except OSError as error:
                raise InvalidInput(f"cannot write '{path}' ({error.strerror}); make room for it") from None


def _content(photo: Path) -> bytes:
    try:
        return photo.read_bytes()
    except OSError as error:
        raise InvalidInput(f"cannot read the photo '{photo}' ({error.strerror}); give the path of a picture") from None
