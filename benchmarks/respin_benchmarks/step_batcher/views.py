"""Many views of one photo in one request, against a request for each: all of Respin, on UNets of fixed cost."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from functools import partial

import numpy as np
from PIL import Image

from respin.bundled import bundled
from respin.contracts import NETWORKS
from respin.contracts.networks import INPAINT_UNET, UNETS, ZERO123_UNET
from respin.request import DEFAULTS, RotationRequest
from respin_benchmarks.sending import send_closed_loop
from respin_benchmarks.startup import CUP
from respin_benchmarks.step_batcher.calls import CallLog, Span, busy_share
from respin_benchmarks.step_batcher.cells import AT_ONCE, CACHES, COST_MS, TOGETHER, VIEW_WAYS
from respin_benchmarks.step_batcher.repository import write_views_repository
from respin_benchmarks.step_batcher.rows import ManyViewsRun, circumstances_now
from respin_benchmarks.step_batcher.server import BatcherServer, counts_since
from respin_client import Client

VIEWS = 12
STEPS = int(DEFAULTS["steps"])


def views_server(cache_mib: int) -> BatcherServer:
    """Return a server with the whole ensemble, not started yet.

    Args:
        cache_mib: of the engine's caches.
    """
    return BatcherServer(
        lambda repository, logs: write_views_repository(repository, cost_ms=COST_MS, cache_mib=cache_mib, logs=logs)
    )


def _views_in_one_request(client: Client, request: RotationRequest) -> int:
    return sum(event.image is not None for event in client.stream(request))


def request_views(way: str, client: Client, request: RotationRequest) -> int:
    """Ask for all views of a request in one of `VIEW_WAYS`; return how many came."""
    if way == TOGETHER:
        return _views_in_one_request(client, request)
    moves = zip(request.azimuth, request.polar, strict=True)
    singles = [replace(request, azimuth=(azimuth,), polar=(polar,)) for azimuth, polar in moves]
    count = len(singles)
    burst = send_closed_loop(
        lambda number: _views_in_one_request(client, singles[number]),
        concurrency=count if way == AT_ONCE else 1,
        jobs=count,
    )
    return sum(job.answer == 1 for job in burst.jobs)


def measure_views(server: BatcherServer, way: str, caches: str, request: RotationRequest, repeat: int) -> ManyViewsRun:
    """Make one run.

    Raises:
        RuntimeError: not every view came.
    """
    here, logs = circumstances_now(), {name: CallLog(server.folder / f"{name}.calls") for name in UNETS}
    lengths = {name: log.length() for name, log in logs.items()}
    before = server.read_counts(list(NETWORKS))
    began_ns = time.monotonic_ns()
    came = request_views(way, server.client, request)
    span = Span(began_ns, time.monotonic_ns())
    if came != request.views:
        raise RuntimeError(f"{came} views of {request.views} came")
    counts = counts_since(server.read_counts(list(NETWORKS)), before)
    executions = {name: calls for name, (_, calls) in counts.items()}
    busy = {
        name: round(busy_share(log.calls_since(lengths[name]), span), 3) if executions[name] else 0.0
        for name, log in logs.items()
    }
    return ManyViewsRun(
        **here,
        way=way,
        caches=caches,
        repeat=repeat,
        views=came,
        wall_s=round(span.seconds, 3),
        zero123_unet=executions[ZERO123_UNET.name],
        inpaint_unet=executions[INPAINT_UNET.name],
        zero123_unet_busy=busy[ZERO123_UNET.name],
        inpaint_unet_busy=busy[INPAINT_UNET.name],
        other_calls=" ".join(f"{name}={executions[name]}" for name in NETWORKS if name not in UNETS),
    )


def request_for(number: int, *, views: int = VIEWS, steps: int = STEPS) -> RotationRequest:
    """Return a turn round the cup in a photo that no earlier number has shown to the caches.

    Args:
        number: of the run.
        views: camera moves.
        steps: of each view; the background takes two thirds, as by default.
    """
    pixels = np.array(Image.open(bundled("examples") / "coffee.png").convert("RGB"))
    # Everywhere: what is cut out must be new as well, whatever the mask takes for the cup.
    pixels[::8, ::8] = number // 256, number % 256, 128
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return RotationRequest(
        file.getvalue(),
        "coffee cup",
        azimuth=tuple(360.0 * view / views - 180 for view in range(views)),
        box=CUP,
        steps=steps,
        background_prompt=f"empty table, number {number}",
        background_steps=max(2, steps * 2 // 3),
    )


def measure_many_views(*, repeats: int, views: int = VIEWS, steps: int = STEPS) -> Iterator[ManyViewsRun]:
    """Measure every way with caches off and on, neighbours in time, then all again.

    Each server does one small request before anything is measured.

    Args:
        repeats: of every cell.
        views: of each photo.
        steps: of each view.
    """
    request, number = partial(request_for, views=views, steps=steps), 0
    with ExitStack() as stack:
        servers = {caches: stack.enter_context(views_server(mib)) for caches, mib in CACHES.items()}
        for server in servers.values():
            request_views(TOGETHER, server.client, request_for(number, views=2, steps=2))
        for repeat in range(repeats):
            for way in VIEW_WAYS:
                for caches, server in servers.items():
                    number += 1
                    yield measure_views(server, way, caches, request(number), repeat)
