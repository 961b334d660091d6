"""The engine: its process runs all jobs."""

from respin_ensemble.serving.engine import Engine as TritonPythonModel

__all__ = ["TritonPythonModel"]
