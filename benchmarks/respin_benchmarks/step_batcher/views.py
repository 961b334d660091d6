"""Many views of one photo in one request, against a request for each: all of Respin, on UNets of fixed cost."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from respin.request import RotationRequest
from respin_benchmarks.circumstances import repeat_columns
from respin_benchmarks.in_process.engine import request_for_cup
from respin_benchmarks.step_batcher.rows import AT_ONCE, TOGETHER, VIEW_WAYS, ManyViewsRun
from respin_benchmarks.step_batcher.server import BatcherServer
from respin_client import Client

VIEWS = 12


def measure_many_views(server: BatcherServer, *, repeats: int, steps: int) -> Iterator[ManyViewsRun]:
    """Measure every way, neighbours in time, then all again; one small request comes first, which is not measured."""
    measure_views(server, TOGETHER, views=2, steps=2, repeat=0)
    for repeat in range(repeats):
        for way in VIEW_WAYS:
            yield measure_views(server, way, views=VIEWS, steps=steps, repeat=repeat)


def measure_views(server: BatcherServer, way: str, *, views: int, steps: int, repeat: int) -> ManyViewsRun:
    """Ask for views all round the cup in one of `VIEW_WAYS`; the background takes two thirds of their steps.

    Raises:
        RuntimeError: not every view came.
    """
    columns = repeat_columns(repeat)
    request = request_for_cup(views=views, steps=steps, background_steps=max(2, steps * 2 // 3))
    moves = zip(request.azimuth, request.polar, strict=True)
    singles = [replace(request, azimuth=(azimuth,), polar=(polar,)) for azimuth, polar in moves]
    requests = [request] if way == TOGETHER else singles
    calls_before = sum(log.length() for log in server.logs.values())
    with Client(server.url) as client, ThreadPoolExecutor(len(requests) if way == AT_ONCE else 1) as workers:

        def views_of(one: RotationRequest) -> int:
            return sum(event.image is not None for event in client.stream(one))

        began_s = time.perf_counter()
        came = sum(workers.map(views_of, requests))
        wall_s = round(time.perf_counter() - began_s, 3)
    if came != views:
        raise RuntimeError(f"{came} views of {views} came")
    unet_calls = sum(log.length() for log in server.logs.values()) - calls_before
    return ManyViewsRun(**columns, way=way, views=views, wall_s=wall_s, unet_calls=unet_calls)
