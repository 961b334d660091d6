"""The engine on the real server: what it keeps, what it refuses, when it stops, what it measures."""

import re
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from mini_server import eventually, series, serve
from tritonclient import grpc as triton
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

from respin.contracts import NETWORKS, SEGMENT_OBJECT
from respin.errors import Busy
from respin_client import Client
from respin_ensemble.metrics import METRIC_FAMILIES

pytestmark = pytest.mark.triton


def executions(triton_client) -> dict[str, int]:
    """How often each network was run so far."""
    return {name: triton_client.get_inference_statistics(name).model_stats[0].inference_count for name in NETWORKS}


def test_other_angles_of_the_same_photo_skip_all_that_was_done_once(cpu_client, cpu_triton_client, cpu_server, turn):
    cpu_client.rotate_object(turn(azimuth=(10.0,), seed=77, background_steps=5))
    before, hits = executions(cpu_triton_client), series(cpu_server)
    cpu_client.rotate_object(turn(azimuth=(20.0, 30.0), seed=77, background_steps=5))
    done = {name: count - before[name] for name, count in executions(cpu_triton_client).items()}
    # A novel view is shown to the detector, too, which in this set knows no cup: the outline is taken by its colour.
    assert done == {
        "grounding_dino": 2,
        "sam_encoder": 0,
        "sam_decoder": 0,
        "clip_vision": 0,
        "zero123_unet": 2 * 3,
        "vae_encoder": 0,
        "vae_decoder": 2,
        "edsr": 2,
        "clip_text": 0,
        "inpaint_unet": 0,
    }
    for cache in ("outline", "condition", "background"):
        name = f'respin_cache_hits_total{{cache="{cache}"}}'
        eventually(cpu_server, name, lambda value, name=name: value >= hits.get(name, 0) + 1)


@pytest.mark.parametrize(
    "other",
    [
        {"seed": 78},
        {"background_prompt": "a meadow"},
        {"background_steps": 4},
        {"background_guidance": 2.0},
        {"background_sampler": "euler"},
        {"dilate_px": 20},
        {"class_name": "mug"},
    ],
    ids=lambda other: next(iter(other)),
)
def test_a_background_that_would_be_another_is_painted_anew(cpu_client, cpu_triton_client, turn, other):
    cpu_client.rotate_object(turn(azimuth=(10.0,), seed=77))
    before = executions(cpu_triton_client)["inpaint_unet"]
    cpu_client.rotate_object(turn(azimuth=(10.0,), **{"seed": 77, **other}))
    assert executions(cpu_triton_client)["inpaint_unet"] > before


def test_many_users_of_one_photo_have_its_background_painted_once(cpu_client, cpu_triton_client, turn):
    before = executions(cpu_triton_client)["inpaint_unet"]
    requests = [turn(azimuth=(float(angle),), seed=79, background_steps=6) for angle in range(6)]
    with ThreadPoolExecutor(6) as users:
        assert len(list(users.map(cpu_client.rotate_object, requests))) == 6
    assert executions(cpu_triton_client)["inpaint_unet"] - before == 6


def test_without_a_cache_everything_is_done_again_and_the_picture_is_the_same(tmp_path, turn):
    with serve("cpu", tmp_path, exit_timeout_s=1, cache_mib=0) as server:
        url = str(server.endpoints["gRPC"])
        with Client(url, retries=0) as client, triton.InferenceServerClient(url) as triton_client:
            first = client.rotate_object(turn(azimuth=(10.0,))).image
            before = executions(triton_client)
            again = client.rotate_object(turn(azimuth=(10.0,))).image
            done = {name: count - before[name] for name, count in executions(triton_client).items()}
    assert again == first
    assert done["inpaint_unet"] == 2
    assert min(done[name] for name in ("sam_encoder", "clip_vision", "clip_text", "vae_encoder")) >= 1


def ask(triton_client, model, request, *, timeout_us, outputs=("image",)):
    """Ask as a stranger does: with Triton's request parameter, and without a deadline of gRPC's."""
    inputs = []
    for name, array in request.to_arrays().items():
        if array.size and name in {tensor.name for tensor in SEGMENT_OBJECT.inputs} | {"azimuth", "polar"}:
            inputs.append(triton.InferInput(name, array.shape, np_to_triton_dtype(array.dtype)))
            inputs[-1].set_data_from_numpy(array)
    wanted = [triton.InferRequestedOutput(name) for name in outputs]
    return triton_client.infer(model, inputs, outputs=wanted, timeout=timeout_us)


def test_a_deadline_that_no_job_can_keep_is_refused_at_once(cpu_client, cpu_triton_client, cpu_server, turn):
    cpu_client.rotate_object(turn(azimuth=(10.0,)))
    before = executions(cpu_triton_client)
    with pytest.raises(InferenceServerException, match=r"INVALID_ARGUMENT.* the deadline is in 0.01 s"):
        ask(cpu_triton_client, "rotate_object", turn(azimuth=(10.0,), steps=250), timeout_us=10_000)
    assert executions(cpu_triton_client) == before
    eventually(cpu_server, 'respin_rejections_total{reason="deadline"}', lambda value: value >= 1)


def test_a_deadline_that_passes_under_way_is_told_in_words(tmp_path, turn):
    # A job that is alone is tried, unless its views alone take too long.
    request = turn(azimuth=(10.0,), steps=2, background_steps=250, seed=80)
    with serve("local", tmp_path, exit_timeout_s=1) as server:
        with (
            triton.InferenceServerClient(str(server.endpoints["gRPC"])) as client,
            pytest.raises(InferenceServerException, match=r"CANCELLED.* the deadline of 0.3 s passed"),
        ):
            ask(client, "rotate_object", request, timeout_us=300_000)
        eventually(server, 'respin_cancellations_total{cause="deadline"}', lambda value: value >= 1)


def test_the_metrics_port_has_every_family_with_its_kind(cpu_client, cpu_server, turn):
    cpu_client.rotate_object(turn(azimuth=(10.0,)))
    eventually(cpu_server, 'respin_jobs_ended_total{status="OK"}', lambda value: value >= 1)
    with urllib.request.urlopen(f"http://{cpu_server.endpoints['metrics']}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    shown = dict(re.findall(r"# TYPE (respin_\w+) (\w+)", text))
    known = {family.name: family.kind for family in METRIC_FAMILIES.values()}
    # A counter shows itself when it first counts, and what networks share only where they share it.
    rare = "failures|evictions|rejections|cancellations|network_loads|networks_bytes"
    may_be_missing = {name for name in known if re.search(rare, name)}
    assert shown == {name: kind for name, kind in known.items() if name in shown}
    assert set(known) - set(shown) <= may_be_missing
    batches = series(cpu_server)['respin_batch_size_count{unet="zero123_unet"}']
    assert batches == series(cpu_server)['respin_step_seconds_count{unet="zero123_unet"}'] > 0


def test_a_busy_servers_refusal_says_when_to_try_again(tmp_path, turn):
    with serve("local", tmp_path, exit_timeout_s=1, max_jobs=1) as server:
        with Client(str(server.endpoints["gRPC"]), retries=0) as client:
            stream = client.stream(turn(azimuth=(80.0,), steps=60))
            next(stream)
            with pytest.raises(Busy, match=r"the server has 1 jobs; the limit is 1\. Retry in \d+\.\d s"):
                client.segment_object(turn())
            stream.close()
        eventually(server, 'respin_rejections_total{reason="jobs"}', lambda value: value == 1)
        eventually(server, "respin_jobs", lambda value: value == 0)


def test_a_server_that_stops_lets_its_jobs_finish(tmp_path, turn):
    server = serve("local", tmp_path, exit_timeout_s=60)
    with server, ThreadPoolExecutor(1) as users, Client(str(server.endpoints["gRPC"]), retries=0) as client:
        stream = client.stream(turn(azimuth=(80.0,), steps=60))
        next(event for event in stream if event.steps)
        stopping = users.submit(server.stop)
        assert [event for event in stream if event.image]
        stopping.result(timeout=60)


def test_pictures_are_the_same_alone_and_in_company(cpu_client, turn):
    wanted = turn(azimuth=(80.0,), seed=5, steps=12)
    alone = cpu_client.rotate_object(wanted, outputs=("novel_view",)).novel_view[0]
    others = [turn(azimuth=(float(seed),), seed=seed, steps=5 + seed) for seed in range(10, 17)]
    with ThreadPoolExecutor(8) as users:
        company = [users.submit(cpu_client.rotate_object, other) for other in others]
        together = cpu_client.rotate_object(wanted, outputs=("novel_view",)).novel_view[0]
        assert all(job.result().image for job in company)
    difference = np.asarray(alone.pil()).astype(int) - np.asarray(together.pil())
    # A value that is cut off to uint8 may fall to either side.
    assert np.abs(difference).max() <= 4
