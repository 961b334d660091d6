"""Names of the files of a training run, in its folder, and of the data beside the runs. Free of PyTorch."""

DATA = "data"
"""Folder of all data sets, beside the runs'."""

CHECKPOINT = "checkpoint.pt"
"""State to go on from."""

WEIGHTS = "weights.safetensors"
"""Averaged weights in float16, as the set stores them."""

CURVE = "curve.csv"
"""Loss and metrics of each evaluation."""
