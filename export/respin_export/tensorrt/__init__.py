"""TensorRT engines from a set of ONNX networks, each keyed by all that it was built from."""
