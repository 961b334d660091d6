"""Furniture-like objects of random proportions and colours, whose front differs from their back and sides.

Each builder makes an object that faces positive x; `make_object` scales it to fit the unit sphere. Lengths in a builder
are in units of about half a metre.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from respin.scenes.solids import Colour, Mesh, box, bright_colour, frustum, join, tilt

DARK = np.array([45.0, 42.0, 45.0])
"""RGB of keyboards and feet."""


def make_object(kind: str, generator: np.random.Generator) -> Mesh:
    """Make an object of a kind, its bounding box centred on the origin and inside the unit sphere.

    Args:
        kind: one of `KINDS`.
        generator: source of proportions and colours.
    """
    colour = bright_colour(generator)
    second = bright_colour(generator) if generator.random() < 0.5 else colour * generator.uniform(0.5, 0.8)
    mesh = _BUILDERS[kind](generator, colour, second)
    low, high = mesh.corners.min(axis=0), mesh.corners.max(axis=0)
    return mesh.translate(-(low + high) / 2).scale(2 / float(np.linalg.norm(high - low)))


def _chair(generator: np.random.Generator, colour: Colour, second: Colour) -> Mesh:
    uniform = generator.uniform
    width, depth, seat, back = uniform(0.8, 1.1), uniform(0.8, 1.1), uniform(0.75, 1.0), uniform(0.8, 1.2)
    thick, leg = uniform(0.1, 0.18), uniform(0.14, 0.2)
    x0, x1, y0, y1 = -depth / 2, depth / 2, -width / 2, width / 2
    parts = [box((x0, x1), (y0, y1), (seat - thick, seat), colour)]
    parts += [
        box((x, x + leg), (y, y + leg), (0, seat - thick), second) for x in (x0, x1 - leg) for y in (y0, y1 - leg)
    ]
    if generator.random() < 0.5:
        parts.append(box((x0, x0 + 0.12), (y0, y1), (seat, seat + back), colour))
    else:
        parts.append(box((x0, x0 + 0.12), (y0, y1), (seat + back - 0.4, seat + back), colour))
        parts += [box((x0, x0 + 0.12), (y, y + leg), (seat, seat + back - 0.4), second) for y in (y0, y1 - leg)]
    return join(parts)


def _sofa(generator: np.random.Generator, colour: Colour, second: Colour) -> Mesh:
    uniform = generator.uniform
    width, depth, seat, back = uniform(1.8, 2.5), uniform(0.9, 1.1), uniform(0.35, 0.45), uniform(0.45, 0.65)
    arm, rest, foot = uniform(0.18, 0.3), uniform(0.2, 0.3), 0.1
    x0, x1, y0, y1 = -depth / 2, depth / 2, -width / 2, width / 2
    parts = [
        box((x0, x1), (y0, y1), (foot, seat), colour),
        box((x0, x0 + 0.28), (y0, y1), (seat, seat + back), colour),
        *(box((x0 + 0.28, x1), (y, y + arm), (seat, seat + rest), colour) for y in (y0, y1 - arm)),
        *(
            box((x, x + 0.1), (y, y + 0.1), (0, foot), DARK)
            for x in (x0 + 0.05, x1 - 0.15)
            for y in (y0 + 0.05, y1 - 0.15)
        ),
    ]
    cushions = int(generator.integers(2, 4))
    step = (width - 2 * arm) / cushions
    for index in range(cushions):
        left = y0 + arm + index * step
        parts.append(box((x0 + 0.28, x1 + 0.03), (left + 0.02, left + step - 0.02), (seat, seat + 0.15), second))
    return join(parts)


def _laptop(generator: np.random.Generator, colour: Colour, second: Colour) -> Mesh:
    uniform = generator.uniform
    width, depth, thick = uniform(1.3, 1.6), uniform(0.9, 1.1), 0.08
    x0, x1, y0, y1 = -depth / 2, depth / 2, -width / 2, width / 2
    base = [
        box((x0, x1), (y0, y1), (0, thick), colour),
        box((x0 + 0.12, x1 - 0.4), (y0 + 0.1, y1 - 0.1), (thick, thick + 0.012), DARK),
        box((x1 - 0.32, x1 - 0.08), (-0.2, 0.2), (thick, thick + 0.01), colour * 0.75),
    ]
    lid = join(
        [
            box((-0.06, 0), (y0, y1), (0, depth * 0.95), colour),
            box((0, 0.012), (y0 + 0.06, y1 - 0.06), (0.07, depth * 0.95 - 0.06), second),
        ]
    )
    return join([*base, tilt(lid, uniform(5, 30)).translate((x0 + 0.06, 0, thick))])


def _lamp(generator: np.random.Generator, colour: Colour, second: Colour) -> Mesh:
    uniform = generator.uniform
    height, foot, pole, reach = uniform(1.3, 1.9), uniform(0.3, 0.4), uniform(0.08, 0.12), uniform(0.35, 0.6)
    radius = uniform(0.33, 0.48)
    return join(
        [
            box((-foot, foot), (-foot * 0.7, foot * 0.7), (0, 0.1), second),
            box((-pole, pole), (-pole, pole), (0.1, height), second),
            box((-pole, reach + pole), (-pole, pole), (height - 2 * pole, height), second),
            frustum(
                (reach, 0), (height - 0.15, height + uniform(0.3, 0.5)), (radius, radius * uniform(0.5, 0.9)), colour
            ),
        ]
    )


_BUILDERS: dict[str, Callable[[np.random.Generator, Colour, Colour], Mesh]] = {
    "chair": _chair,
    "sofa": _sofa,
    "laptop": _laptop,
    "lamp": _lamp,
}

KINDS: tuple[str, ...] = tuple(_BUILDERS)
"""Kinds of objects, by the class name that a detector takes."""
