"""Build TensorRT engines from a set of ONNX networks, each keyed by its sources and options."""
