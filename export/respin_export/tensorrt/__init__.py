"""Build TensorRT engine plans from a set of ONNX networks, each keyed by its sources and options."""
