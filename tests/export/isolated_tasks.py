"""What the tests of the export let other processes do; they import this module, so it imports little."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from pathlib import Path

from respin.errors import InvalidInput


@dataclass(frozen=True)
class TinyWeights:
    """A file a network, in which the seed of its weights stands."""

    folder: Path

    settings = {}  # noqa: RUF012

    def checkpoint(self, network):
        return f"{network} seed"

    def find(self, network):
        path = self.folder / f"{network}.txt"
        if not path.is_file():
            raise InvalidInput(f"no weights of {network} in {self.folder.name}")
        return path

    def load(self, network):
        from random_networks import build

        return build(network, seed=int(self.find(network).read_text()))

    def note(self, network):
        return f"a note on {network}"

    def about(self, checkpoint):
        return {"licence": f"of {checkpoint}"}


def succeed(on_stage):
    on_stage("loading")
    return "a result"


def refuse(on_stage):
    raise InvalidInput("these weights are not what they should be")


def be_killed(on_stage):
    os.kill(os.getpid(), 9)


def wait_for_the_end(on_stage):
    on_stage(str(os.getpid()))
    signal.pause()
