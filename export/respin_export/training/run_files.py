"""Names of the files of a training run, in its folder. Apart from the loop, which imports PyTorch."""

CHECKPOINT = "checkpoint.pt"
"""State to go on from."""

WEIGHTS = "weights.safetensors"
"""Averaged weights in float16, as the set stores them."""

CURVE = "curve.csv"
"""Loss and metrics of each evaluation."""
