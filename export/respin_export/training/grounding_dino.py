"""Training of the mini set's GroundingDINO: furniture found by its name in rendered rooms and on white."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from respin.contracts.networks import CAPTION_TOKENS, QUERIES
from respin_export.mini.grounding_dino import (
    STRIDE,
    MiniGroundingDino,
    grounding_dino_model,
    limit_outputs,
    pad_with_sides,
)
from respin_export.networks.grounding_dino import inverse_sigmoid
from respin_export.training.captions import caption_tensors, draw_caption
from respin_export.training.detection_images import DetectionExample, Images, image_tensors
from respin_export.training.detection_quality import Question, ask, held_out_questions, summary
from respin_export.training.grounding_dino_loss import Truth, candidate_loss, query_candidates, token_candidates
from respin_export.training.loop import Batch, Metrics, TrainingSchedule, load_weights
from respin_export.training.scenes import PHOTOS, WHITE

SMALL_SIZES = ((128, 160), (160, 128), (128, 192), (128, 128), (160, 160))
"""(height, width) of most padded images early in training, px: multiples of 32."""

SERVED_SIZES = ((224, 320), (224, 320), (224, 320), (224, 224), (320, 224), (224, 288))
"""(height, width) of padded images in use, px: of photos of 4:3, squares and portraits."""

FIRST_PART, SMALL_SHARE = 0.75, 0.6
"""Share of all steps in the first part of training, and share of small images in it; later, all have served sizes.

A step takes twice as many small images. Without images of served sizes, training does not transfer to them.
"""

TRAINING_QUERIES = 100
"""Number of boxes that the network returns in training; more cost time and help little."""

SCHEDULE = TrainingSchedule(
    steps=3500,
    batch=8,
    learning_rate=2e-3,
    warmup=150,
    decay=1.0,
    clip=5.0,
    average=0.996,
    evaluate_every=400,
)

TEXT_INPUTS = ("input_ids", "attention_mask", "position_ids", "text_self_attention_mask")


@dataclass
class GroundingDinoTask:
    """Train GroundingDINO on captions of one to four names.

    Args:
        data: folder of the data sets.
    """

    data: Path
    name: str = "grounding_dino"
    schedule: TrainingSchedule = SCHEDULE

    def __post_init__(self) -> None:
        """Open the data."""
        self.images = Images(PHOTOS.training(self.data), WHITE.training(self.data))
        self.questions: Sequence[Question] = held_out_questions(PHOTOS.held(self.data), WHITE.held(self.data))

    def build(self) -> nn.Module:
        """Build the network that is exported."""
        return MiniGroundingDino(grounding_dino_model())

    def batch(self, size: int, generator: np.random.Generator, progress: float) -> Batch:
        """Draw images of one size and their captions.

        Returns:
            The contract's inputs; boxes (B, 2, 4) as fractions of the padded image, kinds (B, 2) and token_kinds
            (B, T). B is `size`, or twice that where images are small.
        """
        small = progress < FIRST_PART and generator.random() < SMALL_SHARE
        sizes = SMALL_SIZES if small else SERVED_SIZES
        height, width = sizes[int(generator.integers(len(sizes)))]
        examples = [self._draw(height, width, generator) for _ in range(2 * size if small else size)]
        captions = [draw_caption(example.kinds.tolist(), generator) for example in examples]
        return {**image_tensors(examples, height, width), **caption_tensors(captions)}

    def _draw(self, height: int, width: int, generator: np.random.Generator) -> DetectionExample:
        # Half of the images end before the last multiple of 32, as most photos do.
        down, right = generator.integers(0, STRIDE, 2) if generator.random() < 0.5 else (0, 0)
        return self.images.draw(height - int(down), width - int(right), generator)

    def loss(self, module: MiniGroundingDino, batch: Batch) -> Tensor:
        """Sum the losses of the encoder's boxes and of each decoder layer's."""
        tokens = batch["input_ids"].shape[1]
        limit_outputs(module.model, queries=TRAINING_QUERIES, tokens=tokens)
        seen, _ = pad_with_sides(batch["image"])
        seen = seen.contiguous(memory_format=torch.channels_last)
        with torch.autocast(seen.device.type, torch.bfloat16):
            found = module.outputs(seen, *(batch[name] for name in TEXT_INPUTS))
        truth = Truth(batch["boxes"], batch["kinds"], batch["token_kinds"], batch["attention_mask"])
        grid = level_grid(*seen.shape[2:], device=seen.device)
        total = candidate_loss(
            token_candidates(
                found.enc_outputs_class.float(),
                found.enc_outputs_coord_logits.float().sigmoid(),
                truth,
                grid,
            ),
            truth,
        )
        references = [found.init_reference_points, *found.intermediate_reference_points.unbind(1)]
        for layer, hidden in enumerate(found.intermediate_hidden_states.unbind(1)):
            logits = hidden.float() @ found.encoder_last_hidden_state_text.float().transpose(1, 2)
            reference = references[layer].float()
            boxes = (module.model.bbox_embed[layer](hidden.float()) + inverse_sigmoid(reference)).sigmoid()
            total = total + candidate_loss(query_candidates(logits, boxes, reference, truth), truth)
        return total

    def evaluate(self, module: MiniGroundingDino) -> Metrics:
        """Measure detections in held-out images; see `summary`."""
        limit_outputs(module.model, queries=QUERIES, tokens=CAPTION_TOKENS)
        answers = [ask(module, question) for question in self.questions]
        return summary(self.questions, answers)


def level_grid(height: int, width: int, *, device: torch.device | None = None) -> list[Tensor]:
    """Return the centres of the encoder's tokens by level, (S_level, 2), as fractions of an image of the size in px."""
    rows, columns = height // 8, width // 8
    levels = []
    for _ in range(4):
        down = (torch.arange(rows, device=device) + 0.5) / rows
        across = (torch.arange(columns, device=device) + 0.5) / columns
        y, x = torch.meshgrid(down, across, indexing="ij")
        levels.append(torch.stack([x, y], dim=-1).flatten(0, 1))
        rows, columns = (rows + 1) // 2, (columns + 1) // 2
    return levels


def load_trained(folder: Path) -> MiniGroundingDino:
    """Load the module to export from a run's checkpoint.

    Args:
        folder: folder of the run.
    """
    module = MiniGroundingDino(grounding_dino_model())
    module.load_state_dict(load_weights(folder))
    return module.eval()
