"""Drawn objects on grounds of all sorts, so that SAM learns edges and not only the rooms and furniture of the renderer.

An object is a few smooth shapes, often a cup with its opening and its handle; each shape has a colour, a gradient and
a grain. Some objects stand on a plate, and other shapes are around them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from respin.specs import Array

SUPERSAMPLING = 2
"""Drawn pixels per pixel, along each axis."""

CUPS = 0.35
"""Share of the objects that are cups."""

Points = NDArray[np.float64]
Coverage = NDArray[np.float32]
"""Coverage of each pixel by a shape, (H, W), 0..1."""


@dataclass(frozen=True)
class _Sheet:
    """A canvas for shapes.

    Args:
        height: height of the canvas, px.
        width: width of the canvas, px.
        generator: source of randomness.
    """

    height: int
    width: int
    generator: np.random.Generator

    def fill_polygon(self, *outlines: Points) -> Coverage:
        """Return the coverage of the union of polygons, each (N, 2) of (x, y) px."""
        return self._drawn([(outline, 1) for outline in outlines])

    def ring(self, outer: Points, inner: Points) -> Coverage:
        """Return the coverage of the area between two outlines."""
        return self._drawn([(outer, 1), (inner, 0)])

    def _drawn(self, outlines: list[tuple[Points, int]]) -> Coverage:
        image = Image.new("L", (self.width * SUPERSAMPLING, self.height * SUPERSAMPLING))
        draw = ImageDraw.Draw(image)
        for outline, value in outlines:
            draw.polygon([(x, y) for x, y in (outline * SUPERSAMPLING).tolist()], fill=255 * value)
        return np.asarray(image.reduce(SUPERSAMPLING), np.float32) / 255

    def paint(self, colour: Array) -> NDArray[np.float32]:
        """Draw a surface of about one colour, (H, W, 3) in 0..255: a gradient, a highlight, a grain."""
        uniform = self.generator.uniform
        rows = np.linspace(-1, 1, self.height, dtype=np.float32)[:, None]
        columns = np.linspace(-1, 1, self.width, dtype=np.float32)[None]
        light = 1 + uniform(-0.6, 0.6) * rows + uniform(-0.6, 0.6) * columns
        if self.generator.random() < 0.4:
            light = light + uniform(-0.4, 0.4) * smooth_noise(self.height, self.width, self.generator)
        surface = colour * light[..., None]
        if self.generator.random() < 0.4:
            x, y, sharpness = uniform(-0.6, 0.6), uniform(-0.6, 0.6), uniform(20, 300)
            highlight = np.exp(-sharpness * ((rows - y) ** 2 + (columns - x) ** 2))
            surface = surface + (255 - surface) * uniform(0.3, 1) * highlight[..., None]
        return np.asarray(surface, np.float32)


def draw_composite(ground: Array, generator: np.random.Generator) -> tuple[Array, Array]:
    """Draw an object on a ground.

    Args:
        ground: (H, W, 3) uint8.
        generator: source of randomness.

    Returns:
        picture (H, W, 3) uint8 and mask (H, W) bool of the object.
    """
    height, width = ground.shape[:2]
    sheet = _Sheet(height, width, generator)
    radius = min(height, width) * generator.uniform(0.18, 0.42)
    centre = np.array([width * generator.uniform(0.3, 0.7), height * generator.uniform(0.35, 0.65)])
    colour = generator.uniform(15, 245, 3)
    picture = ground.astype(np.float32)
    for _ in range(generator.integers(3)):
        place = np.array([generator.uniform(0, width), generator.uniform(0, height)])
        other = sheet.fill_polygon(blob(place, radius * generator.uniform(0.2, 0.7), generator))
        picture = lay_over(picture, other, sheet.paint(generator.uniform(15, 245, 3)))
    make = _cup if generator.random() < CUPS else _pile
    shapes = make(sheet, centre, radius, colour)
    union = np.maximum.reduce([coverage for coverage, _ in shapes])
    if generator.random() < 0.4:
        own = colour if generator.random() < 0.5 else generator.uniform(15, 245, 3)
        across = radius * generator.uniform(1.1, 1.6)
        plate = ellipse(_moved(centre, 0, 0.4 * radius), across, across * generator.uniform(0.5, 0.9), 0.0)
        picture = lay_over(picture, sheet.fill_polygon(plate), sheet.paint(own))
    picture = lay_over(picture, _shadow(union, radius, generator), np.zeros_like(picture))
    for coverage, surface in shapes:
        picture = lay_over(picture, coverage, surface)
    return np.asarray(picture.clip(0, 255), np.uint8), union > 0.5


def lay_over(picture: Array, coverage: Array, surface: Array) -> NDArray[np.float32]:
    """Blend a surface over a picture, (H, W, 3) both, by the coverage (H, W)."""
    return np.asarray(picture + (surface - picture) * coverage[..., None], np.float32)


def _pile(sheet: _Sheet, centre: Points, radius: float, colour: Array) -> list[tuple[Coverage, Array]]:
    """Draw one to four shapes that touch, of related colours or not, some of them with a hole."""
    generator = sheet.generator
    shapes = []
    for index in range(generator.integers(1, 5)):
        place = centre if index == 0 else centre + generator.uniform(-0.6, 0.6, 2) * radius
        size = radius if index == 0 else radius * generator.uniform(0.25, 0.7)
        outline = blob(place, size, generator)
        if generator.random() < 0.12:
            coverage = sheet.ring(outline, place + (outline - place) * generator.uniform(0.3, 0.6))
        else:
            coverage = sheet.fill_polygon(outline)
        own = colour * generator.uniform(0.6, 1.3) if generator.random() < 0.6 else generator.uniform(15, 245, 3)
        shapes.append((coverage, sheet.paint(own)))
    return shapes


def _cup(sheet: _Sheet, centre: Points, radius: float, colour: Array) -> list[tuple[Coverage, Array]]:
    """Draw a cup: a body, an opening with a rim and something in it, a handle."""
    uniform, generator = sheet.generator.uniform, sheet.generator
    flat, height = uniform(0.25, 0.8), radius * uniform(0.5, 1.3)
    top, bottom = _moved(centre, 0, -height / 2), _moved(centre, 0, height / 2)
    narrow = uniform(0.5, 1.0)
    opening = ellipse(top, radius, flat * radius, 0.0)
    base = ellipse(bottom, radius * narrow, flat * radius * narrow, 0.0)
    ends = ((top, -radius), (top, radius), (bottom, radius * narrow), (bottom, -radius * narrow))
    sides = np.array([_moved(middle, across, 0) for middle, across in ends])
    inside = np.array([235.0, 230, 222]) if generator.random() < 0.6 else generator.uniform(15, 245, 3)
    shapes = []
    if generator.random() < 0.8:
        angle, size = uniform(0, np.pi), radius * uniform(0.3, 0.5)
        place = _moved(centre, np.cos(angle) * radius, np.sin(angle) * radius * 0.7)
        wide = size * uniform(0.6, 1.0)
        handle = sheet.ring(ellipse(place, wide, size, angle), ellipse(place, wide * 0.55, size * 0.55, angle))
        shapes.append((handle, sheet.paint(colour * uniform(0.8, 1.1))))
    shapes.append((sheet.fill_polygon(opening, base, sides), sheet.paint(colour)))
    rim = uniform(0.8, 0.97)
    shapes.append((sheet.fill_polygon(opening), sheet.paint(inside)))
    shapes.append((sheet.fill_polygon(ellipse(top, radius * rim, flat * radius * rim, 0.0)), sheet.paint(inside * 0.9)))
    if generator.random() < 0.6:
        level = _moved(top, 0, radius * flat * uniform(0.0, 0.35))
        liquid = ellipse(level, radius * rim * 0.7, flat * radius * rim * 0.6, 0.0)
        shapes.append((sheet.fill_polygon(liquid), sheet.paint(generator.uniform(15, 220, 3))))
    return shapes


def _shadow(union: Coverage, radius: float, generator: np.random.Generator) -> Coverage:
    """Return the soft shadow of an object, beside it: shares of black."""
    image = Image.fromarray((union * 255).astype(np.uint8))
    soft = image.filter(ImageFilter.GaussianBlur(radius * generator.uniform(0.04, 0.2)))
    moved = np.roll(np.asarray(soft, np.float32), (generator.uniform(-0.2, 0.3, 2) * radius).astype(int), (0, 1))
    return moved / 255 * generator.uniform(0, 0.6)


def _moved(point: Points, right: float, down: float) -> Points:
    return np.asarray(point + np.array([right, down]))


def ellipse(centre: Points, across: float, down: float, turned: float) -> Points:
    """Return the outline of an ellipse with half axes in px, turned by an angle in radians: (48, 2)."""
    angle = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    points = np.stack([across * np.cos(angle), down * np.sin(angle)], axis=1)
    cosine, sine = np.cos(turned), np.sin(turned)
    return np.asarray(centre + points @ np.array([[cosine, sine], [-sine, cosine]]))


def blob(centre: Points, radius: float, generator: np.random.Generator) -> Points:
    """Draw the outline of a random shape of about a radius in px: a polygon or a smooth curve, stretched and turned."""
    if generator.random() < 0.5:
        angle = np.sort(generator.uniform(0, 2 * np.pi, generator.integers(3, 8)))
        distance = generator.uniform(0.6, 1, len(angle))
    else:
        angle = np.linspace(0, 2 * np.pi, 64, endpoint=False)
        waves = [
            generator.uniform(0, 0.25) / order * np.cos(order * angle + generator.uniform(0, 2 * np.pi))
            for order in (2, 3, 4, 5)
        ]
        distance = 0.8 + np.sum(waves, axis=0)
    points = np.stack([np.cos(angle), np.sin(angle)], axis=1) * distance[:, None]
    turned = generator.uniform(0, np.pi)
    axis = np.array([np.cos(turned), np.sin(turned)])
    # Shrunk along one axis, so that some shapes are long.
    points = points - np.outer(points @ axis, axis) * generator.uniform(0, 0.7)
    return np.asarray(centre + radius * points)


def draw_texture(height: int, width: int, generator: np.random.Generator) -> Array:
    """Draw a ground: two colours mixed by noise that may be stretched like the grain of wood, (H, W, 3) uint8."""
    first, second = generator.uniform(10, 245, (2, 3))
    second = first + (second - first) * generator.uniform(0.05, 1)
    stretch = generator.choice([1, 1, 8])
    noise = smooth_noise(height, width, generator, stretch=int(stretch))
    share = np.clip(0.5 + 0.35 * noise, 0, 1)[..., None]
    picture = first + (second - first) * share + generator.normal(0, generator.uniform(0, 8), (height, width, 1))
    return np.asarray(picture.clip(0, 255), np.uint8)


def smooth_noise(height: int, width: int, generator: np.random.Generator, stretch: int = 1) -> NDArray[np.float32]:
    """Draw noise of about unit variance in two octaves, (H, W), its features `stretch` times longer one way."""
    total = np.zeros((height, width), np.float32)
    cells = int(generator.integers(2, 24))
    for octave, weight in ((cells, 0.8), (4 * cells, 0.6)):
        shape = (octave, max(2, octave // stretch))
        shape = shape if generator.random() < 0.5 else shape[::-1]
        coarse = Image.fromarray(generator.normal(0, 1, shape).astype(np.float32))
        total += weight * np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC))
    return total
