"""The engine's metrics: one table, and a meter that knows it."""

from pathlib import Path

import pytest

from respin_ensemble.metrics import METRIC_FAMILIES, InMemoryMeter
from respin_ensemble.metrics_table import metrics_page

ROOT = Path(__file__).parents[2]


def test_the_committed_page_is_the_table():
    page = (ROOT / "docs/metrics.md").read_text()
    assert page == metrics_page(), "run `python -m respin_ensemble.metrics_table > docs/metrics.md`"


@pytest.mark.parametrize("family", METRIC_FAMILIES.values(), ids=lambda family: family.name)
def test_names_say_their_kind_and_unit(family):
    assert family.name.endswith("_total") == (family.kind == "counter")
    assert bool(family.buckets) == (family.kind == "histogram")
    assert list(family.buckets) == sorted(set(family.buckets))
    if "seconds" in family.name:
        assert family.meaning.endswith(", s")


def test_a_metric_is_told_only_what_its_kind_takes():
    meter = InMemoryMeter()
    meter.add("respin_cache_hits_total", "text")
    with pytest.raises(TypeError, match="respin_cache_hits_total is a counter, not a gauge"):
        meter.set("respin_cache_hits_total", 1, "text")
    with pytest.raises(KeyError):
        meter.add("respin_hits_total")
