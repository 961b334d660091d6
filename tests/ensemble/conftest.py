"""Networks that remember what they were fed, and answer what a test wants to see used."""

from collections import defaultdict

import cv2
import numpy as np
import pytest

from respin.contracts.networks import QUERIES
from respin.model_set import Sizes
from respin_ensemble.batching.batchers import StepBatchers
from respin_ensemble.networks import BatchedNetworks

SMALL = Sizes(sam_side=256, view_side=64, inpaint_side=128, detection_short_side=160, detection_long_side=320)


class FakeNetworks(BatchedNetworks):
    """Ten networks of simple answers: one detection, a mask that fills its box, noise that is the latents' half."""

    def __init__(self, sizes=SMALL):
        super().__init__(sizes)
        self.fed = defaultdict(list)
        self.score = 0.9
        self.box = np.array([0.5, 0.5, 0.4, 0.6], np.float32)
        self.decoded = 0.25
        self.before_run = lambda spec: None

    def _run(self, spec, arrays):
        self.before_run(spec)
        self.fed[spec.name].append(arrays)
        return getattr(self, spec.name)(**arrays)

    def grounding_dino(self, image, **text):
        logits = np.full((len(image), QUERIES, 256), -np.inf, np.float32)
        logits[:, :, 1:3] = -4
        logits[:, 7, 1] = np.log(self.score / (1 - self.score))
        return {"logits": logits, "boxes": np.tile(self.box, (len(image), QUERIES, 1))}

    def sam_encoder(self, image):
        side = image.shape[-1] // 16
        return {"embedding": np.zeros((len(image), 256, side, side), np.float32)}

    def sam_decoder(self, embedding, box):
        side = embedding.shape[-1] * 4
        y, x = np.mgrid[:side, :side] * 4 + 2
        masks = np.full((len(box), 4, side, side), -5, np.float32)
        for sample, (x0, y0, x1, y1) in enumerate(box):
            inside = (x >= x0) & (x < x1) & (y >= y0) & (y < y1)
            masks[sample, 0][inside] = 5
            masks[sample, 2][inside & (x < (x0 + x1) / 2)] = 5
        return {"masks": masks, "predicted_iou": np.tile(np.array([0.1, 0.2, 0.9, 0.3], np.float32), (len(box), 1))}

    def clip_vision(self, image, camera):
        context = np.zeros((len(image), 1, 768), np.float32)
        context[:, 0, :4] = camera
        return {"context": context}

    def zero123_unet(self, latents, **conditions):
        return {"noise": latents / 2}

    def vae_encoder(self, image):
        small = np.stack(
            [cv2.resize(each[0], None, fx=1 / 8, fy=1 / 8, interpolation=cv2.INTER_AREA) for each in image]
        )
        mean = np.repeat(small[:, None], 4, axis=1)
        return {"mean": mean, "log_variance": np.full_like(mean, -30)}

    def vae_decoder(self, latents):
        shape = (len(latents), 3, latents.shape[2] * 8, latents.shape[3] * 8)
        return {"image": np.full(shape, self.decoded, np.float32)}

    def edsr(self, image):
        return {"upscaled": image.repeat(4, axis=2).repeat(4, axis=3)}

    def clip_text(self, input_ids):
        context = np.zeros((len(input_ids), 77, 768), np.float32)
        context[:, :, 0] = input_ids
        return {"context": context}

    def inpaint_unet(self, latents, **conditions):
        return {"noise": latents / 2}


@pytest.fixture
def networks():
    return FakeNetworks()


@pytest.fixture
def batchers(networks):
    with StepBatchers(networks) as running:
        yield running
