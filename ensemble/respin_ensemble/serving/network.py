"""A network as a Triton model of the `cpu` profile: ONNX Runtime behind the Python backend."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

from respin.contracts import NETWORKS
from respin.errors import RespinError
from respin.specs import Array
from respin_ensemble.networks.onnx import CpuSession
from respin_ensemble.serving.processes import close_inherited_sockets
from respin_ensemble.serving.replies import error_for_caller, error_response, read_inputs, tensors
from respin_ensemble.serving.tensor_guard import guard_tensors

Arrays = Mapping[str, Array]


class OnnxNetwork:
    """Serves the network that its folder in the model repository is named after."""

    def initialize(self, args: Mapping[str, str]) -> None:
        """Load `model.onnx` from the version folder."""
        guard_tensors()
        close_inherited_sockets()
        self._spec = NETWORKS[args["model_name"]]
        parameters = json.loads(args["model_config"])["parameters"]
        path = Path(args["model_repository"]) / args["model_version"] / "model.onnx"
        threads = int(parameters["intra_op_num_threads"]["string_value"])
        self._session = CpuSession(path, self._spec, threads)

    def execute(self, requests: Sequence[pb_utils.InferenceRequest]) -> list[pb_utils.InferenceResponse]:
        """Answer requests in as few runs as their shapes allow; a failure affects only the request that caused it."""
        inputs: dict[int, Arrays] = {}
        responses: dict[int, pb_utils.InferenceResponse] = {}
        for index, request in enumerate(requests):
            try:
                inputs[index] = read_inputs(request, self._spec.check_inputs)
            except RespinError as error:
                responses[index] = error_response(error)
        by_shape = sorted(inputs, key=lambda index: _shapes(inputs[index]))
        for _, group in groupby(by_shape, key=lambda index: _shapes(inputs[index])):
            members = list(group)
            responses.update(zip(members, self._answer([inputs[index] for index in members]), strict=True))
        return [responses[index] for index in range(len(requests))]

    def _answer(self, inputs: list[Arrays]) -> list[pb_utils.InferenceResponse]:
        """Run requests of one shape together; if that fails, each alone."""
        try:
            answers = self._run_together(inputs)
        except RespinError as error:
            if len(inputs) == 1:
                return [error_response(error_for_caller(error))]
            return [self._answer([alone])[0] for alone in inputs]
        return [pb_utils.InferenceResponse(tensors(self._spec, answer)) for answer in answers]

    def _run_together(self, inputs: list[Arrays]) -> list[dict[str, Array]]:
        names = [spec.name for spec in self._spec.inputs]
        stacked = {name: np.concatenate([arrays[name] for arrays in inputs]) for name in names}
        outputs = self._session(stacked)
        ends = np.cumsum([len(arrays[names[0]]) for arrays in inputs])[:-1]
        pieces = {name: np.split(array, ends) for name, array in outputs.items()}
        return [{name: pieces[name][index] for name in outputs} for index in range(len(inputs))]


def _shapes(arrays: Arrays) -> list[tuple[Any, ...]]:
    """Return what requests must have in common to run together: the shape of one sample of each input."""
    return [(name, array.shape[1:]) for name, array in sorted(arrays.items())]
