"""What is compared: ways of driving a UNet, and ways of asking for many views."""

from __future__ import annotations

STAGGER_S = 0.053
"""Between two arrivals: no multiple of a step, so that loops meet at no particular phase."""

ARRIVALS = {"simultaneous": 0.0, "staggered": STAGGER_S}
CONCURRENCY = (1, 2, 4, 8, 16)
COST_MS = 10.0
"""Of a call of the UNets of fixed cost."""

BATCHER = "step batcher"
WAYS = (BATCHER, "loops", "loops, delay 5 ms")

CACHES = {"off": 0, "on": 256}
"""MiB of the engine's caches."""
TOGETHER, ONE_BY_ONE, AT_ONCE = "one request", "single requests, one after another", "single requests, all at once"
VIEW_WAYS = (TOGETHER, ONE_BY_ONE, AT_ONCE)
