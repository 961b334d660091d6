"""Two hundred callers who change their minds, under load: nothing of theirs may stay."""

import os
import threading
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from mini_server import serve

from respin.errors import Busy, Cancelled, DeadlineExceeded, InvalidInput
from respin_client import Client
from respin_server.stubs import living_instances

pytestmark = [pytest.mark.triton, pytest.mark.soak]

CANCELS = 200
SETTLED_TRIES = 600


def series(server) -> dict[str, float]:
    with urllib.request.urlopen(f"http://{server.endpoints['metrics']}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if line.startswith("respin_")}


def footprint(server) -> dict[str, float]:
    """What leaks would show in: threads and files of every process, shared memory, jobs, samples."""
    pids = [server.pid, *living_instances(server.pid).values()]
    shared = [path.stat().st_size for path in Path("/dev/shm").glob(f"{server.shm_prefix}*")]
    gauges = series(server)
    return {
        "threads": sum(len(os.listdir(f"/proc/{pid}/task")) for pid in pids),
        "files": sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in pids),
        "shared_mib": sum(shared) / 2**20,
        "jobs": gauges["respin_jobs"],
        "memory": gauges["respin_job_memory_bytes"],
        **{name: value for name, value in gauges.items() if name.startswith("respin_samples_")},
    }


def is_idle(server) -> bool:
    gauges = series(server)
    return not any(
        value
        for name, value in gauges.items()
        if name.startswith(("respin_jobs{", "respin_samples_")) or name in ("respin_jobs", "respin_job_memory_bytes")
    )


def await_idle(server) -> None:
    pause = threading.Event()
    for _ in range(SETTLED_TRIES):
        if is_idle(server):
            return
        pause.wait(0.1)
    raise AssertionError(f"jobs or samples stay: {footprint(server)}")


@pytest.mark.timeout(900)
@pytest.mark.parametrize("profile", ["cpu", "local"])
def test_two_hundred_cancels_at_random_moments_leave_nothing_behind(tmp_path, turn, profile):
    random = np.random.default_rng(0)
    moments = random.uniform(0.02, 1.5, CANCELS)
    fates = ("closed stream", "deadline of a stream", "deadline of an answer")

    def request(index, *, in_time):
        # A deadline that the views cannot keep is refused at the door: these miss theirs by their backgrounds.
        steps = {"steps": 100} if in_time else {"steps": 4, "background_steps": 250}
        return turn(azimuth=(80.0,) * int(1 + index % 3), seed=index, **steps)

    with (
        serve(profile, tmp_path, exit_timeout_s=5) as server,
        Client(str(server.endpoints["gRPC"]), retries=0) as client,
    ):

        def change_mind(index):
            fate = fates[index % len(fates)]
            try:
                if fate == "deadline of an answer":
                    client.rotate_object(request(index, in_time=False), timeout_s=moments[index])
                elif fate == "deadline of a stream":
                    list(client.stream(request(index, in_time=False), timeout_s=moments[index]))
                else:
                    stream = client.stream(request(index, in_time=True))
                    next(stream)
                    threading.Event().wait(moments[index])
                    stream.close()
            except (DeadlineExceeded, Cancelled, InvalidInput, Busy):
                return fate
            return "closed or answered"

        def load(count):
            with ThreadPoolExecutor(8) as users:
                return list(users.map(change_mind, range(count)))

        load(24)
        await_idle(server)
        before = footprint(server)
        ends = load(CANCELS)
        await_idle(server)
        after = footprint(server)
        assert len(ends) == CANCELS
        assert {"deadline of a stream", "deadline of an answer"} <= set(ends)
        print(f"\n{profile}: before {before}\n{profile}: after  {after}")
        # A thread pool may still have been filling up, and gRPC keeps a few threads and sockets for a while.
        assert after["threads"] <= before["threads"] + 8
        assert after["files"] <= before["files"] + 16
        assert after["shared_mib"] <= before["shared_mib"] + 16, "one growth of one region"
        assert client.rotate_object(turn(azimuth=(80.0,))).image
