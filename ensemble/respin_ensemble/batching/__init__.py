"""Continuous batching: samples of all requests share the calls of the two UNets."""
