"""A model for tests: runs one network by BLS for a test outside the server, arrays in and out as .npz bytes."""

import io

import numpy as np
import triton_python_backend_utils as pb_utils

from respin.contracts import NETWORKS
from respin.errors import RespinError
from respin.model_set import Sizes
from respin_ensemble.networks.triton import TritonNetworks


class TritonPythonModel:
    def initialize(self, args):
        self.networks = TritonNetworks(Sizes())

    def execute(self, requests):
        return [self.answer(request) for request in requests]

    def answer(self, request):
        name, payload = (
            pb_utils.get_input_tensor_by_name(request, tensor).as_numpy()[0] for tensor in ("network", "arrays")
        )
        try:
            arrays = self.networks(NETWORKS[name.decode()], **np.load(io.BytesIO(payload)))
        except RespinError as error:
            return pb_utils.InferenceResponse(error=pb_utils.TritonError(f"{type(error).__name__}: {error}"))
        file = io.BytesIO()
        np.savez(file, **arrays)
        return pb_utils.InferenceResponse([pb_utils.Tensor("arrays", np.array([file.getvalue()], np.object_))])
