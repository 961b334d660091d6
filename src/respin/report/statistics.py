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


def distinct_text(values: Iterable[object], separator: str = " / ") -> str:
    """Return the values, each once, in the order of their first."""
    return separator.join(dict.fromkeys(map(str, values)))
