"""Continuous batching against independent loops, and many views in one request, on UNets of fixed cost per call."""
