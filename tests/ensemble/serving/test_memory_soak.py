"""Ten minutes of mixed load: the memory of no process may grow without end."""

import contextlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psutil
import pytest
from mini_server import serve

from respin.errors import RespinError
from respin_client import Client
from respin_server.stubs import living_instances

pytestmark = [pytest.mark.triton, pytest.mark.soak]

MIB = 2**20
MINUTES, USERS = 10, 6
GROWTH_MIB = 64
"""Of all processes together in the second half: heaps and pools still find their sizes."""


def memory_mib(server) -> dict[str, float]:
    """Memory of each process that it shares with no other, and of the shared regions."""
    pids = {"tritonserver": server.pid}
    pids |= {instance.model: pid for instance, pid in living_instances(server.pid).items()}
    regions = [path.stat().st_size for path in Path("/dev/shm").glob(f"{server.shm_prefix}*")]
    private = {name: psutil.Process(pid).memory_full_info().uss / MIB for name, pid in pids.items()}
    return {**private, "shared": sum(regions) / MIB}


def ask_for_something(client, turn, random) -> None:
    """An answer, a stream, one that is left early, or what is refused."""
    angles = (80.0,) * int(random.choice([1, 1, 2, 4]))
    wanted = {"azimuth": angles, "seed": int(random.integers(10**6)), "steps": int(random.choice([2, 3, 12]))}
    kind = random.choice(["answer", "mask", "stream", "left stream", "late", "bad box", "bad name", "no photo"])
    with contextlib.suppress(RespinError):
        if kind == "answer":
            client.rotate_object(turn(**wanted))
        elif kind == "mask":
            client.segment_object(turn())
        elif kind == "late":
            client.rotate_object(turn(**{**wanted, "background_steps": 60}), timeout_s=random.uniform(0.1, 1.0))
        elif kind == "bad box":
            client.rotate_object(turn(box=(0.0, 0.0, 8000.0, 8000.0)))
        elif kind == "bad name":
            client.segment_object(turn(class_name="the"))
        elif kind == "no photo":
            list(client.stream(turn(image=bytes(MIB))))
        else:
            stream = client.stream(turn(**wanted))
            for _ in zip(range(2 if kind == "left stream" else 1000), stream, strict=False):
                pass
            stream.close()


@pytest.mark.timeout(MINUTES * 60 + 600)
@pytest.mark.parametrize("profile", ["local", "cpu"])
def test_memory_levels_off_under_mixed_load(tmp_path, turn, profile):
    ends_s, calls, seen = time.monotonic() + MINUTES * 60, [], []

    def use(user):
        random = np.random.default_rng(user)
        with Client(str(server.endpoints["gRPC"]), retries=0, timeout_s=100) as client:
            while time.monotonic() < ends_s:
                ask_for_something(client, turn, random)
                calls.append(user)

    with serve(profile, tmp_path, exit_timeout_s=5, cache_mib=0) as server, ThreadPoolExecutor(USERS) as users:
        working = [users.submit(use, user) for user in range(USERS)]
        pause = threading.Event()
        while time.monotonic() < ends_s:
            pause.wait(MINUTES)  # seconds: sixty samples
            seen.append(memory_mib(server))
        for each in working:
            each.result()
        names = {name: [round(sample.get(name, 0.0)) for sample in seen[9::10]] for name in seen[-1]}
        print(f"\n{profile}: {len(calls)} requests; MiB at a sixth, two sixths, ... of {MINUTES} min: {names}")
        totals = [sum(sample.values()) for sample in seen]
        third = len(totals) // 3
        assert max(totals[-third:]) <= max(totals[third : 2 * third]) + GROWTH_MIB
        assert server.is_running()
