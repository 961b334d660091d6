"""This network on ONNX Runtime, configured by its contract."""

from respin_ensemble.serving.network import OnnxNetwork as TritonPythonModel

__all__ = ["TritonPythonModel"]
