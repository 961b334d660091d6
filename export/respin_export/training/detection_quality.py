"""Measure a detector on held-out images, by the rule of the job."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from respin.geometry import Size, fit_short_side
from respin.scenes import KINDS
from respin_export.mini.sizes import SIZES
from respin_export.training.captions import NAMES, OTHER_WORD, Phrase, caption_tensors, draw_phrase, name_ids
from respin_export.training.chunks import Chunks
from respin_export.training.detection_images import DetectionExample, image_tensors, photo_example, view_example
from respin_export.training.grounding_dino_loss import iou_and_giou

THRESHOLD = 0.35
"""Threshold of the score of a detection, the job's default."""

PHOTO_COUNT, VIEW_COUNT = 36, 12
"""Number of held-out images of an evaluation during training."""


@dataclass(frozen=True, eq=False)
class Question:
    """An image and a name to find in it.

    Args:
        example: the image at the served size.
        phrase: the name to find.
        group: "photo", "view", "absent" or "unknown".
    """

    example: DetectionExample
    phrase: Phrase
    group: str

    @property
    def overlaps(self) -> Callable[[Tensor], list[float]]:
        """Return the IoU of a box, (4,) as fractions of the image, with each object."""
        tall, wide = self.example.image.shape[:2]
        boxes = image_tensors([self.example], tall, wide)["boxes"][0, : len(self.example.kinds)]
        return lambda box: [float(value) for value in iou_and_giou(box[None], boxes)[0]]


@dataclass(frozen=True)
class DetectedBox:
    """The best match: its score, and its IoU with each object of the image."""

    score: float
    overlaps: list[float]


def held_out_questions(
    photos: Chunks, views: Chunks, *, photo_count: int = PHOTO_COUNT, view_count: int = VIEW_COUNT
) -> list[Question]:
    """Make questions: every object of photos and views by its first name, absent kinds, and unknown words."""
    questions = []
    for index in range(min(photo_count, len(photos))):
        example = resize_for_detector(photo_example(photos.sample(index)))
        questions += _questions_about(example, "photo", np.random.default_rng(index))
    for index in range(min(view_count, len(views))):
        generator = np.random.default_rng(index)
        example = resize_for_detector(view_example(views.sample(index), generator))
        questions += _questions_about(example, "view", generator)
    return questions


def _questions_about(example: DetectionExample, group: str, generator: np.random.Generator) -> list[Question]:
    present = example.kinds.tolist()
    absent = int(generator.choice([kind for kind in range(len(KINDS)) if kind not in present]))
    named = [Question(example, Phrase(name_ids(NAMES[KINDS[kind]][0]), kind), group) for kind in present]
    return [
        *named,
        Question(example, Phrase(name_ids(NAMES[KINDS[absent]][0]), absent), "absent"),
        Question(example, draw_phrase(OTHER_WORD, generator), "unknown"),
    ]


def resize_for_detector(example: DetectionExample) -> DetectionExample:
    """Resize an image as the job does for the detector."""
    size = Size(*example.image.shape[:2])
    fitted = fit_short_side(size, SIZES.detection_short_side, SIZES.detection_long_side).fitted
    image = Image.fromarray(example.image).resize((fitted.width, fitted.height), Image.Resampling.BILINEAR)
    scale = np.array([fitted.width / size.width, fitted.height / size.height] * 2)
    return DetectionExample(np.asarray(image), example.boxes * scale, example.kinds)


@torch.no_grad()
def ask(module: nn.Module, question: Question) -> DetectedBox:
    """Run a detector for one name, with its short caption instead of 256 tokens, which does not change the output."""
    tall, wide = question.example.image.shape[:2]
    text = caption_tensors([[question.phrase]])
    del text["token_kinds"]
    image = image_tensors([question.example], tall, wide)["image"]
    device = next(module.parameters()).device
    with torch.autocast(device.type, torch.bfloat16):
        logits, boxes = module(image.to(device), *(tensor.to(device) for tensor in _ordered(text)))
    best = int(logits[0].max(dim=-1).values.argmax())
    return DetectedBox(float(logits[0, best].max().float().sigmoid()), question.overlaps(boxes[0, best].float().cpu()))


def _ordered(text: dict[str, Tensor]) -> list[Tensor]:
    return [text[name] for name in ("input_ids", "attention_mask", "position_ids", "text_self_attention_mask")]


def summary(questions: Sequence[Question], answers: Sequence[DetectedBox]) -> dict[str, float]:
    """Summarise answers.

    Returns:
        For photos and views: found, the share with a score above the threshold; iou, its mean; iou80, the share that is
        found with an IoU of 0.8 or more. choice, the share of questions about one of two objects whose box overlaps
        that one more. absent and unknown, the shares with a score above the threshold. score, higher is better.
    """
    metrics = {}
    pairs = list(zip(questions, answers, strict=True))
    for group in ("photo", "view"):
        named = [(each, answer, _own(each, answer)) for each, answer in pairs if each.group == group]
        prefix = "" if group == "photo" else "view_"
        metrics[f"{prefix}found"] = _mean([answer.score > THRESHOLD for _, answer, _ in named])
        metrics[f"{prefix}iou"] = _mean([own for _, _, own in named])
        metrics[f"{prefix}iou80"] = _mean([answer.score > THRESHOLD and own >= 0.8 for _, answer, own in named])
    two = [
        (answer, _own(each, answer)) for each, answer in pairs if each.group == "photo" and len(each.example.kinds) > 1
    ]
    metrics["choice"] = _mean([own > 0 and own == max(answer.overlaps) for answer, own in two])
    for group in ("absent", "unknown"):
        metrics[group] = _mean([answer.score > THRESHOLD for each, answer in pairs if each.group == group])
    score = metrics["iou"] + metrics["iou80"] + metrics["choice"] - metrics["absent"]
    return {"score": score, **metrics}


def _own(question: Question, answer: DetectedBox) -> float:
    """Return the IoU with the object in question."""
    index = [int(kind) for kind in question.example.kinds].index(question.phrase.kind)
    return answer.overlaps[index]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / max(len(values), 1)
