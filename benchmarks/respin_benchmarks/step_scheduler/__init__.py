"""Continuous batching against independent loops, and many views against many requests: `python -m` this package.

Both on the real embedded server. The network behind is one of fixed cost a call, whatever the batch, as a GPU is nearly
one; the stepping is measured again on the mini set, whose cost on a CPU grows with the batch.
"""
