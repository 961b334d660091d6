"""A unary front to the engine; its contract says the rest."""

from respin_ensemble.serving.front import Front as TritonPythonModel

__all__ = ["TritonPythonModel"]
