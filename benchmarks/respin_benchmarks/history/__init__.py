"""The ratio benchmarks through time."""
