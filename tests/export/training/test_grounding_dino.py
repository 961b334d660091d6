"""The training of GroundingDINO: captions, the assignment of boxes to objects, the loss, and a short run."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from respin.scenes import HELD_OUT_SEEDS, KINDS, TRAINING_SEEDS
from respin_ensemble.stages.tokenization import caption_tokens
from respin_ensemble.vocabularies import BERT_PIECES, vocabulary_lines
from respin_export.mini.grounding_dino import (
    PIECES,
    SHARED_ROWS,
    VOCABULARY,
    MiniGroundingDino,
    WordEmbedding,
    grounding_dino_model,
    limit_outputs,
)
from respin_export.training.captions import (
    NAMES,
    NO_WORD,
    OTHER_WORD,
    Phrase,
    caption_tensors,
    draw_caption,
    draw_phrase,
    name_ids,
)
from respin_export.training.chunks import Chunks
from respin_export.training.detection_images import DetectionExample, Images, image_tensors, photo_example
from respin_export.training.detection_quality import DetectedBox, Question, summary
from respin_export.training.grounding_dino import TEXT_INPUTS, GroundingDinoTask, level_grid, load_trained
from respin_export.training.grounding_dino_loss import (
    Truth,
    candidate_loss,
    iou_and_giou,
    query_candidates,
    token_candidates,
)
from respin_export.training.loop import fit
from respin_export.training.scenes import PHOTOS, WHITE, render_photos, render_white

CHAIR, SOFA = KINDS.index("chair"), KINDS.index("sofa")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A data folder of a few scenes."""
    root = tmp_path_factory.mktemp("data")
    for data_set, render in ((PHOTOS, render_photos), (WHITE, render_white)):
        for name, seeds in ((data_set.name, TRAINING_SEEDS), (f"{data_set.name}-held-out", HELD_OUT_SEEDS)):
            folder = root / name / "chunk-0000"
            folder.mkdir(parents=True)
            for array, values in render(seeds[:3]).items():
                np.save(folder / f"{array}.npy", values)
    return root


def named(name):
    """A phrase of one name."""
    return Phrase(name_ids(name), OTHER_WORD)


def test_the_table_of_word_pieces_is_that_of_the_vocabulary():
    assert {piece: vocabulary_lines(BERT_PIECES).index(piece) for piece in PIECES} == PIECES
    assert len(vocabulary_lines(BERT_PIECES)) == VOCABULARY


@pytest.mark.parametrize("name", [name for names in NAMES.values() for name in names])
def test_a_caption_of_a_name_is_the_one_that_the_job_makes(name):
    words = name.replace(" ##", "")
    wanted, got = caption_tokens(words), caption_tensors([[named(name)]], tokens=256)
    for tensor in TEXT_INPUTS:
        np.testing.assert_array_equal(got[tensor][0].numpy(), getattr(wanted, tensor), err_msg=tensor)


def test_phrases_do_not_see_one_another_as_in_the_job():
    wanted = caption_tokens("laptop computer. sofas")
    got = caption_tensors([[named("laptop computer"), named("sofa ##s")], [named("lamp")]], tokens=256)
    for tensor in TEXT_INPUTS:
        np.testing.assert_array_equal(got[tensor][0].numpy(), getattr(wanted, tensor), err_msg=tensor)


def test_tokens_have_the_kind_of_their_phrase_and_marks_have_none():
    caption = [Phrase(name_ids("sofa ##s"), SOFA), Phrase((5000,), OTHER_WORD)]
    kinds = caption_tensors([caption])["token_kinds"][0].tolist()
    assert kinds == [NO_WORD, SOFA, SOFA, NO_WORD, OTHER_WORD, NO_WORD, NO_WORD]


def test_a_caption_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="4 tokens do not fit into 3"):
        caption_tensors([[named("lamp")]], tokens=3)


def test_captions_name_what_is_shown_what_is_not_and_other_words():
    generator = np.random.default_rng(0)
    kinds = {phrase.kind for _ in range(60) for phrase in draw_caption([CHAIR], generator)}
    assert kinds == {OTHER_WORD, *range(len(KINDS))}
    assert all(
        not set(draw_phrase(OTHER_WORD, generator).ids) & set(name_ids("chair sofa laptop lamp")) for _ in range(60)
    )


def test_known_words_have_rows_of_their_own():
    rows = WordEmbedding(4).rows
    known = rows[list(PIECES.values())].tolist()
    assert len(set(known)) == len(known)
    assert min(known) >= SHARED_ROWS
    others = [row for index, row in enumerate(rows.tolist()) if index not in PIECES.values()]
    assert max(others) < SHARED_ROWS


def test_iou_and_giou_of_boxes_beside_one_another():
    boxes = torch.tensor([[0.5, 0.5, 0.2, 0.2], [0.6, 0.5, 0.2, 0.2], [0.9, 0.5, 0.2, 0.2]])
    iou, giou = iou_and_giou(boxes[:1], boxes)
    torch.testing.assert_close(iou, torch.tensor([1, 1 / 3, 0]))
    torch.testing.assert_close(giou, torch.tensor([1, 1 / 3, -1 / 3]))


def test_boxes_of_padded_images_are_fractions_of_the_padded_image():
    example = DetectionExample(np.zeros((100, 50, 3), np.uint8), np.array([[10.0, 20.0, 30.0, 60.0]]), np.array([SOFA]))
    tensors = image_tensors([example], 200, 100)
    torch.testing.assert_close(tensors["boxes"][0, 0], torch.tensor([0.2, 0.2, 0.2, 0.2]))
    assert tensors["kinds"].tolist() == [[SOFA, -1]]
    assert tensors["image"][0, :, 100:].abs().max() == 0 < tensors["image"][0, :, :100, :50].abs().min()


def test_crops_keep_their_objects(data):
    images = Images(PHOTOS.training(data), WHITE.training(data))
    for seed in range(20):
        example = images.draw(96, 120, np.random.default_rng(seed))
        sides = example.boxes[:, 2:] - example.boxes[:, :2]
        assert example.image.shape == (96, 120, 3)
        assert (sides > 8).all()
        assert (example.boxes >= 0).all()
        assert (example.boxes <= [120, 96, 120, 96]).all()


def test_a_photo_without_its_first_object_shows_the_other_alone(data):
    photos = Chunks(data / "photos")
    for index in range(len(photos)):
        sample = photos.sample(index)
        assert photo_example(sample, empty=True).kinds.tolist() == [kind for kind in sample["kinds"][1:] if kind >= 0]


@pytest.fixture
def truth():
    """A chair at the left and a sofa at the right; "chair . lamp ." is asked for."""
    caption = caption_tensors([[Phrase(name_ids("chair"), CHAIR), Phrase(name_ids("lamp"), KINDS.index("lamp"))]])
    boxes = torch.tensor([[[0.25, 0.5, 0.3, 0.4], [0.75, 0.5, 0.3, 0.4]]])
    return Truth(boxes, torch.tensor([[CHAIR, SOFA]]), caption["token_kinds"], caption["attention_mask"])


def stage(truth, scores):
    """Queries whose references are the objects, with these logits of the caption's words: (2, words)."""
    logits = torch.full((1, 2, truth.token_kinds.shape[1]), -9.0)
    logits[0, :, truth.token_kinds[0] >= 0] = torch.tensor(scores)
    return query_candidates(logits, truth.boxes, truth.boxes, truth)


def test_the_right_scores_cost_least(truth):
    right = candidate_loss(stage(truth, [[9.0, -9.0], [-9.0, -9.0]]), truth)
    assert right < 0.01
    for wrong in ([[-9.0, -9.0], [-9.0, -9.0]], [[9.0, 9.0], [-9.0, -9.0]], [[9.0, -9.0], [9.0, -9.0]]):
        assert candidate_loss(stage(truth, wrong), truth) > right + 2


def test_a_box_beside_its_object_costs(truth):
    found = stage(truth, [[9.0, -9.0], [-9.0, -9.0]])
    moved = replace(found, boxes=found.boxes + torch.tensor([0.1, 0, 0, 0]))
    assert candidate_loss(moved, truth) > candidate_loss(found, truth) + 0.5


def test_tokens_in_the_middle_of_an_object_are_positive_and_its_edge_counts_neither_way(truth):
    grid = level_grid(128, 128)
    count = sum(map(len, grid))
    assert [len(level) for level in grid] == [256, 64, 16, 4]
    found = token_candidates(torch.zeros(1, count, 7), torch.full((1, count, 4), 0.5), truth, grid)
    place = torch.cat(grid)
    middle = int(((place - torch.tensor([0.25, 0.5])) ** 2).sum(-1).argmin())
    corner = int(((place[:256] - torch.tensor([0.13, 0.34])) ** 2).sum(-1).argmin())
    assert found.positive[0, middle].tolist() == [True, False]
    assert not found.positive[0, corner].any()
    assert found.ignored[0, corner].tolist() == [True, False]
    assert found.positive[0, 320:336].any()
    assert found.positive[0, 336:].any()


def test_images_without_objects_have_a_loss(truth):
    empty = replace(truth, kinds=torch.full((1, 2), -1))
    loss = candidate_loss(stage(empty, [[9.0, -9.0], [-9.0, -9.0]]), empty)
    assert 0 < loss < torch.inf


def test_objects_in_one_place_have_a_loss(truth):
    overlapping = replace(truth, boxes=truth.boxes[:, :1].expand(-1, 2, -1))
    found = stage(overlapping, [[0.0, 0.0], [0.0, 0.0]])
    assert torch.isfinite(candidate_loss(found, overlapping))


def test_boxes_are_fractions_of_the_image_without_its_padding():
    torch.manual_seed(0)
    module = MiniGroundingDino(grounding_dino_model()).eval()
    limit_outputs(module.model, queries=40, tokens=8)
    text = caption_tensors([[named("lamp")]], tokens=8)
    inputs = [text[name] for name in TEXT_INPUTS]
    image = torch.randn(1, 3, 100, 120)
    padded = torch.nn.functional.pad(image, (0, 8, 0, 28))
    with torch.no_grad():
        logits, boxes = module(image, *inputs)
        wanted_logits, wanted = module(padded, *inputs)
    torch.testing.assert_close(logits, wanted_logits)
    torch.testing.assert_close(boxes, wanted * torch.tensor([128 / 120, 128 / 100] * 2))


def test_the_summary_counts_hits_choices_and_false_alarms():
    two = DetectionExample(np.zeros((8, 8, 3), np.uint8), np.zeros((2, 4)), np.array([CHAIR, SOFA]))
    questions = [
        Question(two, Phrase((1,), CHAIR), "photo"),
        Question(two, Phrase((1,), SOFA), "photo"),
        Question(two, Phrase((1,), 3), "absent"),
        Question(two, Phrase((1,), OTHER_WORD), "unknown"),
    ]
    answers = [
        DetectedBox(0.9, [0.85, 0.1]),
        DetectedBox(0.3, [0.9, 0.0]),
        DetectedBox(0.4, [0.0, 0.0]),
        DetectedBox(0.1, [0.0, 0.0]),
    ]
    got = summary(questions, answers)
    assert (got["found"], got["iou80"], got["choice"], got["absent"], got["unknown"]) == (0.5, 0.5, 0.5, 1, 0)
    assert got["iou"] == pytest.approx(0.425)


def test_two_steps_of_training_make_a_module_that_can_be_loaded(data, tmp_path):
    task = GroundingDinoTask(data)
    task.schedule = replace(task.schedule, steps=2, batch=1, evaluate_every=2)
    task.questions = task.questions[:2]
    trained = fit(task, tmp_path)
    loaded = load_trained(tmp_path)
    for name, value in trained.state_dict().items():
        stored = value.half().float() if value.is_floating_point() else value
        torch.testing.assert_close(loaded.state_dict()[name], stored, msg=lambda text, name=name: f"{name}: {text}")
    assert (tmp_path / "curve.csv").read_text().startswith("step,samples,cpu_s,seed,loss,score,found")


def test_the_same_seed_and_step_draw_the_same_batch(data):
    task = GroundingDinoTask(data)
    first, second = (task.batch(2, np.random.default_rng([1, 2]), 0.9) for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert first["image"].shape[0] == 2
    sides = {
        (len(batch["image"]), min(batch["image"].shape[2:]))
        for batch in (task.batch(1, np.random.default_rng(seed), 0.1) for seed in range(9))
    }
    # Small images, twice as many, and from the beginning some of the served sizes.
    assert sides >= {(2, 128), (1, 224)}
