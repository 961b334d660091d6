"""Many views of one photo in one request, against a request for each: all of Respin, on UNets of fixed cost."""

from __future__ import annotations

import io
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image
from tritonclient import grpc as triton

from respin.bundled import bundled
from respin.contracts import NETWORKS
from respin.contracts.networks import INPAINT_UNET, ZERO123_UNET
from respin.request import DEFAULTS, RotationRequest
from respin_benchmarks.startup import CUP
from respin_benchmarks.step_scheduler import ledger
from respin_benchmarks.step_scheduler.ledger import Ledger, Span
from respin_benchmarks.step_scheduler.load import counted
from respin_benchmarks.step_scheduler.repository import PROFILE, other_networks, views_repository
from respin_benchmarks.step_scheduler.stepping import COST_MS
from respin_client import Client
from respin_server.launcher import EmbeddedTriton, ServerOptions

VIEWS = 12
STEPS = int(DEFAULTS["steps"])
CACHES = {"off": 0, "on": 256}
UNETS = (ZERO123_UNET.name, INPAINT_UNET.name)


@dataclass(frozen=True)
class Run:
    """One photo, all its views. Calls are Triton's executions; `busy` is the share of the wall time, 0..1."""

    way: str
    caches: str
    repeat: int
    views: int
    wall_s: float
    zero123_unet: int
    inpaint_unet: int
    zero123_unet_busy: float
    inpaint_unet_busy: float
    other_calls: str

    @property
    def unet_calls(self) -> int:
        """Of both UNets."""
        return self.zero123_unet + self.inpaint_unet


def in_one_request(client: Client, request: RotationRequest) -> int:
    """Ask for every view at once; how many came."""
    return sum(event.image is not None for event in client.stream(request))


def one_after_another(client: Client, request: RotationRequest) -> int:
    """Ask for each view when the one before it is there."""
    return sum(in_one_request(client, single) for single in _singles(request))


def all_at_once(client: Client, request: RotationRequest) -> int:
    """Ask for each view in a request of its own, all at the same time."""
    with ThreadPoolExecutor(request.views) as askers:
        return sum(askers.map(lambda single: in_one_request(client, single), _singles(request)))


def _singles(request: RotationRequest) -> list[RotationRequest]:
    moves = zip(request.azimuth, request.polar, strict=True)
    return [replace(request, azimuth=(azimuth,), polar=(polar,)) for azimuth, polar in moves]


WAYS: Mapping[str, Callable[[Client, RotationRequest], int]] = {
    "one request": in_one_request,
    "single requests, one after another": one_after_another,
    "single requests, all at once": all_at_once,
}


class FixedCostServer:
    """A server with the whole ensemble; a context manager.

    Args:
        cache_mib: of the engine's caches.
    """

    def __init__(self, cache_mib: int) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self._ledgers = Path(self._folder.name)
        repository = self._ledgers / "models"
        views_repository(repository, cost_ms=COST_MS, cache_mib=cache_mib, ledgers=self._ledgers)
        options = ServerOptions(repository, PROFILE, grpc_port=0, http_port=0, metrics_port=0)
        self._server = EmbeddedTriton(options)

    def __enter__(self) -> FixedCostServer:
        """Start it."""
        self._server.start()
        url = str(self._server.endpoints["gRPC"])
        self.client, self._triton = Client(url), triton.InferenceServerClient(url)
        return self

    def __exit__(self, *_: object) -> None:
        """Stop it, and remove what it left."""
        self.client.close()
        self._triton.close()
        self._server.stop()
        self._folder.cleanup()

    def measured(self, way: str, caches: str, request: RotationRequest, repeat: int) -> Run:
        """Make one run.

        Raises:
            RuntimeError: not every view came.
        """
        books = {name: Ledger(self._ledgers / f"{name}.ledger") for name in UNETS}
        lengths = {name: book.length() for name, book in books.items()}
        before = counted(self._triton, list(NETWORKS))
        began_ns = time.monotonic_ns()
        came = WAYS[way](self.client, request)
        span = Span(began_ns, time.monotonic_ns())
        if came != request.views:
            raise RuntimeError(f"{came} views of {request.views} came")
        counts = counted(self._triton, list(NETWORKS)).since(before)
        calls = {name: executions for name, (_, executions) in counts.items()}
        busy = {
            name: ledger.busy_share(book.calls_since(lengths[name]), span) if calls[name] else 0.0
            for name, book in books.items()
        }
        return Run(
            way=way,
            caches=caches,
            repeat=repeat,
            views=came,
            wall_s=round(span.seconds, 3),
            zero123_unet=calls[ZERO123_UNET.name],
            inpaint_unet=calls[INPAINT_UNET.name],
            zero123_unet_busy=round(busy[ZERO123_UNET.name], 3),
            inpaint_unet_busy=round(busy[INPAINT_UNET.name], 3),
            other_calls=" ".join(f"{name}={calls[name]}" for name in other_networks()),
        )


def request_for(number: int, *, views: int = VIEWS, steps: int = STEPS) -> RotationRequest:
    """A turn round the cup in a photo that no earlier number has shown to the caches.

    Args:
        number: of the run.
        views: camera moves.
        steps: of each view; the background takes two thirds, as by default.
    """
    pixels = np.array(Image.open(bundled("examples") / "coffee.png").convert("RGB"))
    # Everywhere: what is cut out must be new as well, whatever the untrained mask takes for the cup.
    pixels[::8, ::8] = number // 256, number % 256, 128
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    azimuth = tuple(360.0 * view / views - 180 for view in range(views))
    prompt = f"empty table, number {number}"
    return RotationRequest(
        file.getvalue(),
        "coffee cup",
        azimuth=azimuth,
        box=CUP,
        steps=steps,
        background_prompt=prompt,
        background_steps=max(2, steps * 2 // 3),
    )


def cells() -> Sequence[tuple[str, str]]:
    """Every way with caches off and on, neighbours in time."""
    return [(way, caches) for way in WAYS for caches in CACHES]


def runs_of(*, repeats: int, views: int = VIEWS, steps: int = STEPS) -> Iterator[Run]:
    """Every cell once, then every cell again; each server works on one small request before anything is measured.

    Args:
        repeats: of every cell.
        views: of each photo.
        steps: of each view.
    """
    number = 0
    with ExitStack() as stack:
        servers = {caches: stack.enter_context(FixedCostServer(mib)) for caches, mib in CACHES.items()}
        for server in servers.values():
            in_one_request(server.client, request_for(number, views=2, steps=2))
        for repeat in range(repeats):
            for way, caches in cells():
                number += 1
                yield servers[caches].measured(way, caches, request_for(number, views=views, steps=steps), repeat)
