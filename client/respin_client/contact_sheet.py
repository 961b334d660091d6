"""Captioned pictures on one page."""

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


def contact_sheet(
    pictures: Sequence[tuple[str, Image.Image]], *, columns: int = COLUMNS, tile_px: int = TILE_PX
) -> Image.Image:
    """Lay captioned pictures out in rows.

    Args:
        pictures: (caption, picture of any mode); transparency shows as a checkerboard.
        columns: number of pictures in a row.
        tile_px: side of a tile, px.

    Returns:
        The sheet, RGB; each picture is scaled to fit a square tile, with its proportions.
    """
    rows = math.ceil(len(pictures) / columns)
    across, down = tile_px + GAP_PX, tile_px + CAPTION_PX + GAP_PX
    sheet = Image.new("RGB", (columns * across + GAP_PX, rows * down + GAP_PX), PAPER)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=16)
    for index, (caption, picture) in enumerate(pictures):
        left = GAP_PX + index % columns * across
        top = GAP_PX + index // columns * down
        draw.text((left, top + 4), caption, INK, font)
        tile = _tile(picture, tile_px)
        sheet.paste(tile, (left + (tile_px - tile.width) // 2, top + CAPTION_PX + (tile_px - tile.height) // 2))
    return sheet


def _tile(picture: Image.Image, side: int) -> Image.Image:
    scale = side / max(picture.size)
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
