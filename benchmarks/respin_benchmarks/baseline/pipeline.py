"""The same job as one would write it by hand: PyTorch, diffusers and transformers, one photo after the other.

It shares with Respin the weights, the random numbers, and the geometry that is tested elsewhere (crops and pasting);
schedules, guidance, conditioning and everything else about the networks are the libraries' own.
"""

import numpy as np
import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionInpaintPipeline
from diffusers.image_processor import VaeImageProcessor
from PIL import Image

from respin.geometry import Box, Size, blend, cut, fit_longest_side, fit_within, lay
from respin_ensemble.composition import paste
from respin_ensemble.inpainting import FEATHER_SHARE, crop_around
from respin_ensemble.masks import feathered_inside, grow
from respin_ensemble.novel_view import object_on_white
from respin_ensemble.tokens import prompt_ids
from respin_export.mini.networks import SIZES, VAE, build

SCALE = 0.18215


def ddim() -> DDIMScheduler:
    return DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    )


def torch_noise(generator: np.random.Generator, shape) -> torch.Tensor:
    return torch.from_numpy(generator.standard_normal(shape, np.float32))


class PlainPipeline:
    """One photo after the other; `latents` keeps those of every step by the UNet's name."""

    def __init__(self):
        self.networks = {
            name: build(name)
            for name in (
                "sam_encoder",
                "sam_decoder",
                "clip_vision",
                "clip_text",
                "zero123_unet",
                "inpaint_unet",
                "vae_encoder",
                "vae_decoder",
                "edsr",
            )
        }
        self.vae = AutoencoderKL(**VAE).eval()
        encoder, decoder = self.networks["vae_encoder"], self.networks["vae_decoder"]
        self.vae.encoder, self.vae.quant_conv = encoder.encoder, encoder.quant_conv
        self.vae.decoder, self.vae.post_quant_conv = decoder.decoder, decoder.post_quant_conv
        self.latents = {"zero123_unet": [], "inpaint_unet": []}

    @torch.no_grad()
    def __call__(self, request, photo, *, view_mask):
        """The composite of the first view.

        Args:
            request: with a box.
            photo: (H, W, 3) uint8.
            view_mask: (1024, 1024) bool: the object in its view.
        """
        mask = self.mask(photo, request.box)
        picture, square = object_on_white(photo, mask, side=SIZES.view_side, object_share=SIZES.object_share)
        background = self.background(photo, grow(mask, request.dilate_px), request)
        view = self.enlarged(self.view(picture, request))
        return paste(background, view, view_mask, square=square, box=Box(*request.box), fit=request.fit)

    def mask(self, photo, box):
        fit = fit_longest_side(Size.of(photo), SIZES.sam_side)
        size = (fit.fitted.width, fit.fitted.height)
        small = np.asarray(Image.fromarray(photo).resize(size, Image.Resampling.BILINEAR))
        mean, std = torch.tensor([123.675, 116.28, 103.53]), torch.tensor([58.395, 57.12, 57.375])
        image = ((torch.tensor(small) - mean) / std).permute(2, 0, 1)[None]
        below, right = SIZES.sam_side - size[1], SIZES.sam_side - size[0]
        embedding = self.networks["sam_encoder"](torch.nn.functional.pad(image, (0, right, 0, below)))
        corners = torch.tensor(fit.box_into(Box(*box)).to_array())[None]
        logits, _ = self.networks["sam_decoder"](embedding, corners)
        square = torch.nn.functional.interpolate(logits[:, :1], (SIZES.sam_side,) * 2, mode="bilinear")
        inside = square[..., : size[1], : size[0]]
        return (torch.nn.functional.interpolate(inside, photo.shape[:2], mode="bilinear")[0, 0] > 0).numpy()

    def view(self, picture, request):
        """Zero123 as its own demo runs it, its schedule on diffusers' scheduler."""
        image = torch.tensor(picture).permute(2, 0, 1)[None] / 255.0 * 2 - 1
        small = torch.nn.functional.interpolate(image, (224, 224), mode="bicubic", align_corners=True)
        mean = torch.tensor([0.48145466, 0.4578275, 0.40821073])[:, None, None]
        std = torch.tensor([0.26862954, 0.26130258, 0.27577711])[:, None, None]
        azimuth, polar = (torch.deg2rad(torch.tensor(each[0])) for each in (request.azimuth, request.polar))
        camera = torch.stack([polar, torch.sin(azimuth), torch.cos(azimuth), torch.tensor(0.0)])[None]
        context = self.networks["clip_vision"](((small + 1) / 2 - mean) / std, camera)
        condition = self.vae.encode(image).latent_dist.mode()
        unet, scheduler = self.networks["zero123_unet"].unet, ddim()
        scheduler.set_timesteps(request.steps)
        stride = 1000 // request.steps
        timesteps = [level + 1 for level in range(0, 1000, stride)][:-1][::-1]
        generator = np.random.default_rng([request.seed, 0, 0])
        latents = torch_noise(generator, condition.shape[1:])[None]
        for timestep in timesteps:
            self.latents["zero123_unet"].append(latents[0].numpy())
            without = unet(torch.cat([latents, 0 * condition], 1), timestep, 0 * context).sample
            with_it = unet(torch.cat([latents, condition], 1), timestep, context).sample
            noise = without + request.guidance * (with_it - without)
            fresh = torch_noise(generator, latents.shape[1:])[None]
            latents = scheduler.step(noise, timestep, latents, eta=request.eta, variance_noise=fresh).prev_sample
        decoded = self.vae.decode(latents / SCALE).sample[0]
        return (((decoded + 1) / 2).clamp(0, 1) * 255).permute(1, 2, 0).numpy().astype(np.uint8)

    def enlarged(self, view):
        upscaled = self.networks["edsr"](torch.tensor(view).permute(2, 0, 1)[None].float())
        return upscaled[0].clamp(0, 255).round().permute(1, 2, 0).numpy().astype(np.uint8)

    def background(self, photo, hole, request):
        """diffusers' own inpainting pipeline, on the crop that Respin works on."""
        place = crop_around(hole, Size.of(photo))
        crop, crop_hole = cut(photo, place, fill=0), cut(hole, place, fill=0)
        fit = fit_within(place.size, SIZES.inpaint_side, 64)
        image, mask = padded(crop, fit, "edge"), padded(crop_hole.astype(np.uint8) * 255, fit, "constant")
        height, width = image.shape[:2]
        generator = np.random.default_rng([request.seed, 1])
        masked = self.masked_latents(image, mask, generator)
        pipeline = StableDiffusionInpaintPipeline(
            vae=self.vae,
            text_encoder=self.networks["clip_text"].model,
            tokenizer=None,
            unet=self.networks["inpaint_unet"].unet,
            scheduler=ddim(),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
        pipeline.set_progress_bar_config(disable=True)
        noise = torch_noise(generator, masked.shape[1:])[None]
        self.latents["inpaint_unet"].append(noise[0].numpy())
        painted = pipeline(
            prompt_embeds=self.context(request.background_prompt),
            negative_prompt_embeds=self.context(request.class_name),
            image=Image.fromarray(image),
            mask_image=Image.fromarray(mask),
            masked_image_latents=masked,
            height=height,
            width=width,
            latents=noise,
            num_inference_steps=request.background_steps,
            guidance_scale=request.background_guidance,
            callback_on_step_end=self.keep_latents,
        ).images[0]
        size = (place.width, place.height)
        whole = Image.fromarray(fit.unpadded(np.asarray(painted))).resize(size, Image.Resampling.LANCZOS)
        alpha = feathered_inside(crop_hole, request.dilate_px * FEATHER_SHARE)
        return lay(photo, blend(crop, np.asarray(whole), alpha), place)

    def keep_latents(self, pipeline, step, timestep, tensors):
        self.latents["inpaint_unet"].append(tensors["latents"][0].numpy())
        return tensors

    def masked_latents(self, image, mask, generator):
        processor = VaeImageProcessor(vae_scale_factor=8)
        repaint = VaeImageProcessor(
            vae_scale_factor=8, do_normalize=False, do_binarize=True, do_convert_grayscale=True
        ).preprocess(Image.fromarray(mask))
        posterior = self.vae.encode(processor.preprocess(Image.fromarray(image)) * (repaint < 0.5)).latent_dist
        return SCALE * (posterior.mean + posterior.std * torch_noise(generator, posterior.mean.shape[1:]))

    def context(self, text):
        return self.networks["clip_text"].model(torch.from_numpy(prompt_ids(text)[0])[None])[0]


def padded(picture, fit, mode):
    size = (fit.fitted.width, fit.fitted.height)
    small = np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.LANCZOS))
    below, right = fit.padded.height - fit.fitted.height, fit.padded.width - fit.fitted.width
    return np.pad(small, ((0, below), (0, right), *((0, 0),) * (small.ndim - 2)), mode=mode)
