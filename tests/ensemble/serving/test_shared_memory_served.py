"""The real server on less memory than its networks take, on the CPU: jobs at once, a load that fails, and the books."""

import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from gated_modules import GATE, waiting_file
from mini_server import eventually, send, series, serve
from patience import await_true
from tritonclient import grpc as triton

from respin.bundled import bundled_path
from respin.contracts import NETWORKS
from respin.errors import Busy
from respin.gpu_memory import gpu_need, shared_need
from respin.model_set import ModelSet
from respin_client import Client

pytestmark = pytest.mark.triton

SAME_CALLS = {"unet_batch": 1, "cache_mib": 0}
"""Calls whose results do not depend on the company of other jobs, and nothing is taken from a cache."""

HELD = re.compile(r"memory: loaded (\w+); networks hold ([\d.]+) of ([\d.]+) MiB")


def least(runtime):
    """The smallest budget that works."""
    manifest = ModelSet.load(bundled_path("models/mini"))
    budget_mib = shared_need(runtime, manifest, 1, unets_stay=False).total_mib
    assert budget_mib < gpu_need(runtime, manifest, 1).total_mib
    return {"gpu_memory_mib": budget_mib}


@pytest.fixture(scope="module", params=["onnxruntime", "torch"])
def servers(request, tmp_path_factory):
    """A server whose networks share the least memory that works, one that has enough, and the first one's engine."""
    folder = tmp_path_factory.mktemp("shared")
    with (
        serve("local", tmp_path_factory.mktemp("enough"), runtime=request.param, **SAME_CALLS) as enough,
        serve("local", folder, runtime=request.param, in_process=least(request.param), **SAME_CALLS) as shared,
    ):
        yield shared, enough, folder / "repository/rotate_object_stream/1"


def ask(server, request, *outputs):
    with Client(str(server.endpoints["gRPC"]), retries=0, timeout_s=250) as client:
        return client.rotate_object(request, outputs=outputs or ("image",))


def pictures(result):
    return {"image": result.image, "novel_view": result.novel_view, "background": result.background}


def test_jobs_at_once_get_the_bytes_of_a_server_with_enough_memory_and_it_is_never_exceeded(servers, turn):
    shared, enough, _ = servers
    requests = [turn(azimuth=(20.0 * seed, -30.0)[: 1 + seed % 2], seed=seed, output_format="png") for seed in range(5)]
    outputs = ("image", "novel_view", "background")
    with ThreadPoolExecutor(len(requests)) as threads:
        answers = list(threads.map(lambda request: ask(shared, request, *outputs), requests))
    for request, answer in zip(requests, answers, strict=True):
        assert len(answer.image) == request.views
        assert answer.background
        assert pictures(answer) == pictures(ask(enough, request, *outputs))
    assert pictures(answers[0]) != pictures(answers[1])
    loads = HELD.findall(shared.log_file.read_text())
    assert {name for name, _, _ in loads} == set(NETWORKS)
    assert all(float(held) <= float(room) for _, held, room in loads)
    assert HELD.findall(enough.log_file.read_text()) == []


def test_loads_and_evictions_are_counted(servers, turn):
    shared, enough, _ = servers
    ask(shared, turn(azimuth=(40.0,)))
    unet = '{network="zero123_unet"}'
    evictions = eventually(shared, f"respin_network_evictions_total{unet}", lambda value: value > 0)
    assert series(shared)[f"respin_network_loads_total{unet}"] >= evictions
    assert series(shared)["respin_networks_bytes"] > 0
    assert not [name for name in series(enough) if name.startswith("respin_network_")]


@pytest.mark.parametrize("servers", ["onnxruntime"], indirect=True)
def test_a_network_that_cannot_be_loaded_fails_its_job_alone_and_the_next_one_works(servers, turn):
    shared, _, engine = servers
    file = engine / "networks/edsr/model.onnx"
    ask(shared, turn(azimuth=(40.0,)))  # whose detection in the view evicts edsr
    hidden = file.rename(file.with_name("hidden"))
    with ThreadPoolExecutor(2) as threads:
        failing = threads.submit(ask, shared, turn(azimuth=(40.0,)))
        working = threads.submit(ask, shared, turn(), "mask")
        with pytest.raises(Busy, match=r"edsr could not be loaded into memory, .* that is in the server's log"):
            failing.result()
        assert working.result().mask
    hidden.rename(file)
    assert len(ask(shared, turn(azimuth=(40.0,))).image) == 1


def test_a_job_that_is_cancelled_while_it_waits_for_memory_ends_before_there_is_any(tmp_path, turn, monkeypatch):
    gate = tmp_path / "gate"
    gate.touch()
    monkeypatch.setenv(GATE, str(gate))
    gated = {**least("torch"), "modules": "gated_modules"}
    made = serve("local", tmp_path, runtime="torch", in_process=gated, **SAME_CALLS)
    # Triton lets a model import what is beside its model.py.
    shutil.copy(Path(__file__).with_name("gated_modules.py"), made.options.repository / "rotate_object_stream/1")
    with (
        made as server,
        triton.InferenceServerClient(str(server.endpoints["gRPC"])) as triton_client,
        ThreadPoolExecutor(1) as threads,
    ):
        gate.unlink()
        try:
            working = threads.submit(ask, server, turn(azimuth=(40.0,)))
            await_true(waiting_file(gate).exists, "the call of EDSR")
            waiting = send(triton_client, turn(box=None))  # for a detection, which needs the memory of all networks
            eventually(server, 'respin_stage_seconds_count{stage="decoding"}', lambda value: value == 2)
            waiting.cancel()
            eventually(server, 'respin_cancellations_total{cause="caller"}', lambda value: value == 1)
            assert not working.done()
        finally:
            gate.touch()
        assert len(working.result().image) == 1
