"""What dies is noticed, reported and replaced: processes of a real `respin serve`."""

import contextlib
import os
import signal
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import attacks
import psutil
import pytest
from mini_server import serve
from patience import await_true
from serve_command import CALL_S, ENGINE, PROXY, serve_command
from tritonclient import grpc as grpc_client

from respin.errors import Busy
from respin_client import Client
from respin_server.leftovers import SHARED_MEMORY
from respin_server.stubs import living_instances

pytestmark = pytest.mark.triton

LONG = {"azimuth": (80.0,), "steps": 100, "background_steps": 2}
PATIENT = ("--exit-timeout-s", "200")
"""A busy machine may take longer than half a minute for the jobs in flight."""

FROZEN_S = 3.0
"""Longer than Triton waits for a process (1 s), and the proxies for the engine (2 s)."""


@pytest.fixture(params=["cpu", "local"])
def serving(request, tmp_path):
    with serve_command(request.param, tmp_path, "--limit", "cache_mib=0", *PATIENT) as command:
        yield command


@pytest.fixture
def cpu_serving(tmp_path):
    with serve_command("cpu", tmp_path, "--limit", "cache_mib=0", *PATIENT) as command:
        yield command


@pytest.fixture
def users():
    with ThreadPoolExecutor(8) as pool:
        yield pool


def begin(stream):
    """Read a stream until its views are being denoised."""
    next(event for event in stream if event.step > 3)
    return stream


def image_of(events):
    return next(event.image for event in events if event.image)


def patiently(call):
    """Call until the server answers: on a busy machine a restart may take longer than a client's own retries."""
    deadline_s = time.monotonic() + CALL_S
    while True:
        try:
            return call()
        except Busy:
            assert time.monotonic() < deadline_s


def assert_nothing_is_left(command, before):
    triton = command.triton()
    children = triton.children()
    assert not [child for child in children if child.status() == psutil.STATUS_ZOMBIE]
    regions = {region.name.rpartition("_")[0] for region in SHARED_MEMORY.glob(f"respin_{command.process.pid}_*")}
    assert len(list(SHARED_MEMORY.glob(f"respin_{command.process.pid}_*"))) == len(children)
    assert len(regions) == 1
    assert triton.num_threads() <= before + 8, "gRPC keeps a few threads for a while"


def test_an_engine_that_dies_ends_every_call_as_unavailable_and_a_retry_is_answered(serving, turn, users):
    before = serving.triton().num_threads()
    with serving.client(retries=0) as once, serving.client() as retrying:
        stream = begin(once.stream(turn(**LONG)))
        lost = [users.submit(list, stream), users.submit(once.rotate_object, turn(**LONG))]
        kept = [
            users.submit(patiently, lambda: retrying.rotate_object(turn(**LONG)).image),
            users.submit(patiently, lambda: image_of(retrying.stream(turn(**LONG)))),
        ]
        serving.kill(ENGINE)
        for call in lost:
            with pytest.raises(Busy):
                call.result(timeout=60)
        serving.await_line("ready again")
        assert all(call.result(timeout=CALL_S) for call in kept)
    assert serving.count("'rotate_object_stream' has died") == 1
    assert_nothing_is_left(serving, before)


def test_a_proxy_that_dies_ends_its_callers_calls_as_unavailable(cpu_serving, turn, users):
    with cpu_serving.client(retries=0) as once, cpu_serving.client() as retrying:
        stream = begin(once.stream(turn(**LONG)))
        lost = users.submit(once.rotate_object, turn(**LONG))
        kept = users.submit(patiently, lambda: retrying.rotate_object(turn(**LONG)).image)
        next(stream)
        cpu_serving.kill(PROXY)
        with pytest.raises(Busy):
            lost.result(timeout=60)
        assert kept.result(timeout=CALL_S)
        stream.close()


def test_a_network_that_dies_fails_its_jobs_as_unavailable_and_leaves_nothing(cpu_serving, turn, users):
    before = cpu_serving.triton().num_threads()
    with cpu_serving.client(retries=0) as once, cpu_serving.client() as retrying:
        stream = begin(once.stream(turn(**LONG)))
        kept = users.submit(patiently, lambda: retrying.rotate_object(turn(**LONG)).image)
        cpu_serving.kill("zero123_unet")
        with pytest.raises(Busy):
            list(stream)
        assert kept.result(timeout=CALL_S)
    assert_nothing_is_left(cpu_serving, before)


@pytest.mark.parametrize("model", ["sam_encoder", ENGINE, PROXY])
def test_requests_during_a_reload_are_unavailable_and_their_retry_is_answered(tmp_path, turn, users, model):
    with serve("cpu", tmp_path, cache_mib=0) as server:
        url = str(server.endpoints["gRPC"])
        with Client(url, retries=0) as once, Client(url, timeout_s=CALL_S) as retrying:
            stream = begin(once.stream(turn(**LONG)))
            calls = [
                users.submit(list, stream),
                users.submit(once.rotate_object, turn(**LONG)),
                users.submit(patiently, lambda: retrying.rotate_object(turn(azimuth=(80.0,))).image),
            ]
            reload = users.submit(load_again, server, model)
            while not reload.done():
                with contextlib.suppress(Busy):  # nothing else may be raised
                    once.rotate_object(turn())
            reload.result()
            for call in calls[:2]:
                assert isinstance(call.exception(timeout=CALL_S), Busy | None)
            assert calls[2].result(timeout=CALL_S)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_lets_jobs_in_flight_finish_and_refuses_new_ones_as_unavailable(serving, turn, users, number):
    with serving.client(retries=0) as client:
        stream = begin(client.stream(turn(**LONG)))
        jobs = [
            users.submit(lambda: image_of(stream)),
            users.submit(client.rotate_object, turn(**LONG)),
            users.submit(client.rotate_object, turn(**LONG)),
        ]
        # The unary ones have reached the engine once it has three jobs.
        await_true(lambda: jobs_of(serving) == 3, "three jobs are in progress")
        serving.process.send_signal(number)
        serving.await_line("stopping")
        await_true(lambda: is_refused(client, turn()), "the engine takes no more jobs")
        assert jobs[0].result(timeout=CALL_S)
        assert all(job.result(timeout=CALL_S).image for job in jobs[1:])
    assert serving.process.wait(timeout=60) == 0


def test_a_stop_after_an_earlier_death_loses_no_job(cpu_serving, turn):
    with cpu_serving.client() as client:
        stream = begin(client.stream(turn(**LONG)))
        cpu_serving.kill("zero123_unet")
        assert patiently(lambda: image_of(stream))
        last = begin(client.stream(turn(**LONG)))
        cpu_serving.process.terminate()
        assert image_of(last)
    assert cpu_serving.process.wait(timeout=CALL_S) == 0


def test_jobs_longer_than_the_stop_may_take_end_as_unavailable(tmp_path, turn):
    with (
        serve_command("cpu", tmp_path, "--exit-timeout-s", "0") as serving,
        serving.client(retries=0) as client,
    ):
        stream = begin(client.stream(turn(azimuth=(80.0,), steps=250)))
        serving.process.terminate()
        with pytest.raises(Busy):
            list(stream)


def test_a_stopped_engine_is_not_taken_for_a_dead_one(cpu_serving, turn, users):
    with cpu_serving.client(retries=0) as client:
        stream = begin(client.stream(turn(**LONG)))
        answer = users.submit(client.rotate_object, turn(**LONG))
        await_true(lambda: jobs_of(cpu_serving) == 2, "two jobs are in progress")
        engine = cpu_serving.stub(ENGINE)
        os.kill(engine, signal.SIGSTOP)
        cpu_serving.await_line("was stopped by a signal")
        with pytest.raises(Busy, match="stopped by a signal"):
            client.segment_object(turn())
        with pytest.raises(TimeoutError):
            answer.result(timeout=FROZEN_S)
        os.kill(engine, signal.SIGCONT)
        assert image_of(stream)
        assert answer.result(timeout=CALL_S).image
    cpu_serving.await_line("no longer stopped")
    assert cpu_serving.count("restarting") == 0


@pytest.mark.parametrize("attack", [attacks.classification_of_bytes, attacks.two_requests_on_a_stream])
def test_a_request_that_crashes_triton_is_survived(cpu_serving, turn, attack):
    attack(cpu_serving.url)
    cpu_serving.await_line("ready again")
    with cpu_serving.client() as client:
        assert patiently(lambda: client.rotate_object(turn(azimuth=(80.0,))).image)
    assert cpu_serving.count("tritonserver was killed by signal") == 1


def test_streams_that_crash_triton_now_and_then_are_survived(cpu_serving, turn):
    attacks.refused_streams_with_the_header(cpu_serving.url, seconds=15)
    with cpu_serving.client() as client:
        assert patiently(lambda: client.rotate_object(turn(azimuth=(80.0,))).image)
    assert cpu_serving.count("restarting the server") == cpu_serving.count("tritonserver was killed by signal")


def load_again(server, model):
    """Load a model again, as an operator with the admin key does; the new process inherits no socket."""
    headers = {"triton-grpc-protocol-admin-key": server.admin_key}
    with grpc_client.InferenceServerClient(str(server.endpoints["gRPC"])) as client:
        client.unload_model(model, headers=headers)
        client.load_model(model, headers=headers)
    pids = {instance.model: pid for instance, pid in living_instances(server.pid).items()}
    assert not psutil.Process(pids[model]).net_connections()


def is_refused(client, request) -> bool:
    try:
        client.segment_object(request)
    except Busy:
        return True
    return False


def jobs_of(command) -> int:
    """The jobs that are in progress, as the metrics say."""
    with urllib.request.urlopen(f"http://{command.metrics_url}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return int(float(next(line.rpartition(" ")[2] for line in lines if line.startswith("respin_jobs "))))
