"""The three jobs on the real server, with networks as Triton models and with networks in process."""

import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from mini_server import send
from patience import PATIENCE_S, await_true
from tritonclient import grpc as triton

from respin.bundled import bundled_path
from respin.contracts import JOBS
from respin.model_set import ModelSet

pytestmark = pytest.mark.triton

STILL_S = 0.5
"""A job that calls no UNet for so long has stopped."""

EVERYTHING = ("image", "novel_view", "mask", "cut_out", "box", "score", "phrase", "background", "notes")


def pixels(picture):
    return np.asarray(picture.pil())


def test_one_photo_in_one_photo_out(client, turn, coffee_pixels):
    result = client.rotate_object(turn(azimuth=(80.0,)), outputs=EVERYTHING)
    (image,) = result.image
    assert pixels(image).shape == coffee_pixels.shape
    assert pixels(result.mask).shape == coffee_pixels.shape[:2]
    assert pixels(result.cut_out).shape == (*coffee_pixels.shape[:2], 4)
    side = 4 * ModelSet.load(bundled_path("models/mini")).sizes.view_side
    assert pixels(result.novel_view[0]).shape == (side, side, 3)
    assert pixels(result.background).shape == coffee_pixels.shape
    assert (result.box, result.score, result.phrase) == ((165.0, 12.0, 428.0, 312.0), 1.0, "")


def test_the_background_differs_only_near_the_object(client, turn, coffee_pixels):
    result = client.rotate_object(turn(azimuth=(80.0,), dilate_px=20), outputs=("background", "mask"))
    changed = (pixels(result.background) != coffee_pixels).any(axis=2)
    rows, columns = (
        np.flatnonzero((pixels(result.mask) > 0).any(axis=1)),
        np.flatnonzero((pixels(result.mask) > 0).any(axis=0)),
    )
    changed[max(0, rows[0] - 10) : rows[-1] + 11, max(0, columns[0] - 10) : columns[-1] + 11] = False
    assert not changed.any()


def test_every_view_comes_back_in_the_order_of_its_angle(client, turn):
    three = client.rotate_object(turn(azimuth=(0.0, 120.0, 240.0)))
    (second,) = client.rotate_object(turn(azimuth=(120.0,))).image
    assert len(three.image) == 3
    assert len(set(three.image)) == 3
    assert second not in three.image, "view 1 draws other noise than view 0"


def test_the_same_seed_is_the_same_picture(client, turn):
    first, again = (client.rotate_object(turn(azimuth=(80.0,), seed=7)).image for _ in range(2))
    assert first == again
    assert client.rotate_object(turn(azimuth=(80.0,), seed=8)).image != first


def test_without_angles_the_object_on_white_is_the_answer(client, turn, coffee_pixels):
    result = client.rotate_object(turn(), outputs=EVERYTHING)
    mask = pixels(result.mask) > 0
    np.testing.assert_array_equal(pixels(result.image[0])[mask], coffee_pixels[mask])
    assert (pixels(result.image[0])[~mask] == 255).all()
    assert result.background is None


def test_segmentation_gives_the_same_mask(client, turn):
    segmented = client.segment_object(turn())
    assert segmented.mask == client.rotate_object(turn(), outputs=("mask",)).mask


@pytest.mark.parametrize("output_format", ["png", "jpeg", "webp"])
def test_a_picture_comes_in_the_format_asked_for(client, turn, output_format):
    (image,) = client.rotate_object(turn(output_format=output_format)).image
    assert image.pil().format == output_format.upper()


def test_the_stream_tells_the_steps_and_each_view_and_ends_with_done(client, turn):
    # Asked for 20, Zero123's list has 20 levels, of which the noisiest is dropped.
    request = turn(azimuth=tuple(float(angle) for angle in range(12)), steps=20)
    events = list(client.stream(request, outputs=("image", "mask", "notes")))
    told = [(event.view, event.step, event.steps) for event in events if event.stage == "novel_view" and event.steps]
    assert {(view, steps) for view, _, steps in told} == {(None, 12 * 19)}
    assert [step for _, step, _ in told] == sorted({step for _, step, _ in told})
    assert sorted(event.view for event in events if event.image) == list(range(12))
    assert events[0].stage == "detection"
    assert events[-1].stage == "done"


def test_the_stream_and_the_answer_hold_the_same_picture(client, turn):
    (image,) = client.rotate_object(turn(azimuth=(80.0,))).image
    streamed = [event.image for event in client.stream(turn(azimuth=(80.0,))) if event.image]
    assert streamed == [image]


def test_a_stranger_can_ask_with_two_tensors(triton_client, coffee):
    inputs = []
    for name, value in (("image", coffee), ("class_name", b"coffee cup"), ("box_threshold", 0.0)):
        array = np.array([value], np.float32 if name == "box_threshold" else np.object_)
        inputs.append(triton.InferInput(name, [1], "FP32" if name == "box_threshold" else "BYTES"))
        inputs[-1].set_data_from_numpy(array)
    answer = triton_client.infer("segment_object", inputs)
    assert answer.as_numpy("mask").shape == (1,)
    assert answer.as_numpy("box").shape == (4,)
    assert 0 < answer.as_numpy("score")[0] <= 1


def test_many_users_at_once_all_get_their_own_answer(client, turn):
    alone = {seed: client.rotate_object(turn(azimuth=(80.0,), seed=seed)).image for seed in (1, 2)}
    seeds = [1, 2] * 5
    with ThreadPoolExecutor(len(seeds)) as users:
        answers = list(users.map(lambda seed: client.rotate_object(turn(azimuth=(80.0,), seed=seed)).image, seeds))
    assert answers == [alone[seed] for seed in seeds]


def unet_calls(triton_client) -> int:
    """Calls of both UNets so far. Triton counts only networks that are its own models."""
    return sum(
        triton_client.get_inference_statistics(name).model_stats[0].execution_count
        for name in ("zero123_unet", "inpaint_unet")
    )


def calls_when_they_stand_still(triton_client) -> int:
    calls = unet_calls(triton_client)
    for _ in range(int(PATIENCE_S / STILL_S)):
        time.sleep(STILL_S)  # many steps long: what is watched is that nothing happens
        before, calls = calls, unet_calls(triton_client)
        if calls == before:
            return calls
    raise AssertionError(f"the UNets were still called after {PATIENCE_S} s")


@pytest.fixture
def long_job(turn):
    """Some 500 calls of the UNets, those of Zero123 with eight views each."""
    return turn(azimuth=tuple(float(angle) for angle in range(8)), steps=250, background_steps=250)


def test_an_abandoned_stream_stops_the_work(cpu_client, cpu_triton_client, long_job):
    before = unet_calls(cpu_triton_client)
    stream = cpu_client.stream(long_job)
    next(event for event in stream if event.steps)
    stream.close()
    assert 0 < calls_when_they_stand_still(cpu_triton_client) - before < 250


def test_a_client_that_stops_waiting_stops_the_work_behind_a_unary_front_too(cpu_triton_client, turn):
    before = unet_calls(cpu_triton_client)
    call = send(cpu_triton_client, turn(azimuth=(80.0,), steps=250, background_steps=250))
    await_true(lambda: unet_calls(cpu_triton_client) > before, "a step")
    call.cancel()
    assert 0 < calls_when_they_stand_still(cpu_triton_client) - before < 400


def test_the_server_speaks_the_contracts(triton_client):
    for spec in JOBS.values():
        told = triton_client.get_model_metadata(spec.name)
        assert {tensor.name for tensor in told.inputs} == {tensor.name for tensor in spec.inputs}
        assert {tensor.name for tensor in told.outputs} == {tensor.name for tensor in spec.outputs}
