"""The registry of contracts: every tensor of a model or job, defined once.

Ten networks (`networks`), three jobs (`jobs`). Config files, ONNX axes, TensorRT profiles, the client's checks and the
tests are derived from it or compared with it.
"""

from respin.contracts.jobs import JOBS, ROTATE_OBJECT, ROTATE_OBJECT_STREAM, SEGMENT_OBJECT
from respin.contracts.networks import NETWORKS
from respin.specs import ModelSpec

MODELS: dict[str, ModelSpec] = {**NETWORKS, **JOBS}
"""Every Triton model by name."""

__all__ = ["JOBS", "MODELS", "NETWORKS", "ROTATE_OBJECT", "ROTATE_OBJECT_STREAM", "SEGMENT_OBJECT"]
