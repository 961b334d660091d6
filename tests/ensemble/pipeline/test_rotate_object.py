"""The whole job in process with simple networks: what it reports, and in what order."""

import threading
from dataclasses import replace

import numpy as np
import pytest
from small_jobs import Listener, pixels_of, request_for

from respin.errors import InternalError, InvalidInput, ObjectNotFound
from respin_ensemble.pipeline.context import Caches
from respin_ensemble.pipeline.rotate_object import find_cached, rotate_object


@pytest.mark.parametrize("azimuth", [(), (80.0,)])
def test_every_answer_carries_the_notes_of_the_set(context, azimuth):
    listener = Listener()
    rotate_object(replace(context, notes=("this set knows rooms",)), request_for(azimuth=azimuth), listener)
    assert listener.made["notes", -1][0] == b"this set knows rooms"


def test_one_photo_in_one_photo_out(run_job):
    job = run_job(request_for(azimuth=(80.0,)))
    assert set(job.made) == {
        *[(name, -1) for name in ("mask", "cut_out", "box", "score", "phrase", "background", "notes")],
        ("image", 0),
        ("novel_view", 0),
    }
    assert job.events[-1].stage == "done"
    assert pixels_of(job.made["image", 0]).shape == (120, 160, 3)


def test_pixels_that_nothing_touched_are_bit_identical(run_job):
    request = request_for(azimuth=(80.0,), dilate_px=10, fit="box")
    job = run_job(request)
    before, after = pixels_of(request.image), pixels_of(job.made["image", 0])
    mask = pixels_of(job.made["mask", -1]) > 0
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    untouched = np.ones(mask.shape, np.bool_)
    # The hole is the mask and 5 px round it; the object is pasted within its box and an edge of some pixels.
    untouched[rows[0] - 8 : rows[-1] + 9, columns[0] - 8 : columns[-1] + 9] = False
    np.testing.assert_array_equal(after[untouched], before[untouched])
    assert (after != before).any()


def test_without_angles_the_cut_out_is_the_answer_and_nothing_is_denoised(run_job, networks):
    request = request_for()
    job = run_job(request)
    assert not networks.fed["zero123_unet"]
    assert not networks.fed["inpaint_unet"]
    mask = pixels_of(job.made["mask", -1]) > 0
    image = pixels_of(job.made["image", -1])
    np.testing.assert_array_equal(image[mask], pixels_of(request.image)[mask])
    assert (image[~mask] == 255).all()
    assert (pixels_of(job.made["cut_out", -1])[..., 3] > 0).sum() == mask.sum()


def test_a_given_box_spares_the_detection_of_the_photo(run_job, networks):
    job = run_job(request_for(box=(40.0, 30.0, 120.0, 90.0)))
    assert not networks.fed["grounding_dino"]
    np.testing.assert_array_equal(job.made["box", -1], [40, 30, 120, 90])
    assert (job.made["score", -1], job.made["phrase", -1]) == (1.0, "")


def test_mask_and_background_are_made_once_for_all_views(run_job, networks):
    job = run_job(request_for(azimuth=(10.0, 20.0, 30.0)))
    assert len(networks.fed["inpaint_unet"]) == 2
    assert sorted(event.view for event in job.events if "image" in event.results) == [0, 1, 2]
    assert len(networks.fed["edsr"]) == 3


def test_both_branches_run_at_the_same_time(context, networks):
    meeting = threading.Barrier(2, timeout=20)
    met = set()

    def wait_for_the_other(spec):
        if spec.name in ("zero123_unet", "inpaint_unet") and spec.name not in met:
            met.add(spec.name)
            meeting.wait()

    networks.before_run = wait_for_the_other
    rotate_object(context, request_for(azimuth=(80.0,)), Listener())
    assert met == {"zero123_unet", "inpaint_unet"}


def test_a_view_is_enlarged_outlined_and_composed(run_job):
    events = run_job(request_for(azimuth=(80.0,))).events
    stages = ["super_resolution", "outline", "composition", "novel_view"]
    assert [event.stage for event in events if event.view == 0] == stages
    told = [event.stage for event in events if event.results or event.stage == "composition"]
    assert told.index("background") < told.index("composition")


def test_progress_rises_to_the_last_step_of_both_branches(run_job):
    job = run_job(request_for(azimuth=(80.0,)))
    steps = {
        stage: [event.step for event in job.events if event.stage == stage and event.steps]
        for stage in ("novel_view", "background")
    }
    assert all(told == sorted(set(told)) for told in steps.values())
    assert {stage: told[-1] for stage, told in steps.items()} == {"novel_view": 3, "background": 2}


def test_either_network_runs_by_its_own_sampler_steps_and_guidance(run_job, networks):
    own = {"sampler": "euler", "steps": 3, "guidance": 2.0, "guidance_start": 0.3}
    other = {"sampler": "unipc", "steps": 4, "guidance": 5.0, "guidance_end": 0.5}
    run_job(request_for(azimuth=(80.0,), **own, **{f"background_{name}": value for name, value in other.items()}))

    def asked(unet):
        return [(call["timestep"].item(), call["guidance"].item()) for call in networks.fed[unet]]

    assert asked("zero123_unet") == [(999, 1), (499.5, 2), (0, 2)]
    assert asked("inpaint_unet") == [(999, 5), (749, 5), (500, 1), (250, 1)]


def test_the_same_seed_is_the_same_picture_and_another_is_not(run_job, networks):
    first, again = (run_job(request_for(azimuth=(80.0,), seed=1)) for _ in range(2))
    run_job(request_for(azimuth=(80.0,), seed=2))
    assert first.made["image", 0] == again.made["image", 0]
    latents = [call["latents"] for call in networks.fed["inpaint_unet"][::2]]
    assert not np.array_equal(latents[0], latents[2])


def test_a_view_in_which_nothing_is_recognised_is_cut_out_by_its_colour_and_says_so(run_job, networks):
    photo_only = networks.grounding_dino

    def finds_nothing_in_views(image, **text):
        networks.score = 0.9 if not networks.fed["zero123_unet"] else 0.1
        return photo_only(image, **text)

    networks.grounding_dino = finds_nothing_in_views
    job = run_job(request_for(azimuth=(80.0,)))
    assert b"view 0: no 'laptop' recognised in it" in job.made["notes", -1][0]


def test_a_blank_view_is_never_pasted(run_job, networks):
    networks.decoded = 1.0
    networks.sam_decoder_of_photo = networks.sam_decoder

    def empty_in_views(embedding, box):
        answer = networks.sam_decoder_of_photo(embedding, box)
        if networks.fed["zero123_unet"]:
            answer["masks"] = answer["masks"] * 0 - 5
        return answer

    networks.sam_decoder = empty_in_views
    with pytest.raises(InternalError, match="came out blank"):
        run_job(request_for(azimuth=(80.0,)))


@pytest.mark.parametrize(
    ("box", "told"),
    [
        ((100.0, 10.0, 300.0, 60.0), "the photo 160 x 120 px"),
        ((60.0, 20.0, 20.0, 60.0), "send .* with x1 > x0"),
        ((10.0, 10.0, 10.0, 60.0), "0 px wide and 50 px high"),
    ],
    ids=["outside", "inverted", "no area"],
)
def test_a_box_that_is_none_is_told_in_words(run_job, box, told):
    with pytest.raises(InvalidInput, match=told):
        run_job(request_for(box=box))


def test_a_box_with_no_shape_in_it_is_told_in_words(run_job, networks):
    networks.sam_decoder = lambda embedding, box: {
        "masks": np.full((1, 4, 64, 64), -5, np.float32),
        "predicted_iou": np.zeros((1, 4), np.float32),
    }
    with pytest.raises(ObjectNotFound, match="no shape of a 'laptop' in its box"):
        run_job(request_for(azimuth=(80.0,)))


def test_what_a_cache_spares_a_job_is_known_before_it_begins(context, networks):
    context = replace(context, caches=Caches(2**24))
    request = request_for(azimuth=(80.0,))
    assert find_cached(context.caches, request) == ()
    rotate_object(context, request, Listener())
    assert find_cached(context.caches, request_for(azimuth=(10.0, 20.0))) == ("scene", "background")
    assert find_cached(context.caches, request_for(azimuth=(80.0,), seed=5)) == ("scene",)
    assert find_cached(context.caches, request_for()) == ("scene",)
    assert find_cached(context.caches, request_for(azimuth=(80.0,), class_name="chair")) == ()
