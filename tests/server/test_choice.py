"""Which runtime serves the networks, decided before anything is loaded."""

import json
from dataclasses import replace

import pytest

from respin.bundled import bundled_path
from respin.contracts import NETWORKS
from respin.errors import ContractMismatch, InvalidInput
from respin.gpu_memory import gpu_need, shared_need
from respin.model_set import MANIFEST, ModelSet, Sizes, records_of
from respin.profiles import PROFILES
from respin.runtimes import InProcess
from respin_server.assemble import Assembled, assemble
from respin_server.choice import Installed, Wanted, choose

MINI = bundled_path("models/mini")
EVERYTHING = Installed(gpu=True, onnx_cuda=True, torch=True, torch_cuda=True, tensorrt=("tensorrt", "tensorrt_rtx"))
CPU = replace(EVERYTHING, gpu=False, onnx_cuda=False, torch_cuda=False, tensorrt=())


def chosen(wanted, installed=EVERYTHING, models=MINI):
    choice = choose(wanted, models, installed)
    return choice.in_process.runtime, choice.in_process.device


@pytest.fixture
def plans(tmp_path):
    """A set of engine plans of TensorRT-RTX, by its manifest."""
    folder = tmp_path / "plans"
    for name in NETWORKS:
        (folder / name).mkdir(parents=True)
        (folder / name / "model.plan").write_bytes(b"plan")
    identity = {"identity": {"flavour": "tensorrt_rtx"}}
    networks = {name: records_of(folder, folder / name / "model.plan") for name in NETWORKS}
    ModelSet("plans", "fp16", Sizes(), networks, {"engines": dict.fromkeys(NETWORKS, identity)}).save(folder)
    return folder


@pytest.mark.parametrize(
    ("wanted", "installed", "runtime", "device"),
    [
        (Wanted(runtime="torch"), CPU, "torch", "cpu"),
        (Wanted(device="cpu"), CPU, "onnxruntime", "cpu"),
        (Wanted(runtime="auto"), CPU, "onnxruntime", "cpu"),
        (Wanted(runtime="onnxruntime"), EVERYTHING, "onnxruntime", "cuda"),
        (Wanted(runtime="auto"), EVERYTHING, "torch", "cuda"),
        (Wanted(runtime="auto"), replace(EVERYTHING, torch_cuda=False), "onnxruntime", "cuda"),
        (Wanted(runtime="auto"), replace(EVERYTHING, torch_cuda=False, onnx_cuda=False), "onnxruntime", "cpu"),
        (Wanted(device="cpu"), EVERYTHING, "onnxruntime", "cpu"),
    ],
)
def test_what_is_left_open_is_the_fastest_that_runs_here(wanted, installed, runtime, device):
    assert chosen(wanted, installed) == (runtime, device)


def test_a_set_of_engine_plans_is_served_by_tensorrt(plans):
    assert chosen(Wanted(runtime="auto"), models=plans) == ("tensorrt", "cuda")
    assert chosen(Wanted(runtime="tensorrt"), models=plans) == ("tensorrt", "cuda")


@pytest.mark.parametrize(
    ("wanted", "installed", "sentence"),
    [
        (Wanted(runtime="openvino"), CPU, "runtime is 'openvino'; choose one of onnxruntime, tensorrt, torch, or auto"),
        (Wanted(device="tpu"), CPU, "device is 'tpu'; choose one of cpu, cuda"),
        (
            Wanted("cpu", "tensorrt"),
            EVERYTHING,
            "runtime 'tensorrt' does not run on device 'cpu'; choose --device cuda",
        ),
        (Wanted("cuda", "torch"), CPU, "this machine has no NVIDIA GPU (there is no /dev/nvidiactl); use --device cpu"),
        (Wanted("cuda"), CPU, "this machine has no NVIDIA GPU (there is no /dev/nvidiactl); use --device cpu"),
        (Wanted("cuda", "onnxruntime"), replace(EVERYTHING, onnx_cuda=False), "pip install 'respin[serve-gpu]'"),
        (Wanted("cuda", "torch"), replace(EVERYTHING, torch_cuda=False), "this PyTorch was built without CUDA"),
        (Wanted("cpu", "torch"), replace(CPU, torch=False), "pip install 'respin[serve-torch]'"),
        (
            Wanted("cuda", "tensorrt"),
            EVERYTHING,
            "set 'mini' holds .onnx files and the runtime tensorrt loads model.plan",
        ),
        (Wanted(runtime="onnxruntime", weights=MINI), CPU, "--weights names checkpoints, which only the runtime torch"),
    ],
)
def test_what_cannot_run_is_refused_in_one_sentence_with_the_cure(wanted, installed, sentence):
    with pytest.raises(InvalidInput) as refusal:
        choose(wanted, MINI, installed)
    assert sentence in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_engine_plans_of_a_tensorrt_that_is_not_installed_are_refused(plans):
    with pytest.raises(
        InvalidInput, match=r"tensorrt_rtx, which is not installed; pip install 'respin\[tensorrt-rtx\]'"
    ):
        choose(Wanted(runtime="tensorrt"), plans, replace(EVERYTHING, tensorrt=("tensorrt",)))
    with pytest.raises(
        InvalidInput, match=r"set 'plans' holds \.plan files and the runtime onnxruntime loads model\.onnx"
    ):
        choose(Wanted("cuda", "onnxruntime"), plans, EVERYTHING)


def test_modules_are_not_made_of_exported_files(tmp_path):
    manifest = json.loads((MINI / MANIFEST).read_text())
    (tmp_path / MANIFEST).write_text(json.dumps({**manifest, "name": "full-fp16"}))
    with pytest.raises(InvalidInput, match=r"torch loads checkpoints, not exported files; .*--weights weights"):
        choose(Wanted("cpu", "torch"), tmp_path, CPU)
    with pytest.raises(ContractMismatch, match=r"no manifest\.json"):
        choose(Wanted("cpu"), tmp_path / "none", CPU)


def test_a_folder_without_checkpoints_is_refused_with_what_is_missing(tmp_path):
    with pytest.raises(InvalidInput, match=r"no grounding_dino checkpoint in .*respin weights fetch grounding_dino"):
        choose(Wanted("cpu", "torch", weights=tmp_path), MINI, CPU)


def test_the_choice_keeps_the_budget_and_says_what_it_means_before_anything_is_loaded():
    need = gpu_need("torch", ModelSet.load(MINI), 8)
    for budget_mib, words in (
        (need.total_mib, f"needs about {need}"),
        (need.total_mib - 1, "make room for each other"),
    ):
        choice = choose(Wanted("cuda", "torch", gpu_memory_mib=budget_mib), MINI, EVERYTHING)
        assert choice.in_process.gpu_memory_mib == budget_mib
        assert choice.sentence.startswith(
            "torch on cuda, compiled, which takes minutes at the first start (--no-compile); "
        )
        assert words in choice.sentence


def test_nothing_is_compiled_if_all_networks_give_their_memory_up():
    mini = ModelSet.load(MINI)
    for unets_stay in (True, False):
        budget_mib = shared_need("torch", mini, 8, unets_stay=unets_stay).total_mib
        choice = choose(Wanted("cuda", "torch", gpu_memory_mib=budget_mib), MINI, EVERYTHING)
        assert choice.in_process.compiled == unets_stay
        assert choice.sentence.startswith("torch on cuda, compiled" if unets_stay else "torch on cuda; ")


def test_a_limit_on_gpu_memory_is_for_a_gpu():
    with pytest.raises(InvalidInput, match="--gpu-memory-mib is given and the networks run on the CPU"):
        choose(Wanted("cpu", gpu_memory_mib=9000), MINI, EVERYTHING)


@pytest.mark.parametrize(
    ("wanted", "compiled"),
    [
        (Wanted("cuda", "torch"), True),
        (Wanted("cuda", "torch", compiled=False), False),
        (Wanted("cuda", "onnxruntime"), False),
        (Wanted("cpu", "torch"), False),
        (Wanted("cpu", "torch", compiled=True), True),
    ],
)
def test_pytorch_compiles_on_a_gpu_unless_it_is_told_otherwise(wanted, compiled):
    choice = choose(wanted, MINI, EVERYTHING)
    assert choice.in_process.compiled == compiled
    assert ("--no-compile" in choice.sentence) == compiled


def test_what_compiles_nothing_is_not_asked_to():
    with pytest.raises(
        InvalidInput, match="'onnxruntime' has nothing to compile; leave --compile out, or --runtime to"
    ):
        choose(Wanted("cpu", "onnxruntime", compiled=True), MINI, EVERYTHING)


@pytest.mark.parametrize("compiled", [None, True])
def test_the_engines_config_carries_the_choice(tmp_path, compiled):
    choice = choose(Wanted("cpu", "torch", compiled=compiled), MINI, CPU)
    output = tmp_path / "served"
    made = assemble(bundled_path("model_repository"), MINI, PROFILES["local"], output, choice=choice)
    assert made == Assembled.load(output)
    assert made.runtime == "torch on cpu"
    engine = output / "rotate_object_stream"
    config = (engine / "configs/local.pbtxt").read_text()
    for name, value in choice.in_process.parameters().items():
        assert f'key: "{name}" value: {{ string_value: "{value}" }}' in config
    assert InProcess.from_parameters(choice.in_process.parameters()) == choice.in_process
    assert (engine / "1/weights").resolve() == MINI.resolve()
    assert not (engine / "1/networks").exists()
    written = ModelSet.load(engine / "1")
    assert (written.precision, written.sizes) == ("fp32", ModelSet.load(MINI).sizes)
    assert written.notes == ModelSet.load(MINI).notes


def test_engine_plans_are_linked_where_the_engine_looks_for_them(plans, tmp_path):
    choice = choose(Wanted("cuda", "tensorrt"), plans, EVERYTHING)
    output = tmp_path / "served"
    assemble(bundled_path("model_repository"), plans, PROFILES["local"], output, choice=choice)
    for name in NETWORKS:
        link = output / "rotate_object_stream/1/networks" / name / "model.plan"
        assert link.resolve() == (plans / name / "model.plan").resolve()


@pytest.mark.parametrize("profile", ["cpu", "tensorrt"])
def test_other_profiles_take_no_runtime(tmp_path, profile):
    choice = choose(Wanted("cpu"), MINI, CPU)
    with pytest.raises(InvalidInput, match=f"profile '{profile}' takes no --device or --runtime"):
        assemble(bundled_path("model_repository"), MINI, PROFILES[profile], tmp_path / "served", choice=choice)


def test_a_repository_that_an_older_version_assembled_is_to_be_assembled_again():
    parameters = InProcess().parameters()
    del parameters["compiled"]
    with pytest.raises(InvalidInput, match=r"no parameter 'compiled'.* run respin assemble again"):
        InProcess.from_parameters(parameters)
