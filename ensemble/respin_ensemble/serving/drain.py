"""Let the jobs finish before the server stops, when the launcher asks for it (`respin.drain`)."""

from __future__ import annotations

import os
from pathlib import Path

from respin.drain import DRAIN_FILE_VARIABLE


class Drain:
    """The launcher's request that the engine takes no more jobs, and the answer that none is left.

    Args:
        file: the file that the launcher creates; None = that of the environment variable.
    """

    def __init__(self, file: Path | None = None) -> None:
        given = os.environ.get(DRAIN_FILE_VARIABLE)
        self._file = Path(given) if file is None and given else file
        self.requested = False

    def poll(self, *, jobs: int) -> None:
        """Notice the request; once it was made and no job is left, answer it.

        Args:
            jobs: jobs in progress.
        """
        if self._file is None:
            return
        self.requested = self.requested or self._file.exists()
        if self.requested and not jobs:
            self._file.unlink(missing_ok=True)
