"""Serving profiles: which backend runs the networks, chosen with Triton's `--model-config-name`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Profile:
    """One way of serving the networks.

    Args:
        name: value of `--model-config-name`.
        summary: one line for `--help` and `respin doctor`.
        network_backend: Triton's backend of the network models; None = Triton does not serve the networks.
        network_file: name of a network's file beside its config.
        networks: place of the networks: models of the same server, or sessions in the engine's process.
        instance_kind: Triton's device kind of the network models.
    """

    name: str
    summary: str
    network_backend: str | None
    network_file: str
    networks: Literal["triton", "in_process"]
    instance_kind: Literal["KIND_CPU", "KIND_GPU"]


DEFAULT_PROFILE = "cpu"
"""The profile that config.pbtxt itself holds."""

PROFILES: dict[str, Profile] = {
    profile.name: profile
    for profile in (
        Profile("cpu", "each network a Python model on ONNX Runtime", "python", "model.onnx", "triton", "KIND_CPU"),
        Profile("local", "networks inside the engine's process", None, "model.onnx", "in_process", "KIND_CPU"),
        Profile("onnxruntime", "Triton's ONNX Runtime backend", "onnxruntime", "model.onnx", "triton", "KIND_GPU"),
        Profile("tensorrt", "Triton's TensorRT backend, FP16", "tensorrt", "model.plan", "triton", "KIND_GPU"),
    )
}
"""The four profiles by name."""
