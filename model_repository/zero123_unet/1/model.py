"""This network on ONNX Runtime; its contract says the rest."""

from respin_ensemble.serving.network import OnnxNetwork as TritonPythonModel

__all__ = ["TritonPythonModel"]
