"""Many views of one photo in one request, against a request for each: all of Respin, on UNets of fixed cost."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace

import numpy as np
from PIL import Image

from respin.bundled import bundled
from respin.contracts.networks import UNETS
from respin.request import RotationRequest
from respin_benchmarks.circumstances import repeat_columns
from respin_benchmarks.startup import CUP
from respin_benchmarks.step_batcher.repository import BatcherServer, views_server
from respin_benchmarks.step_batcher.rows import AT_ONCE, CACHES, TOGETHER, VIEW_WAYS, ManyViewsRun
from respin_client import Client

VIEWS = 12


def _views_in_one_request(client: Client, request: RotationRequest) -> int:
    return sum(event.image is not None for event in client.stream(request))


def request_views(way: str, client: Client, request: RotationRequest) -> int:
    """Ask for all views of a request in one of `VIEW_WAYS`; return how many came."""
    if way == TOGETHER:
        return _views_in_one_request(client, request)
    moves = zip(request.azimuth, request.polar, strict=True)
    singles = [replace(request, azimuth=(azimuth,), polar=(polar,)) for azimuth, polar in moves]
    with ThreadPoolExecutor(len(singles) if way == AT_ONCE else 1) as workers:
        return sum(workers.map(lambda single: _views_in_one_request(client, single), singles))


def measure_views(server: BatcherServer, way: str, caches: str, request: RotationRequest, repeat: int) -> ManyViewsRun:
    """Make one run.

    Raises:
        RuntimeError: not every view came.
    """
    columns, logs = repeat_columns(repeat), [server.log(name) for name in UNETS]
    calls_before = sum(log.length() for log in logs)
    with Client(server.url) as client:
        began_s = time.perf_counter()
        came = request_views(way, client, request)
        wall_s = time.perf_counter() - began_s
    if came != request.views:
        raise RuntimeError(f"{came} views of {request.views} came")
    unet_calls = sum(log.length() for log in logs) - calls_before
    return ManyViewsRun(**columns, way=way, caches=caches, views=came, wall_s=round(wall_s, 3), unet_calls=unet_calls)


def request_for(number: int, *, views: int = VIEWS, steps: int) -> RotationRequest:
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


def measure_many_views(*, repeats: int, steps: int) -> Iterator[ManyViewsRun]:
    """Measure every way with caches off and on, neighbours in time, then all again.

    Each server does one small request before anything is measured.

    Args:
        repeats: of every cell.
        steps: of each view.
    """
    number = 0
    with ExitStack() as stack:
        servers = {caches: stack.enter_context(views_server(mib)) for caches, mib in CACHES.items()}
        for caches, server in servers.items():
            measure_views(server, TOGETHER, caches, request_for(number, views=2, steps=2), 0)
        for repeat in range(repeats):
            for way in VIEW_WAYS:
                for caches, server in servers.items():
                    number += 1
                    yield measure_views(server, way, caches, request_for(number, steps=steps), repeat)
