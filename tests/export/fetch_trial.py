"""What the tests of fetching fetch, and into what."""

from __future__ import annotations

import hashlib

from rich.progress import Progress

from respin_export.weights.catalogue import Chosen, PublishedCheckpoint, Variant, WeightFile
from respin_export.weights.download import RetryPolicy
from respin_export.weights.fetch import DownloadSource, Fetcher

CONTENT = bytes(range(256)) * 40
SIZE_BYTES = len(CONTENT)
SHA256 = hashlib.sha256(CONTENT).hexdigest()

LARGE = CONTENT * 2200
"""22 MB: what arrives is written in pieces of `PIECE_BYTES`, and kept after a broken connection in whole pieces."""

LARGE_SHA256 = hashlib.sha256(LARGE).hexdigest()
PIECE_BYTES = 10 * 2**20


def large(url):
    return chosen(url, sha256=LARGE_SHA256, size_bytes=len(LARGE))


def chosen(url=None, *, sha256=SHA256, size_bytes=SIZE_BYTES):
    file = WeightFile("model.pt", size_bytes, sha256=sha256, url=url)
    variant = Variant("original", "", (file,), "a test", "owner/repository", "v1")
    return Chosen(PublishedCheckpoint("edsr", "", "MIT", (variant,)), variant)


class Trial:
    """A fetch into a fresh folder that never really waits."""

    def __init__(self, parent, **source):
        self.weights = parent / "weights"
        self.path = self.weights / "edsr" / "model.pt"
        self.source = DownloadSource(**source)
        self.waits = []
        self.free = 10**12

    def fetch(self, *wanted, tries=6):
        retry = RetryPolicy(tries=tries, sleep=self.waits.append)
        with Progress(disable=True) as progress:
            return Fetcher(self.weights, self.source, progress, retry, lambda _: self.free).fetch(wanted)

    @property
    def left(self):
        return sorted(path.name for path in self.weights.rglob("*") if path.is_file())
