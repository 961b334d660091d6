"""A unary proxy of the engine, configured by its contract."""

from respin_ensemble.serving.unary_proxy import UnaryProxy as TritonPythonModel

__all__ = ["TritonPythonModel"]
