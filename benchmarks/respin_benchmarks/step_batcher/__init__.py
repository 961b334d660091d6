"""Continuous batching against independent loops, and many views in one request against many requests.

Both on the real embedded server, on UNets of fixed cost per call, whatever the batch, as a GPU's nearly have.
"""
