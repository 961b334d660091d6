"""`python -m respin_ensemble.metrics_table` prints docs/metrics.md, the list of all metrics."""

from __future__ import annotations

from respin_ensemble.metrics import METRIC_FAMILIES, MetricFamily

HEADING = """# Metrics of the engine

The engine publishes these metrics on Triton's metrics port (`respin serve --metrics-port`, path `/metrics`), beside
Triton's own `nv_*`. They are updated every half second; a counter appears with its first count.
`python -m respin_ensemble.metrics_table` prints this page.

Useful queries:

* utilization of a UNet: `rate(respin_unet_busy_seconds_total[1m])`
* mean batch size: `rate(respin_batch_size_sum[1m]) / rate(respin_batch_size_count[1m])`
* hit rate of a cache: `rate(respin_cache_hits_total[5m])` divided by the sum of the rates of hits and misses

| metric | kind | by | meaning |
|---|---|---|---|"""


def metrics_page() -> str:
    """Return the page in Markdown."""
    return "\n".join([HEADING, *map(_row, METRIC_FAMILIES.values())]) + "\n"


def _row(family: MetricFamily) -> str:
    return f"| `{family.name}` | {family.kind} | {family.label} | {family.meaning} |"


if __name__ == "__main__":
    print(metrics_page(), end="")
