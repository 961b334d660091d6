"""The inpainting networks by the libraries that they were published for: diffusers, transformers.

There is no other original of this layout. The comparison shows that our loaders fill the same classes with the same
tensors, and that guidance inside the network equals the pipeline's.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
from diffusers import UNet2DConditionModel
from transformers import CLIPTextModel

from respin.contracts import NETWORKS
from respin.model_set import Sizes
from respin.specs import Array
from respin_export.example import example_inputs, example_lengths
from respin_export.half_parity import inputs_without_amplification
from respin_export.originals.case import Case

SEED = 7


def cases(weights: Path, network: str) -> Iterator[Case]:
    """Yield calls with the outputs of the libraries for the checkpoint in a weights folder.

    Args:
        weights: folder with a diffusers folder of Stable Diffusion inpainting.
        network: `clip_text` or `inpaint_unet`.
    """
    spec = NETWORKS[network]
    example = example_inputs(spec, Sizes(), batch=2, lengths=example_lengths(spec, Sizes(), (0.1, 0.3)), seed=SEED)
    calls = {"the library's own loader": example}
    if "guidance" in example:
        calls["the library's own loader, not amplified"] = inputs_without_amplification(example)
    compute = _text if network == "clip_text" else _guided_noise
    for name, inputs in calls.items():
        with torch.inference_mode():
            wanted = compute(weights / "inpaint", {name: torch.from_numpy(array) for name, array in inputs.items()})
        yield Case(network, name, inputs, {spec.outputs[0].name: wanted})


def _text(folder: Path, inputs: dict[str, torch.Tensor]) -> Array:
    model = CLIPTextModel.from_pretrained(folder / "text_encoder", local_files_only=True).eval()
    context: Array = model(inputs["input_ids"])[0].numpy()
    return context


def _guided_noise(folder: Path, inputs: dict[str, torch.Tensor]) -> Array:
    """Guide one sample after the other as in pipeline_stable_diffusion_inpaint.py: the negative prompt first."""
    unet = UNet2DConditionModel.from_pretrained(folder / "unet", local_files_only=True, use_safetensors=False).eval()
    noises = []
    for sample in range(len(inputs["latents"])):
        one = {name: tensor[sample : sample + 1] for name, tensor in inputs.items()}
        latents = torch.cat([one["latents"], one["mask"], one["masked_image_latents"]], dim=1)
        negative_first = one["contexts"][0].flip(0)
        negative, positive = unet(latents.repeat(2, 1, 1, 1), one["timestep"][0], negative_first).sample.chunk(2)
        noises.append(negative + one["guidance"] * (positive - negative))
    stacked: Array = torch.cat(noises).numpy()
    return stacked
