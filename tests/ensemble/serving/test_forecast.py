"""The forecast of jobs, without a server."""

import numpy as np
import pytest

from respin.contracts import NETWORKS
from respin.contracts.networks import EDSR
from respin.request import RotationRequest
from respin_ensemble.pipeline.events import JobEvent
from respin_ensemble.serving.forecast import (
    INITIAL_S,
    PIXEL,
    CostModel,
    JobProgress,
    TimedNetworks,
    Work,
)
from respin_ensemble.serving.speed import SpeedModel, finish_times

COSTS = {
    **dict.fromkeys([*NETWORKS, PIXEL], 0.0),
    "sam_encoder": 1.0,
    "edsr": 2.0,
    "inpaint_unet": 0.1,
    "zero123_unet": 0.2,
}

RESULT = {"background": lambda: b""}


def work_of(**fields):
    return Work.from_request(RotationRequest(b"photo", "cup", **fields), pixels=0)


def seconds(work, costs=COSTS):
    return sum(work.seconds(phase, costs) for phase in work.units)


def speeds(by_running):
    speed = SpeedModel(COSTS)
    for running, each in by_running.items():
        speed.record(running, 1.0, {"sam_encoder": each})
    return speed


def test_the_work_of_a_job_is_that_of_all_its_parts():
    work = work_of(azimuth=(1.0, 2.0), steps=30, background_steps=40)
    assert seconds(work) == pytest.approx(1.0 + 40 * 0.1 + 2 * 30 * 0.2 + 2 * 2.0 + 2 * 1.0)
    assert seconds(work.without(("scene", "background"))) == pytest.approx(2 * 30 * 0.2 + 2 * 2.0 + 2 * 1.0)
    assert seconds(work_of()) == 1.0


def test_jobs_that_run_share_the_engine_and_the_others_wait():
    assert finish_times([2.0, 2.0], 2, speeds({})) == pytest.approx([4.0, 4.0])
    assert finish_times([1.0, 3.0], 2, speeds({})) == pytest.approx([2.0, 4.0])
    assert finish_times([1.0, 3.0, 1.0], 2, speeds({})) == pytest.approx([2.0, 5.0, 4.0])
    assert finish_times([], 2, speeds({})) == []


def test_jobs_together_are_as_fast_as_they_were_seen_to_be():
    faster_together = speeds({1: 1.0, 2: 2.0})
    assert finish_times([2.0, 2.0, 2.0], 3, faster_together) == pytest.approx([3.0, 3.0, 3.0])
    assert finish_times([2.0, 2.0], 3, faster_together) == pytest.approx([2.0, 2.0])


def test_the_speed_of_long_ago_is_forgotten():
    speed = speeds({1: 1.0})
    speed.record(1, 100.0, {"sam_encoder": 25.0})
    assert speed.speed(1) == pytest.approx(0.25, rel=0.02)


def test_a_better_knowledge_of_the_costs_applies_to_the_past():
    costs = dict(COSTS)
    speed = SpeedModel(costs)
    speed.record(1, 1.0, {"sam_encoder": 1.0})
    costs["sam_encoder"] = 0.5
    assert speed.speed(1) == pytest.approx(0.5)


def test_time_whose_work_was_not_seen_does_not_count():
    speed = speeds({1: 1.0})
    since_s = speed.share_s
    speed.record(2, 6.0, {})
    speed.forget(since_s)
    assert speed.share_s - since_s == pytest.approx(3.0), "two jobs share the engine"
    assert speed.speed(2) == pytest.approx(0.0, abs=0.01), "the other job's half counts"
    speed.forget(0.0)
    assert not speed.measured


def test_progress_lowers_what_is_left_and_says_what_was_done():
    progress = JobProgress(work_of(azimuth=(1.0,), steps=10, background_steps=10), 1, None)
    assert progress.left_s(COSTS) == pytest.approx(1.0 + 1.0 + 2.0 + 3.0)
    assert progress.observe(JobEvent("novel_view", step=5, steps=10))["zero123_unet"] == 5
    assert progress.observe(JobEvent("background", step=10, steps=10))["inpaint_unet"] == 10
    assert progress.left_s(COSTS) == pytest.approx(1.0 + 1.0 + 3.0)
    progress.observe(JobEvent("novel_view", view=0, results=RESULT))
    assert progress.left_s(COSTS) == pytest.approx(1.0 + 1.0)


def test_a_background_from_the_cache_is_no_work_done():
    progress = JobProgress(work_of(azimuth=(1.0,), background_steps=10), 1, None)
    assert progress.observe(JobEvent("background", results=RESULT)) == {}
    painted = JobProgress(work_of(azimuth=(1.0,), background_steps=10), 1, None)
    painted.observe(JobEvent("background", step=9, steps=10))
    assert painted.observe(JobEvent("background", results=RESULT))["inpaint_unet"] == pytest.approx(1.0)


def test_a_given_box_spares_the_detection_of_the_photo():
    costs = {**COSTS, "grounding_dino": 5.0}
    assert seconds(work_of(box=(0.0, 0.0, 9.0, 9.0)), costs) == 1.0
    assert seconds(work_of(), costs) == 6.0


def test_costs_are_those_of_the_fastest_call_per_sample(networks):
    costs = CostModel()
    assert costs["edsr"] == INITIAL_S
    costs.record("edsr", 2, 0.4)
    costs.record("edsr", 1, 0.3)
    assert costs["edsr"] == 0.2
    assert "edsr" in costs
    assert not work_of(azimuth=(1.0,)).is_known(costs)
    timed = TimedNetworks(networks, costs)
    assert timed.sizes == networks.sizes
    timed(EDSR, image=np.zeros((3, 3, 32, 32), np.float32))
    assert costs["edsr"] < 0.2
