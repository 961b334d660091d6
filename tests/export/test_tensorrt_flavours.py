"""Which TensorRT is used, and which GPUs it builds for."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from respin.errors import InternalError, InvalidInput
from respin_export.tensorrt.flavours import TENSORRT_MISSING, Library, device_capability, target_capabilities

CONTAINER = Library("tensorrt", "10.5.0")
RTX = Library("tensorrt_rtx", "1.7.1", ("7.5", "8.6", "8.9", "12.0"))


def installed(**modules):
    """An import of what is given and of nothing else; an exception is raised."""

    def load(name):
        if name not in modules:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        if isinstance(modules[name], Exception):
            raise modules[name]
        return modules[name]

    return load


def rtx_module():
    members = dict.fromkeys(["NONE", "CURRENT", "SM120", "SM75", "SM86", "SM89"])
    return SimpleNamespace(__version__="1.7.1", ComputeCapability=SimpleNamespace(__members__=members))


def driver(major=9, minor=0, failing=None):
    def attribute(number, which, device):
        number._obj.value = {75: major, 76: minor}[which]
        return failing == "attribute"

    return SimpleNamespace(
        cuInit=lambda flags: failing == "init",
        cuDeviceGet=lambda device, ordinal: failing == "device",
        cuDeviceGetAttribute=attribute,
    )


def test_the_flavour_that_triton_serves_comes_first():
    both = installed(tensorrt=SimpleNamespace(__version__="10.5.0"), tensorrt_rtx=rtx_module())
    assert Library.installed(load=both) == CONTAINER
    assert Library.installed("tensorrt_rtx", both) == RTX
    assert Library.installed(load=installed(tensorrt_rtx=rtx_module())) == RTX


@pytest.mark.parametrize("flavour", [None, "tensorrt", "tensorrt_rtx"])
def test_without_any_tensorrt_one_sentence_says_how_to_get_it(flavour):
    with pytest.raises(InternalError) as missing:
        Library.installed(flavour, installed())
    assert str(missing.value) == TENSORRT_MISSING


def test_a_tensorrt_that_does_not_load_says_why():
    broken = installed(tensorrt=ImportError("libnvinfer.so.10: cannot open shared object file"))
    with pytest.raises(InternalError, match=r"tensorrt is installed but does not load \(libnvinfer"):
        Library.installed(load=broken)
    within = installed(tensorrt=ModuleNotFoundError("No module named 'attr'", name="attr"))
    with pytest.raises(ModuleNotFoundError, match="attr"):
        Library.installed(load=within)


def test_a_flavour_that_does_not_exist_is_refused():
    with pytest.raises(InvalidInput, match="'openvino'; choose of tensorrt, tensorrt_rtx"):
        Library.installed("openvino", installed())


def test_the_gpu_is_asked_for_its_capability():
    assert device_capability(driver(8, 6)) == "8.6"
    assert device_capability(driver(12, 0)) == "12.0"


@pytest.mark.parametrize("failing", ["init", "device", "attribute"])
def test_a_driver_without_a_gpu_is_no_gpu(failing):
    assert device_capability(driver(failing=failing)) is None


@pytest.mark.parametrize(
    ("library", "wanted", "device", "capabilities"),
    [
        (CONTAINER, [], "9.0", ("9.0",)),
        (CONTAINER, ["9.0"], "9.0", ("9.0",)),
        (CONTAINER, ["current"], "9.0", ("9.0",)),
        (RTX, [], None, ()),
        (RTX, [], "9.0", ()),
        (RTX, ["12.0", "8.6", "8.6"], None, ("8.6", "12.0")),
        (RTX, ["current"], "9.0", ("current:9.0",)),
    ],
)
def test_an_engine_is_built_for(library, wanted, device, capabilities):
    assert target_capabilities(library, wanted, device) == capabilities


@pytest.mark.parametrize(
    ("library", "wanted", "device", "words"),
    [
        (CONTAINER, [], None, "builds on a GPU and there is none; --flavour tensorrt_rtx"),
        (CONTAINER, ["8.6"], "9.0", "compute capability 9.0, not for 8.6"),
        (RTX, ["9.0"], "9.0", "cannot build for compute capability 9.0; choose of 7.5, 8.6, 8.9, 12.0"),
        (RTX, ["current"], None, "no GPU to build for"),
        (RTX, ["current", "8.6"], "8.6", "give it alone"),
    ],
)
def test_a_gpu_that_cannot_be_built_for_is_refused(library, wanted, device, words):
    with pytest.raises(InvalidInput, match=words):
        target_capabilities(library, wanted, device)
