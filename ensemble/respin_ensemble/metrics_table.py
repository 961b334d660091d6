"""`python -m respin_ensemble.metrics_table` prints docs/metrics.md: every metric of the engine."""

from __future__ import annotations

from respin_ensemble.metrics import FAMILIES, Family

HEADING = """# What the engine measures

On Triton's metrics port (`respin serve --metrics-port`, `/metrics`), beside Triton's own `nv_*`. Brought up to date
every half second; a counter shows itself when it first counts. This page is printed by
`python -m respin_ensemble.metrics_table`.

The share of time in which a UNet was busy is `rate(respin_unet_busy_seconds_total[1m])`; the mean batch,
`rate(respin_batch_size_sum[1m]) / rate(respin_batch_size_count[1m])`; the share of a cache's answers that were there
already, `rate(respin_cache_hits_total[5m])` over hits and misses together.

| metric | kind | by | meaning |
|---|---|---|---|"""


def metrics_page() -> str:
    """The page in Markdown."""
    return "\n".join([HEADING, *map(_row, FAMILIES.values())]) + "\n"


def _row(family: Family) -> str:
    return f"| `{family.name}` | {family.kind} | {family.label} | {family.meaning} |"


if __name__ == "__main__":
    print(metrics_page(), end="")
