"""Store weights in half the bytes: float16 in the file, float32 in every computation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

SMALLEST = 256
"""Number of elements from which a cast saves space."""


def store_in_half(path: Path) -> None:
    """Rewrite an ONNX file so that its float32 weights are stored in float16, each behind a Cast to float32.

    ONNX Runtime folds the casts when it loads the graph. Weights that are not exact in float16 stay unchanged, so
    the outputs of the graph do not change.

    Args:
        path: path of the graph, which is changed in place.
    """
    model = onnx.load(str(path))
    casts = []
    for tensor in model.graph.initializer:
        if tensor.data_type != onnx.TensorProto.FLOAT:
            continue
        values = numpy_helper.to_array(tensor)
        with np.errstate(over="ignore"):
            half = values.astype(np.float16)
        if values.size < SMALLEST or not np.array_equal(half.astype(np.float32), values):
            continue
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(half, f"{name}_fp16"))
        casts.append(
            onnx.helper.make_node("Cast", [f"{name}_fp16"], [name], name=f"{name}_cast", to=onnx.TensorProto.FLOAT)
        )
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.save(model, str(path))
