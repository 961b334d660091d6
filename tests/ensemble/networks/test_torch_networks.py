"""Networks as PyTorch modules: the same answers as ONNX Runtime's, and what torch.compile's minutes are spent on."""

import json
import os
import shutil
import subprocess
import sys
from types import ModuleType

import numpy as np
import pytest
import torch

from respin.bundled import bundled_path
from respin.contracts.networks import EDSR, VAE_DECODER
from respin.errors import ContractMismatch, InvalidInput
from respin.model_set import MANIFEST, ModelSet, Sizes
from respin.runtimes import InProcess
from respin_ensemble.networks.in_process import Source
from respin_ensemble.networks.onnx import OnnxNetworks
from respin_ensemble.networks.tensorrt import TensorRtNetworks
from respin_ensemble.networks.torch_calls import EagerCall
from respin_ensemble.networks.torch_compile import CACHE_VARIABLE, Compilation, CompiledCall, keep_compiled_code
from respin_ensemble.networks.torch_networks import ModuleNetworks, TorchNetworks, load_in_process
from respin_ensemble.networks.torch_paged import PagedModule
from respin_export.inference_modules import InferenceModules
from respin_export.mini.trained import MiniSet

MINI = bundled_path("models/mini")
NO_GPU = "PyTorch sees no NVIDIA GPU here; use --device cpu"
without_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")


def mini_modules():
    return InferenceModules(MiniSet(), device="cpu", half=False)


@pytest.mark.parametrize("execution", ["eager", "graphs"])
def test_modules_of_a_set_answer_as_its_graphs(execution):
    networks = TorchNetworks.from_set(MINI, mini_modules(), device="cpu", execution=execution)
    wanted = OnnxNetworks.from_set(MINI)
    assert networks.sizes == wanted.sizes
    picture = np.random.default_rng(0).uniform(0, 255, (2, 3, 32, 48)).astype(np.float32)
    for _ in range(3):  # the third call would replay a graph
        got = networks(EDSR, image=picture)["upscaled"]
    np.testing.assert_allclose(got, wanted(EDSR, image=picture)["upscaled"], rtol=1e-3, atol=0.1)


@without_gpu
def test_a_missing_gpu_is_told_before_anything_is_loaded():
    def load(name):
        raise AssertionError(name)

    with pytest.raises(InvalidInput, match=NO_GPU):
        TorchNetworks.from_set(MINI, load, device="cuda")


def test_a_folder_without_a_manifest_is_no_set(tmp_path):
    with pytest.raises(ContractMismatch):
        TorchNetworks.from_set(tmp_path, mini_modules(), device="cpu")


def test_engine_plans_run_only_on_a_gpu():
    with pytest.raises(InvalidInput, match="TensorRT runs only on an NVIDIA GPU; use --device cuda"):
        TensorRtNetworks.from_set(MINI, device="cpu")


def test_a_set_of_graphs_has_no_engine_plans():
    with pytest.raises(ContractMismatch, match="set 'mini' has no engine plans; build them with respin engines"):
        TensorRtNetworks.from_set(MINI)


@pytest.fixture
def plans(tmp_path):
    """A set whose manifest says that a TensorRT which is not installed built its plans."""
    manifest = json.loads((MINI / MANIFEST).read_text())
    manifest["origin"] = {"engines": {"edsr": {"identity": {"flavour": "tensorrt_of_tomorrow"}}}}
    (tmp_path / MANIFEST).write_text(json.dumps(manifest))
    assert ModelSet.load(tmp_path).name == "mini"
    return tmp_path


def test_plans_of_a_tensorrt_that_is_not_installed_are_told_with_the_cure(plans):
    with pytest.raises(InvalidInput, match="the engine plans are of tensorrt_of_tomorrow, which does not load here"):
        TensorRtNetworks.from_set(plans)


def compilation_of(name, *sides, report=lambda _: None):
    return Compilation({name: {((1, 4, side, side),) for side in sides}}, report)


def latents(side, batch=1):
    return {"latents": np.random.default_rng(side).standard_normal((batch, 4, side, side)).astype(np.float32)}


class Enlarged(torch.nn.Module):
    def forward(self, latents):
        return torch.nn.functional.gelu(latents[:, :3]).repeat_interleave(8, 2).repeat_interleave(8, 3) * 0.5


def test_on_a_gpu_every_shape_of_usual_jobs_is_compiled_where_a_measurement_says_that_it_pays():
    shapes = Compilation.of_warm_up(Sizes(), 8, lambda _: None).shapes
    assert "grounding_dino" not in shapes
    assert sorted(each[0][0] for each in shapes["zero123_unet"]) == [1, 4, 8]
    assert {each[0] for each in shapes["vae_decoder"]} == {(1, 4, 64, 64), (1, 4, 32, 32)}
    assert {each[0] for each in Compilation.of_warm_up(Sizes(), 2, print).shapes["zero123_unet"]} == {(1, 4, 32, 32)}


def test_on_a_cpu_the_one_call_of_the_warm_up_is_compiled():
    shapes = Compilation.of_warm_up(Sizes(), None, lambda _: None).shapes
    assert {len(each) for each in shapes.values()} == {1}


def test_other_shapes_than_those_of_the_warm_up_run_the_module_itself():
    module, compiled = Enlarged(), torch.nn.Identity()
    runner = CompiledCall(
        module, VAE_DECODER, "cpu", None, compilation=compilation_of("vae_decoder", 8), compiler=lambda _: compiled
    )
    assert runner.forward_for(((1, 4, 8, 8),)) is compiled
    assert runner.forward_for(((1, 4, 16, 16),)) is module
    assert runner.forward_for(((2, 4, 8, 8),)) is module


def fails(latents):
    raise RuntimeError("\nFailed to find C++ compiler\nSet TORCHDYNAMO_VERBOSE=1")


def test_without_a_compiler_a_network_runs_as_it_is_and_the_log_says_why(caplog):
    said = []
    runner = CompiledCall(
        Enlarged(),
        VAE_DECODER,
        "cpu",
        None,
        compilation=compilation_of("vae_decoder", 8, report=said.append),
        compiler=lambda _: fails,
    )
    for _ in range(3):
        assert runner(latents(8))["image"].shape == (1, 3, 64, 64)
    assert said == ["compiling vae_decoder for a batch of 1"]
    assert caplog.messages == ["vae_decoder runs without torch.compile: Failed to find C++ compiler"]
    assert runner.forward_for(((1, 4, 8, 8),)) is runner.module


def test_a_compiler_that_cannot_be_imported_costs_no_start(caplog):
    def missing(module):
        raise ImportError("no module named triton")

    runner = CompiledCall(
        Enlarged(), VAE_DECODER, "cpu", None, compilation=compilation_of("vae_decoder", 8), compiler=missing
    )
    assert runner(latents(8))["image"].shape == (1, 3, 64, 64)
    assert caplog.messages == ["vae_decoder runs without torch.compile: no module named triton"]


ASCII_SCRIPT = """
import locale
from respin_ensemble.networks.torch_compile import read_text_as_utf8

locale.setlocale(locale.LC_CTYPE, "C")
with open("text") as file:
    try:
        file.read()
    except UnicodeDecodeError:
        print("ascii")
read_text_as_utf8()
with open("text") as file:
    print(len(file.read()))
"""


def test_text_of_the_compiler_is_read_where_triton_starts_a_model_with_ascii(tmp_path):
    (tmp_path / "text").write_text("\u2026", "utf-8")
    answer = subprocess.run(
        [sys.executable, "-X", "utf8=0", "-c", ASCII_SCRIPT],
        cwd=tmp_path,
        env=os.environ | {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert answer.stdout.split() == ["ascii", "1"]


def test_a_call_that_fails_either_way_is_not_taken_for_the_compilers_fault():
    def broken(latents):
        raise RuntimeError("shapes")

    runner = CompiledCall(
        broken, VAE_DECODER, "cpu", None, compilation=compilation_of("vae_decoder", 8), compiler=lambda _: fails
    )
    with pytest.raises(RuntimeError, match="shapes"):
        runner(latents(8))
    assert not runner.uncompiled


def test_a_compiled_call_that_runs_out_of_memory_fails_as_any_other():
    def full(latents):
        raise torch.OutOfMemoryError("CUDA out of memory")

    runner = CompiledCall(
        Enlarged(), VAE_DECODER, "cpu", None, compilation=compilation_of("vae_decoder", 8), compiler=lambda _: full
    )
    with pytest.raises(torch.OutOfMemoryError):
        runner(latents(8))
    assert not runner.uncompiled


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch's own, as its compiler is imported
def test_networks_that_share_memory_run_as_they_are():
    networks = ModuleNetworks(
        {"vae_decoder": Enlarged(), "edsr": Enlarged()},
        Sizes(),
        pageables={"edsr": PagedModule(Enlarged(), "cpu")},
        compilation=Compilation({"vae_decoder": set(), "edsr": set()}, print),
    )
    assert [type(networks.calls[name]) for name in ("vae_decoder", "edsr")] == [CompiledCall, EagerCall]


@pytest.mark.skipif(not any(map(shutil.which, ("g++", "c++", "clang++"))), reason="there is no C++ compiler here")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch's own, as its compiler is imported
def test_compiled_code_answers_as_the_module_does_and_is_kept_on_disk(tmp_path, monkeypatch):
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))
    module = Enlarged().eval()
    networks = ModuleNetworks({"vae_decoder": module}, Sizes(), compilation=compilation_of("vae_decoder", 8))
    with torch._inductor.config.patch(cpp_cache_precompile_headers=False):
        got = networks(VAE_DECODER, **latents(8))["image"]
    assert not networks.calls["vae_decoder"].uncompiled
    np.testing.assert_allclose(got, module(torch.tensor(latents(8)["latents"])).numpy(), rtol=1e-5, atol=1e-6)
    assert list(tmp_path.rglob("*.cpp"))


def test_compiled_code_is_kept_in_the_users_cache_folder_unless_another_is_named(tmp_path):
    environment = {"XDG_CACHE_HOME": str(tmp_path)}
    keep_compiled_code(environment)
    assert environment[CACHE_VARIABLE] == str(tmp_path / "respin" / "torch-compile")
    named = {CACHE_VARIABLE: "/elsewhere", "XDG_CACHE_HOME": str(tmp_path)}
    keep_compiled_code(named)
    assert named[CACHE_VARIABLE] == "/elsewhere"


def test_a_cache_folder_that_cannot_be_made_costs_the_cache_alone(tmp_path, caplog):
    (tmp_path / "respin").write_text("a file")
    environment = {"XDG_CACHE_HOME": str(tmp_path)}
    keep_compiled_code(environment)
    assert CACHE_VARIABLE not in environment
    assert "compiled code is not kept for later starts" in caplog.text


def test_the_folder_is_chosen_before_the_modules_libraries_choose_another(tmp_path, monkeypatch):
    seen = []

    def module_loader(folder, device, precision):
        seen.append(os.environ[CACHE_VARIABLE])
        raise ContractMismatch("enough")

    maker = ModuleType("asking_modules")
    maker.module_loader = module_loader
    monkeypatch.setitem(sys.modules, "asking_modules", maker)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv(CACHE_VARIABLE, "restored at the end, whatever is set meanwhile")
    monkeypatch.delenv(CACHE_VARIABLE)
    choice = InProcess("torch", modules="asking_modules", compiled=True)
    with pytest.raises(ContractMismatch, match="enough"):
        load_in_process(Source(tmp_path, ModelSet.load(MINI), choice), print)
    assert seen == [str(tmp_path / "respin" / "torch-compile")]
