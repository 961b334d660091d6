"""What a job made, on one page."""

from __future__ import annotations

import math
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

TILE_PX = 360
GAP_PX = 16
CAPTION_PX = 28
COLUMNS = 3
CHECK_PX = 12
PAPER, INK = (246, 246, 244), (40, 40, 40)


def contact_sheet(pictures: Sequence[tuple[str, Image.Image]], *, columns: int = COLUMNS) -> Image.Image:
    """Lay captioned pictures out in rows.

    Args:
        pictures: (caption, picture of any mode); transparency shows as a checkerboard.
        columns: how many pictures a row has.

    Returns:
        RGB; each picture is scaled to fit a tile of 360 x 360 px, its proportions kept.
    """
    rows = math.ceil(len(pictures) / columns)
    across, down = TILE_PX + GAP_PX, TILE_PX + CAPTION_PX + GAP_PX
    sheet = Image.new("RGB", (columns * across + GAP_PX, rows * down + GAP_PX), PAPER)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=16)
    for index, (caption, picture) in enumerate(pictures):
        left = GAP_PX + index % columns * across
        top = GAP_PX + index // columns * down
        draw.text((left, top + 4), caption, INK, font)
        tile = _tile(picture)
        sheet.paste(tile, (left + (TILE_PX - tile.width) // 2, top + CAPTION_PX + (TILE_PX - tile.height) // 2))
    return sheet


def _tile(picture: Image.Image) -> Image.Image:
    scale = TILE_PX / max(picture.size)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    scaled = picture.convert("RGBA").resize(size, Image.Resampling.LANCZOS)
    ground = _checkerboard(size)
    ground.alpha_composite(scaled)
    return ground.convert("RGB")


def _checkerboard(size: tuple[int, int]) -> Image.Image:
    board = Image.new("RGBA", size, "white")
    draw = ImageDraw.Draw(board)
    for y in range(0, size[1], CHECK_PX):
        for x in range(y // CHECK_PX % 2 * CHECK_PX, size[0], 2 * CHECK_PX):
            draw.rectangle((x, y, x + CHECK_PX - 1, y + CHECK_PX - 1), "lightgrey")
    return board
