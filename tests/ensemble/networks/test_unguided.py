"""Calls outside of the guidance interval run without the unconditional half, by the same graph and weights."""

import numpy as np
import pytest
import torch
from guided_graphs import MODULES, export_stub
from random_networks import build

from respin.bundled import bundled_path
from respin.contracts import NETWORKS
from respin.contracts.networks import UNETS, ZERO123_UNET
from respin.onnx_runtime import onnxruntime
from respin_ensemble.networks.onnx import CpuSession
from respin_ensemble.networks.onnx_cuda import BoundCall
from respin_ensemble.networks.unguided import takes_fewer_guidance, without_guidance
from respin_export.example import example_inputs, example_lengths
from respin_export.graph import check_graph
from respin_export.graph import takes_fewer_guidance as graph_takes_fewer
from respin_export.mini.sizes import SIZES
from respin_export.to_onnx import ExportOptions, export_network

EACH_UNET = pytest.mark.parametrize("name", UNETS)


@pytest.fixture(scope="module")
def graphs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("graphs")
    return {name: export_stub(folder, name) for name in UNETS}


def inputs_of(name, *guidance):
    spec = NETWORKS[name]
    lengths = example_lengths(spec, SIZES, (0.5, 0.3))
    arrays = example_inputs(spec, SIZES, batch=max(1, len(guidance)), lengths=lengths, seed=3)
    return {**arrays, "guidance": np.array(guidance, np.float32)[:, None]}


def wanted(name, arrays):
    with torch.inference_mode():
        return MODULES[name](**{key: torch.tensor(array) for key, array in arrays.items()}).numpy()


class Noted:
    """A session that notes how many guidance scales each run has."""

    def __init__(self, session):
        self.session, self.guided = session, []

    def run(self, names, arrays):
        self.guided.append(len(arrays["guidance"]))
        return self.session.run(names, arrays)


def noted(path, name):
    session = CpuSession(path, NETWORKS[name], threads=1)
    session._session = Noted(session._session)
    return session, session._session.guided


@EACH_UNET
@pytest.mark.parametrize(("guidance", "guided"), [((1, 1, 1), 0), ((1,), 0), ((1, 3, 1), 3), ((3,), 1)])
def test_a_call_without_guidance_runs_its_conditional_half_alone_and_answers_the_same(graphs, name, guidance, guided):
    session, seen = noted(graphs[name], name)
    arrays = inputs_of(name, *guidance)
    noise = session(arrays)["noise"]
    assert seen == [guided]
    np.testing.assert_allclose(noise, wanted(name, arrays), rtol=1e-5, atol=1e-5)


def test_samples_that_run_one_by_one_are_guided_or_not_each_on_its_own(graphs):
    session, seen = noted(graphs["zero123_unet"], "zero123_unet")
    session._one_by_one = True
    arrays = inputs_of("zero123_unet", 1, 3, 1)
    noise = session(arrays)["noise"]
    assert seen == [0, 1, 0]
    np.testing.assert_allclose(noise, wanted("zero123_unet", arrays), rtol=1e-5, atol=1e-5)


@EACH_UNET
def test_a_graph_of_an_older_export_gets_every_scale(name):
    session, seen = noted(bundled_path("models/mini") / name / "model.onnx", name)
    arrays = {**example_inputs(NETWORKS[name], SIZES, batch=2, lengths=example_lengths(NETWORKS[name], SIZES))}
    session({**arrays, "guidance": np.ones((2, 1), np.float32)})
    assert sum(seen) == 2


@EACH_UNET
def test_the_memory_that_a_gpu_binds_takes_a_call_without_guidance(graphs, name):
    session = onnxruntime.InferenceSession(graphs[name])
    assert takes_fewer_guidance(session)
    arrays = without_guidance(inputs_of(name, 1, 1))
    call = BoundCall(session, NETWORKS[name], arrays, [arrays["latents"].shape], device="cpu")
    for _ in range(2):
        np.testing.assert_allclose(call(arrays)["noise"], wanted(name, inputs_of(name, 1, 1)), rtol=1e-5, atol=1e-5)


@EACH_UNET
def test_a_graph_says_by_the_name_of_an_axis_that_it_takes_less_guidance(graphs, name):
    check_graph(graphs[name], NETWORKS[name], SIZES)
    assert graph_takes_fewer(graphs[name])
    assert not graph_takes_fewer(bundled_path("models/mini") / name / "model.onnx")


@pytest.mark.parametrize("count", [0, 1, 2])
def test_guidance_of_the_first_samples_leaves_the_others_conditional(graphs, count):
    arrays = inputs_of("inpaint_unet", 3, 4, 5)
    session = onnxruntime.InferenceSession(graphs["inpaint_unet"])
    (noise,) = session.run(None, {**arrays, "guidance": arrays["guidance"][:count]})
    scales = np.where(np.arange(3)[:, None] < count, arrays["guidance"], np.float32(1))
    np.testing.assert_allclose(noise, wanted("inpaint_unet", {**arrays, "guidance": scales}), rtol=1e-5, atol=1e-5)


def test_the_published_architecture_is_exported_so_in_fp16_and_compared_both_ways(tmp_path):
    path = tmp_path / "zero123_unet" / "model.onnx"
    module = build("zero123_unet", seed=0).eval()
    arrays = inputs_of("zero123_unet", 1, 1)
    with torch.inference_mode():
        tensors = {key: torch.tensor(array) for key, array in arrays.items() if key != "guidance"}
        conditional = module.predict_conditional(**tensors).numpy()
    errors = export_network(module, ZERO123_UNET, SIZES, path, ExportOptions(precision="fp16"))
    assert errors["noise"] > 0
    session, seen = noted(path, "zero123_unet")
    noise = session(arrays)["noise"]
    assert set(seen) == {0}
    assert np.abs(noise - conditional).max() <= 0.01 * np.abs(conditional).max()
