"""Networks as models of the same Triton server, called by BLS. Can be imported only in a Python-backend stub."""

from __future__ import annotations

import triton_python_backend_utils as pb_utils

from respin.errors import Busy, InternalError
from respin.outage import is_outage
from respin.specs import Array, ModelSpec
from respin_ensemble.networks import BatchedNetworks


class TritonNetworks(BatchedNetworks):
    """The ten networks of this process's server."""

    def _run(self, spec: ModelSpec, arrays: dict[str, Array]) -> dict[str, Array]:
        request = pb_utils.InferenceRequest(
            model_name=spec.name,
            requested_output_names=[output.name for output in spec.outputs],
            inputs=[pb_utils.Tensor(name, array) for name, array in arrays.items()],
        )
        response = request.exec()
        if response.has_error():
            message = response.error().message()
            if is_outage(message):
                raise Busy(
                    f"{spec.name} is being loaded again, or the server stops; send the request again in a few seconds"
                )
            raise InternalError(f"{spec.name} failed: {message}") from RuntimeError(message)
        # The tensors are in shared memory that is reused once the response is released.
        return {tensor.name(): tensor.as_numpy().copy() for tensor in response.output_tensors()}
