"""Continuous batching against independent loops, and many views in one request against many requests.

Both on the real embedded server. The network behind has a fixed cost per call, whatever the batch, as a GPU nearly has;
the stepping is measured again on the mini set, whose cost on a CPU grows with the batch.
"""
