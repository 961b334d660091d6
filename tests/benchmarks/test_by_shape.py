"""ONNX Runtime with a session for each shape, as a runtime that is measured."""

from pathlib import Path

import numpy as np
import pytest

from respin.bundled import bundled
from respin.contracts import NETWORKS
from respin.contracts.networks import EDSR
from respin.errors import InternalError
from respin_benchmarks.in_process.by_shape import MOST_SHAPES, ByShape
from respin_benchmarks.in_process.network_runs import usual_inputs
from respin_benchmarks.in_process.runtimes import open_networks
from respin_benchmarks.in_process.weights import MiniSet
from respin_ensemble.networks.onnx import CpuSession, OnnxNetworks

PICTURE = np.zeros((1, 3, 32, 48), np.float32)


@pytest.fixture(scope="module")
def by_shape():
    made = {"device": "cpu", "half": False, "work": Path("unused"), "jobs": 1, "tell": lambda text: None}
    return open_networks("onnxruntime by shape", MiniSet(), **made)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_session_for_one_shape_answers_as_one_for_any(by_shape, name):
    spec = NETWORKS[name]
    for batch in (1, 2):
        inputs = usual_inputs(spec, MiniSet.sizes, batch)
        wanted = OnnxNetworks.from_set(bundled("models/mini"))(spec, **inputs)
        for output, array in by_shape(spec, **inputs).items():
            np.testing.assert_allclose(array, wanted[output], rtol=1e-4, atol=1e-4 * np.abs(wanted[output]).max())


def test_a_session_with_fixed_axes_refuses_others():
    session = CpuSession(bundled("models/mini") / "edsr/model.onnx", EDSR, lengths={"height": 32, "width": 48})
    assert session({"image": PICTURE})["upscaled"].shape == (1, 3, 128, 192)
    with pytest.raises(InternalError, match="edsr failed"):
        session({"image": PICTURE.swapaxes(2, 3)})


def test_a_shape_is_prepared_once_unless_too_many_came_since():
    prepared = []

    def prepare(shapes):
        prepared.append(shapes["image"][2])
        return dict

    network = ByShape(EDSR, prepare)
    for height in [32, 32, *range(33, 32 + MOST_SHAPES), 32, 100, 33, 32]:
        network({"image": np.zeros((1, 3, height, 48))})
    assert prepared == [*range(32, 32 + MOST_SHAPES), 100, 33]
