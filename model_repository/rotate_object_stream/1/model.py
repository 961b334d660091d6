"""The engine: the one process that holds the story."""

from respin_ensemble.serving.engine import Engine as TritonPythonModel

__all__ = ["TritonPythonModel"]
