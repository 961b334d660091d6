"""The five published checkpoints: their publishers, files, sizes and checksums.

Sizes and checksums are quoted, not measured here: the comment beside each names the source, and None means that no
source was found.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from respin.errors import InvalidInput

SHA256_DIGITS = 64
"""Number of hexadecimal digits of a SHA-256."""

DEFAULT_HUB = "https://huggingface.co"
"""Default endpoint of Hugging Face repositories; HF_ENDPOINT overrides it."""


@dataclass(frozen=True)
class WeightFile:
    """One file of a checkpoint.

    Args:
        path: path within the checkpoint's folder.
        size_bytes: size of the file; None = unknown.
        size_is_exact: False = the size is computed from the number of values, or rounded by its source.
        sha256: checksum in hex, or its first digits if no more are published; None = unknown.
        url: address of the file; None = it is in the variant's Hugging Face repository, under the same path.
    """

    path: str
    size_bytes: int | None = None
    size_is_exact: bool = True
    sha256: str | None = None
    url: str | None = None

    @property
    def is_weights(self) -> bool:
        """Whether the file holds weights, not a configuration."""
        return not self.path.endswith(".json")


@dataclass(frozen=True)
class Variant:
    """One form in which a checkpoint is published.

    Args:
        name: short name.
        summary: description in a few words.
        files: the files that loading needs.
        repository: owner/name on the Hugging Face Hub; None = every file has its own address.
        revision: commit of the repository.
    """

    name: str
    summary: str
    files: tuple[WeightFile, ...]
    repository: str | None = None
    revision: str = "main"

    def url(self, file: WeightFile, hub: str = DEFAULT_HUB) -> str:
        """Return the address of a file of the variant."""
        return file.url or f"{hub}/{self.repository}/resolve/{self.revision}/{file.path}"


@dataclass(frozen=True)
class PublishedCheckpoint:
    """A published checkpoint; its name is that of its folder in the weights folder."""

    name: str
    project: str
    licence: str
    variants: tuple[Variant, ...] = field(repr=False)


@dataclass(frozen=True)
class Chosen:
    """A checkpoint and the chosen variant."""

    checkpoint: PublishedCheckpoint
    variant: Variant

    @property
    def name(self) -> str:
        """Name on the command line, "checkpoint:variant"."""
        return f"{self.checkpoint.name}:{self.variant.name}"


def choose(name: str) -> Chosen:
    """Return the checkpoint and variant for 'name:variant', or the first variant for 'name'.

    Raises:
        InvalidInput: there is no such checkpoint, or no such variant of it.
    """
    checkpoint_name, _, variant_name = name.partition(":")
    if checkpoint_name not in CATALOGUE:
        raise InvalidInput(f"no checkpoint '{checkpoint_name}'; there are {', '.join(CATALOGUE)}")
    checkpoint = CATALOGUE[checkpoint_name]
    by_name = {variant.name: variant for variant in checkpoint.variants}
    if variant_name and variant_name not in by_name:
        raise InvalidInput(f"{checkpoint_name} has no variant '{variant_name}'; it has {', '.join(by_name)}")
    return Chosen(checkpoint, by_name[variant_name] if variant_name else checkpoint.variants[0])


_INPAINTING = "stable-diffusion-v1-5/stable-diffusion-inpainting"
# Quoted as that repository's commit by several public projects that pin it.
_INPAINTING_REVISION = "8a4288a76071f7280aedbdb3253bdb9e9d5d84bb"

_GROUNDING_DINO = PublishedCheckpoint(
    "grounding_dino",
    "https://github.com/IDEA-Research/GroundingDINO",
    "Apache-2.0",
    (
        Variant(
            "original",
            "the authors' file",
            (
                # Size and SHA-256: quoted alike by public projects that pin this file, from the Hub and from the
                # authors' release v0.1.0-alpha on GitHub.
                WeightFile(
                    "groundingdino_swint_ogc.pth",
                    693_997_677,
                    sha256="3b3ca2563c77c69f651d7bd133e97139c186df06231157a64c507099c52bc799",
                ),
            ),
            "ShilongLiu/GroundingDINO",
            "a94c9b567a2a374598f05c584e96798a170c56fb",
        ),
        Variant(
            "transformers",
            "the same weights in Hugging Face's form",
            (
                WeightFile("config.json"),
                # Size and SHA-256: quoted alike by public projects that pin this revision.
                WeightFile(
                    "model.safetensors",
                    689_359_096,
                    sha256="1a2412ef99bd74bcd3c2a246fa1e48581f8889a1300c9051974741314fc042f3",
                ),
            ),
            "IDEA-Research/grounding-dino-tiny",
            "a2bb814dd30d776dcf7e30523b00659f4f141c71",
        ),
    ),
)

_SAM = PublishedCheckpoint(
    "sam",
    "https://github.com/facebookresearch/segment-anything",
    "Apache-2.0",
    (
        Variant(
            "original",
            "ViT-L",
            (
                # The digits in this name begin the file's MD5 (0b3195507c641ddb6910d2bb5adee89c, as IOPaint's model
                # list has it), not its SHA-256. SHA-256: computational-cell-analytics/micro-sam, micro_sam/util.py,
                # and the Slicer extension for SAM. Size: a public model list that has the same SHA-256.
                WeightFile(
                    "sam_vit_l_0b3195.pth",
                    1_249_524_607,
                    sha256="3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622",
                    url="https://dl.fbaipublicfiles.com/segment_anything/sam_vit_l_0b3195.pth",
                ),
            ),
        ),
    ),
)

_ZERO123 = PublishedCheckpoint(
    "zero123",
    "https://github.com/cvlab-columbia/zero123",
    "MIT for the repository; none is stated for these weights",
    (
        Variant(
            "original",
            "Zero123-XL, Lightning's checkpoint with EMA and optimizer state",
            (
                # Address: the README's; the authors' repository on the Hub was seen with the older 105000.ckpt and
                # 165000.ckpt alone. No checksum is published. Size: 4 bytes for each value and each of Adam's two
                # moments, as rounded in a public list.
                WeightFile(
                    "zero123-xl.ckpt",
                    15_500_000_000,
                    size_is_exact=False,
                    url="https://zero123.cs.columbia.edu/assets/zero123-xl.ckpt",
                ),
            ),
        ),
    ),
)

_EDSR_MODELS = "https://cv.snu.ac.kr/research/EDSR/models"
_EDSR = PublishedCheckpoint(
    "edsr",
    "https://github.com/sanghyun-son/EDSR-PyTorch",
    "MIT",
    (
        # The repository loads both by torch.utils.model_zoo.load_url, whose convention is that a name ends in the
        # first eight or more digits of the file's SHA-256. Sizes: 4 bytes for each value.
        Variant(
            "full",
            "32 blocks of 256 channels, as in the paper",
            (
                WeightFile(
                    "edsr_x4-4f62e9ef.pt",
                    172_400_000,
                    size_is_exact=False,
                    sha256="4f62e9ef",
                    url=f"{_EDSR_MODELS}/edsr_x4-4f62e9ef.pt",
                ),
            ),
        ),
        Variant(
            "baseline",
            "16 blocks of 64 channels",
            (
                WeightFile(
                    "edsr_baseline_x4-6b446fab.pt",
                    6_070_000,
                    size_is_exact=False,
                    sha256="6b446fab",
                    url=f"{_EDSR_MODELS}/edsr_baseline_x4-6b446fab.pt",
                ),
            ),
        ),
    ),
)


def _diffusers_files(unet: str, vae: str, text_encoder: str, bytes_each: int) -> tuple[WeightFile, ...]:
    """Return the files of a pipeline; their sizes are computed, their checksums are only on the Hub."""

    def weights(path: str, values: int) -> WeightFile:
        return WeightFile(path, bytes_each * values, size_is_exact=False)

    return (
        WeightFile("model_index.json"),
        WeightFile("scheduler/scheduler_config.json"),
        WeightFile("text_encoder/config.json"),
        weights(f"text_encoder/{text_encoder}", 123_060_000),
        WeightFile("unet/config.json"),
        weights(f"unet/{unet}", 859_540_000),
        WeightFile("vae/config.json"),
        weights(f"vae/{vae}", 83_650_000),
    )


_INPAINT = PublishedCheckpoint(
    "inpaint",
    f"https://huggingface.co/{_INPAINTING}",
    "CreativeML Open RAIL-M (use restrictions apply)",
    (
        Variant(
            "diffusers",
            "diffusers' folder, float32",
            _diffusers_files("diffusion_pytorch_model.bin", "diffusion_pytorch_model.bin", "pytorch_model.bin", 4),
            _INPAINTING,
            _INPAINTING_REVISION,
        ),
        Variant(
            "fp16",
            "diffusers' folder, float16 safetensors",
            _diffusers_files(
                "diffusion_pytorch_model.fp16.safetensors",
                "diffusion_pytorch_model.fp16.safetensors",
                "model.fp16.safetensors",
                2,
            ),
            _INPAINTING,
            _INPAINTING_REVISION,
        ),
        Variant(
            "ckpt",
            "the authors' single file, float32",
            (
                # Size and SHA-256: the file's Git LFS pointer on the Hub, quoted alike by several public projects.
                WeightFile(
                    "sd-v1-5-inpainting.ckpt",
                    4_265_437_280,
                    sha256="c6bbc15e3224e6973459ba78de4998b80b50112b0ae5b5c67113d56b4e366b19",
                ),
            ),
            _INPAINTING,
            _INPAINTING_REVISION,
        ),
    ),
)

CATALOGUE: dict[str, PublishedCheckpoint] = {
    checkpoint.name: checkpoint for checkpoint in (_GROUNDING_DINO, _SAM, _ZERO123, _EDSR, _INPAINT)
}
"""The published checkpoints by name."""
