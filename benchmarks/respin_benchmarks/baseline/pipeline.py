"""The same job as one would write it by hand: PyTorch, diffusers and transformers, one stage after the other.

It shares with Respin the weights, the random numbers, and the geometry that is tested elsewhere (crops, pasting, which
box is taken); schedules, guidance, conditioning and everything else about the networks are the libraries' own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from diffusers import DDIMScheduler, StableDiffusionInpaintPipeline
from diffusers.image_processor import VaeImageProcessor
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from respin.contracts import NETWORKS
from respin.geometry import Box, Fit, Size, blend, cut, fit_longest_side, fit_within, lay
from respin.request import RotationRequest
from respin_benchmarks.baseline.library_parts import library_unet, library_vae
from respin_benchmarks.in_process.weights import Weights
from respin_ensemble.imaging.masks import dilate, drop_specks, feather_inside
from respin_ensemble.imaging.tensors import Mask, Picture
from respin_ensemble.networks.torch_networks import TorchNetworks
from respin_ensemble.pipeline.scene import segment_view
from respin_ensemble.stages.composition import paste
from respin_ensemble.stages.inpainting import FEATHER_SHARE, crop_around
from respin_ensemble.stages.novel_view import object_on_white
from respin_ensemble.stages.tokenization import prompt_ids
from respin_export.inference_modules import halve

SCALE = 0.18215
VIEW_STREAM, BACKGROUND_STREAM = 0, 1
"""Streams of the random numbers of one seed, the same as in `respin_ensemble`."""

PLAIN_HALVES = ("zero123_unet", "inpaint_unet", "vae_encoder", "vae_decoder")
"""Networks that the libraries' own pipeline casts as a whole."""

OnLatents = Callable[[str, Tensor], None]
"""Called with a UNet's name and the latents, (4, h, w), that it is given at each step."""


def ddim() -> DDIMScheduler:
    """The schedule that both models were published with."""
    return DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    )


class Baseline:
    """One photo after the other, the first view of each.

    Args:
        weights: weights of the ten networks.
        device: "cpu" or "cuda".
        half: compute in float16, which the CPU cannot.
        watch: sees the latents of every step.
    """

    def __init__(
        self, weights: Weights, *, device: str = "cpu", half: bool = False, watch: OnLatents = lambda *_: None
    ) -> None:
        self.sizes, self.device, self._watch = weights.sizes, device, watch
        self.dtype = torch.float16 if half else torch.float32
        self.networks: dict[str, Any] = {name: self._loaded(weights, name) for name in NETWORKS}
        self.vae = library_vae(self.networks["vae_encoder"], self.networks["vae_decoder"])
        self._seam = TorchNetworks(self.networks, weights.sizes, device=device)

    def _loaded(self, weights: Weights, name: str) -> nn.Module:
        module = weights.load(name).eval().requires_grad_(False)
        if self.dtype is torch.float16:
            module = module.half() if name in PLAIN_HALVES else halve(name, module)
        return module.to(self.device)

    @torch.inference_mode()
    def __call__(
        self, request: RotationRequest, photo: Picture, *, view_mask: Mask | None = None
    ) -> dict[str, Picture]:
        """Do the job of a request with a box and a view; return image, novel_view and background, (H, W, 3) uint8.

        Args:
            request: what is asked for.
            photo: (H, W, 3) uint8 RGB.
            view_mask: (1024, 1024) bool, the object in its view; None = it is looked for.
        """
        assert request.box is not None
        mask = drop_specks(self.mask(photo, request.box))
        picture, square = object_on_white(photo, mask, side=self.sizes.view_side, object_share=self.sizes.object_share)
        view = self.enlarged(self.view(picture, request))
        if view_mask is None:
            view_mask, _ = segment_view(self._seam, view, request)
        background = self.background(photo, dilate(mask, request.dilate_px), request)
        image = paste(background, view, view_mask, square=square, box=Box(*request.box), fit=request.fit)
        return {"image": image, "novel_view": view, "background": background}

    def mask(self, photo: Picture, box: Sequence[float]) -> Mask:
        """(H, W) bool: SAM's first mask, as its predictor enlarges it."""
        side = self.sizes.sam_side
        fit = fit_longest_side(Size.from_array(photo), side)
        size = (fit.fitted.width, fit.fitted.height)
        small = np.array(Image.fromarray(photo).resize(size, Image.Resampling.BILINEAR))
        mean, std = torch.tensor([123.675, 116.28, 103.53]), torch.tensor([58.395, 57.12, 57.375])
        image = ((torch.tensor(small) - mean) / std).permute(2, 0, 1)[None]
        padded = torch.nn.functional.pad(image, (0, side - size[0], 0, side - size[1])).to(self.device)
        embedding = self.networks["sam_encoder"](padded)
        corners = torch.tensor(fit.box_into(Box(*box)).to_array())[None].to(self.device)
        logits, _ = self.networks["sam_decoder"](embedding, corners)
        square = torch.nn.functional.interpolate(logits[:, :1], (side, side), mode="bilinear")
        inside = square[..., : size[1], : size[0]]
        found: Mask = (
            (torch.nn.functional.interpolate(inside, photo.shape[:2], mode="bilinear")[0, 0] > 0).cpu().numpy()
        )
        return found

    def view(self, picture: Picture, request: RotationRequest) -> Picture:
        """Zero123 as its own demo runs it, its schedule on diffusers' scheduler; (side, side, 3) uint8."""
        image = torch.tensor(picture).permute(2, 0, 1)[None] / 255.0 * 2 - 1
        context = self._view_context(image, request).to(self.dtype)
        condition = self.vae.encode(image.to(self.device, self.dtype)).latent_dist.mode()
        unet, scheduler = library_unet(self.networks["zero123_unet"], request.guidance), ddim()
        scheduler.set_timesteps(request.steps)
        stride = 1000 // request.steps
        timesteps = [level + 1 for level in range(0, 1000, stride)][:-1][::-1]
        generator = np.random.default_rng([request.seed, VIEW_STREAM, 0])
        latents = self._noise(generator, condition.shape[1:])
        conditions = torch.cat([0 * condition, condition])
        contexts = torch.cat([0 * context, context])
        for timestep in timesteps:
            self._watch("zero123_unet", latents[0])
            sample = torch.cat([latents.to(self.dtype).repeat(2, 1, 1, 1), conditions], 1)
            without, with_it = unet(sample, timestep, contexts, return_dict=False)[0].float().chunk(2)
            noise = without + request.guidance * (with_it - without)
            fresh = self._noise(generator, latents.shape[1:])
            latents = scheduler.step(noise, timestep, latents, eta=request.eta, variance_noise=fresh).prev_sample
        decoded = self.vae.decode((latents / SCALE).to(self.dtype)).sample[0].float()
        return _uint8(((decoded + 1) / 2).clamp(0, 1) * 255)

    def _view_context(self, image: Tensor, request: RotationRequest) -> Tensor:
        small = torch.nn.functional.interpolate(image, (224, 224), mode="bicubic", align_corners=True)
        mean = torch.tensor([0.48145466, 0.4578275, 0.40821073])[:, None, None]
        std = torch.tensor([0.26862954, 0.26130258, 0.27577711])[:, None, None]
        azimuth, polar = (torch.deg2rad(torch.tensor(each[0])) for each in (request.azimuth, request.polar))
        camera = torch.stack([polar, torch.sin(azimuth), torch.cos(azimuth), torch.tensor(0.0)])[None]
        pixels = ((small + 1) / 2 - mean) / std
        context: Tensor = self.networks["clip_vision"](pixels.to(self.device), camera.to(self.device))
        return context

    def enlarged(self, view: Picture) -> Picture:
        """Four times larger, (4h, 4w, 3) uint8."""
        upscaled = self.networks["edsr"](torch.tensor(view).permute(2, 0, 1)[None].float().to(self.device))
        return _uint8(upscaled[0].clamp(0, 255).round())

    def background(self, photo: Picture, hole: Mask, request: RotationRequest) -> Picture:
        """What the library's own inpainting pipeline makes of the crop that Respin works on; (H, W, 3) uint8."""
        place = crop_around(hole, Size.from_array(photo))
        crop, crop_hole = cut(photo, place, fill=0), cut(hole, place, fill=0)
        fit = fit_within(place.size, self.sizes.inpaint_side, 64)
        image, mask = _padded(crop, fit, "edge"), _padded(crop_hole.astype(np.uint8) * np.uint8(255), fit, "constant")
        painted = self._painted(image, mask, request)
        size = (place.width, place.height)
        whole = Image.fromarray(fit.remove_padding(np.asarray(painted))).resize(size, Image.Resampling.LANCZOS)
        alpha = feather_inside(crop_hole, request.dilate_px * FEATHER_SHARE)
        return lay(photo, blend(crop, np.asarray(whole), alpha), place)

    def _painted(self, image: Picture, mask: Picture, request: RotationRequest) -> Image.Image:
        height, width = image.shape[:2]
        generator = np.random.default_rng([request.seed, BACKGROUND_STREAM])
        masked = self._masked_latents(image, mask, generator)
        pipeline = StableDiffusionInpaintPipeline(
            vae=self.vae,
            text_encoder=self.networks["clip_text"].model,
            tokenizer=None,
            unet=library_unet(self.networks["inpaint_unet"], request.background_guidance),
            scheduler=ddim(),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
        pipeline.set_progress_bar_config(disable=True)
        noise = self._noise(generator, masked.shape[1:])
        self._watch("inpaint_unet", noise[0])
        painted: Image.Image = pipeline(
            prompt_embeds=self._context(request.background_prompt),
            negative_prompt_embeds=self._context(request.class_name),
            image=Image.fromarray(image),
            mask_image=Image.fromarray(mask),
            masked_image_latents=masked,
            height=height,
            width=width,
            latents=noise.to(self.dtype),
            num_inference_steps=request.background_steps,
            guidance_scale=request.background_guidance,
            callback_on_step_end=self._keep_latents,
        ).images[0]
        return painted

    def _keep_latents(
        self, _pipeline: Any, _step: int, _timestep: int, tensors: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        self._watch("inpaint_unet", tensors["latents"][0])
        return tensors

    def _masked_latents(self, image: Picture, mask: Picture, generator: np.random.Generator) -> Tensor:
        processor = VaeImageProcessor(vae_scale_factor=8)
        repaint = VaeImageProcessor(
            vae_scale_factor=8, do_normalize=False, do_binarize=True, do_convert_grayscale=True
        ).preprocess(Image.fromarray(mask))
        known = processor.preprocess(Image.fromarray(image)) * (repaint < 0.5)
        posterior = self.vae.encode(known.to(self.device, self.dtype)).latent_dist
        noise = self._noise(generator, posterior.mean.shape[1:]).to(self.dtype)
        latents: Tensor = SCALE * (posterior.mean + posterior.std * noise)
        return latents

    def _context(self, text: str) -> Tensor:
        ids = torch.from_numpy(prompt_ids(text)[0])[None].to(self.device)
        context: Tensor = self.networks["clip_text"].model(ids)[0].to(self.dtype)
        return context

    def _noise(self, generator: np.random.Generator, shape: Sequence[int]) -> Tensor:
        """(1, *shape) float32 of the generator's next numbers."""
        return torch.from_numpy(generator.standard_normal(shape, np.float32))[None].to(self.device)


def _uint8(image: Tensor) -> Picture:
    """(3, h, w) 0..255 to (h, w, 3) uint8, truncated."""
    pixels: Picture = image.permute(1, 2, 0).cpu().numpy().astype(np.uint8)
    return pixels


def _padded(picture: NDArray[np.uint8], fit: Fit, mode: Any) -> NDArray[np.uint8]:
    size = (fit.fitted.width, fit.fitted.height)
    small = np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.LANCZOS))
    below, right = fit.padded.height - fit.fitted.height, fit.padded.width - fit.fitted.width
    return np.pad(small, ((0, below), (0, right), *((0, 0),) * (small.ndim - 2)), mode=mode)
