"""Many views of one photo in one request, against one view."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

from respin.contracts.networks import ZERO123_UNET
from respin.errors import InternalError
from respin_benchmarks.served.rows import SpinRun
from respin_benchmarks.served.servers import Served


def spin_runs(
    servers: Sequence[Served], views: Sequence[int], repeats: int, time_is_up: Callable[[], bool]
) -> Iterator[SpinRun]:
    """Each number of views on every server once, neighbours in time, then all again.

    Args:
        servers: that are measured.
        views: of one request.
        repeats: of each.
        time_is_up: whether nothing new may begin.

    Raises:
        RespinError: a request was not answered, or not wholly.
    """
    for repeat in range(repeats):
        for count in views:
            for served in servers:
                if time_is_up():
                    return
                yield _run(served, count, repeat)


def _run(served: Served, views: int, repeat: int) -> SpinRun:
    noted, request = served.noted(repeat), served.asked.request(views)
    came_s: list[float] = []
    began_s = time.perf_counter()
    for event in served.client.stream(request):
        if event.image is not None:
            came_s.append(time.perf_counter() - began_s)
    latency_s = time.perf_counter() - began_s
    if len(came_s) != views:
        raise InternalError(f"{len(came_s)} views of {views} came")
    added, unet = served.since_last(1), ZERO123_UNET.name
    return SpinRun(
        **noted,
        views=views,
        latency_s=round(latency_s, 4),
        first_view_s=round(came_s[0], 4),
        zero123_busy=round(added.busy_s(unet) / latency_s, 4),
        zero123_samples=round(added.samples_per_call(unet), 3),
        zero123_calls=sum(added.batch_sizes(unet).values()),
        cache_hits=added.cache_hits,
    )
