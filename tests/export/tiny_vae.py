"""The arguments of a tiny `AutoencoderKL` with the published layout: four levels, an eighth of the side."""

VAE = {
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "block_out_channels": (8, 16, 16, 32),
    "layers_per_block": 1,
    "norm_num_groups": 2,
    "latent_channels": 4,
}
