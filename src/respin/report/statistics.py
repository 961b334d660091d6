"""What reports say of several repeats."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence

import numpy as np


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that at least `share` of all values do not exceed (nearest rank); NaN of no values.

    Args:
        values: in any order.
        share: 0..1.
    """
    return float(np.quantile(values, share, method="inverted_cdf")) if len(values) else math.nan


def median(values: Iterable[float]) -> float:
    """Return the median of the values that are numbers; NaN if none is."""
    numbers = [value for value in values if not math.isnan(value)]
    return statistics.median(numbers) if numbers else math.nan


def spread_text(values: Iterable[float]) -> str:
    """Return (greatest - least) / median as a percentage; empty for fewer than two numbers."""
    numbers = [value for value in values if not math.isnan(value)]
    return f"{(max(numbers) - min(numbers)) / statistics.median(numbers):.0%}" if len(numbers) > 1 else ""


def ranged_text(values: Sequence[float], form: str, scale: float = 1) -> str:
    """Return the median with the least and the greatest value in brackets.

    Args:
        values: at least one.
        form: format of each number, e.g. ".2f".
        scale: by which each number is multiplied.
    """
    middle, least, greatest = (scale * each for each in (statistics.median(values), min(values), max(values)))
    return f"{middle:{form}} ({least:{form}} to {greatest:{form}})"


def number_text(value: float, form: str) -> str:
    """Return a number in a format such as ".2f"; empty for NaN."""
    return "" if math.isnan(value) else f"{value:{form}}"


def distinct_text(values: Iterable[object], separator: str = " / ") -> str:
    """Return the values, each once, in the order of their first."""
    return separator.join(dict.fromkeys(map(str, values)))
