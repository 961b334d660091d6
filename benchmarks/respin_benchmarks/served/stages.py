"""Where the time of one job goes on the server: each stage by its metrics, and one job from beginning to end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from respin.contracts.networks import INPAINT_UNET, ZERO123_UNET
from respin.profiles import PROFILES
from respin_benchmarks.embedded import embedded
from respin_benchmarks.in_process.rows import Interval
from respin_benchmarks.served.rows import StagesRun
from respin_benchmarks.served.server_log import network_calls
from respin_benchmarks.served.servers import Asked, Served
from respin_client import Client

STAGES = {
    "decoding_s": "decoding",
    "detection_s": "detection",
    "segmentation_s": "segmentation",
    "background_s": "background",
    "super_resolution_s": "super_resolution",
    "outline_s": "outline of a view",
    "composition_s": "composition",
}
"""The engine's own name of each stage, by column."""

HEARD = ("box", "background", "image")
"""Outputs that are asked for beside the progress: each is sent as soon as its stage is done."""


def stages_runs(servers: Sequence[Served], jobs: int, time_is_up: Callable[[], bool]) -> Iterator[StagesRun]:
    """One job alone on each server, neighbours in time, again and again.

    Args:
        servers: that are measured.
        jobs: on each.
        time_is_up: whether nothing new may begin.
    """
    for repeat in range(jobs):
        for served in servers:
            if time_is_up():
                return
            yield _run(served, repeat)


def _run(served: Served, repeat: int) -> StagesRun:
    noted, request = served.noted(repeat), served.asked.request()
    began_s = time.perf_counter()
    served.client.rotate_object(request)
    latency_s = time.perf_counter() - began_s
    added = served.since_last(1)
    stages: dict[str, Any] = {column: round(added.stage_s(stage), 4) for column, stage in STAGES.items()}
    return StagesRun(
        **noted,
        latency_s=round(latency_s, 4),
        server_s=round(added.of("respin_job_seconds_sum"), 4),
        inpaint_unet_s=round(added.busy_s(INPAINT_UNET.name), 4),
        zero123_unet_s=round(added.busy_s(ZERO123_UNET.name), 4),
        **stages,
        cache_hits=added.cache_hits,
    )


def job_of(served: Served) -> list[Interval]:
    """One more job, and what was done when: by the server's log where networks are its models, else by its messages."""
    profile = PROFILES.get(served.profile)
    if profile is not None and profile.networks == "triton":
        return job_by_log(served.profile, served.asked)
    return job_by_messages(served)


def job_by_log(profile: str, asked: Asked) -> list[Interval]:
    """Each call of a network in one job, as a server that logs every request has put it down."""
    with TemporaryDirectory() as folder:
        log = Path(folder) / "server.log"
        with embedded(profile, verbose=True, log_file=log) as server, Client(str(server.endpoints["gRPC"])) as client:
            client.rotate_object(asked.request())
            warm = log.stat().st_size
            client.rotate_object(asked.request())
            with log.open("rb") as file:
                file.seek(warm)
                return network_calls(file.read().decode(errors="replace"))


def job_by_messages(served: Served) -> list[Interval]:
    """Each message of one job, as its client received it: an interval without length, named after the stage."""
    messages = []
    began_s = time.perf_counter()
    for event in served.client.stream(served.asked.request(), outputs=HEARD):
        heard_s = round(time.perf_counter() - began_s, 5)
        messages.append(Interval("view done" if event.image is not None else event.stage, heard_s, heard_s))
    served.since_last(1)
    return messages
