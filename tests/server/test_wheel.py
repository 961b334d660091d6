"""Finding the server inside the wheel."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from respin.errors import InternalError, InvalidInput
from respin_server.wheel import TritonWheel, libpython_folder


@pytest.fixture
def packages(tmp_path):
    """A site-packages folder that holds the wheel's parts for two Python versions, all empty."""
    server = tmp_path / "pytriton" / "tritonserver"
    files = [
        "bin/tritonserver",
        "backends/python/libtriton_python.so",
        "backends/python/triton_python_backend_utils.py",
    ]
    files += [f"python_backend_stubs/{version}/triton_python_backend_stub" for version in ("3.9", "3.10")]
    for name in files:
        (server / name).parent.mkdir(parents=True, exist_ok=True)
        (server / name).touch()
    return tmp_path


def test_without_the_wheel_the_extra_is_named(tmp_path):
    with pytest.raises(InternalError, match=r"pip install 'respin\[serve\]'"):
        TritonWheel.in_packages(tmp_path)


def test_a_python_without_a_stub_is_told_which_have_one(packages):
    with pytest.raises(InternalError, match=r"Python 3\.99; it has stubs for 3\.9, 3\.10"):
        TritonWheel.in_packages(packages, "3.99")


@pytest.fixture
def unpacked(packages):
    """The same as an unpacked wheel for this Python, whose programs may be executed."""
    (packages / "nvidia_pytriton.libs").mkdir()
    server = packages / "pytriton" / "tritonserver"
    stub = server / "python_backend_stubs" / f"3.{sys.version_info.minor}" / "triton_python_backend_stub"
    stub.parent.mkdir(exist_ok=True)
    stub.touch()
    for program in (server / "bin" / "tritonserver", stub):
        program.chmod(0o755)
    return packages


def test_a_folder_takes_the_place_of_the_installed_wheel(unpacked, monkeypatch):
    monkeypatch.chdir(unpacked.parent)
    wheel = TritonWheel.find(Path(unpacked.name))
    assert wheel.binary == unpacked / "pytriton" / "tritonserver" / "bin" / "tritonserver"
    assert wheel.libraries.is_absolute(), "models of the server may run in another folder"


@pytest.mark.parametrize(
    "part", ["pytriton/tritonserver/backends/python/triton_python_backend_utils.py", "nvidia_pytriton.libs"]
)
def test_a_folder_that_lacks_a_part_is_refused_with_the_part_and_the_cure(unpacked, part):
    path = unpacked / part
    path.rmdir() if path.is_dir() else path.unlink()
    with pytest.raises(InvalidInput, match=rf"has no {part}; unpack the wheel into it: pip install --no-deps"):
        TritonWheel.find(unpacked)


def test_programs_that_may_not_be_executed_are_refused(unpacked):
    (unpacked / "pytriton" / "tritonserver" / "bin" / "tritonserver").chmod(0o644)
    with pytest.raises(InvalidInput, match=r"tritonserver' may not be executed; chmod \+x it"):
        TritonWheel.find(unpacked)


def test_a_folder_without_a_stub_for_this_python_is_told_which_it_has(unpacked):
    (unpacked / "pytriton/tritonserver/python_backend_stubs" / f"3.{sys.version_info.minor}").rename(
        unpacked / "pytriton/tritonserver/python_backend_stubs/3.8"
    )
    with pytest.raises(InternalError, match=r"it has stubs for 3\.8, 3\.9, 3\.10|it has stubs for 3\.8, 3\.9:"):
        TritonWheel.find(unpacked)


def test_a_missing_libpython_is_named(tmp_path):
    with pytest.raises(InternalError, match=r"libpython3\.\d+\.so\.1\.0 is missing"):
        libpython_folder([tmp_path])


def test_the_backend_directory_is_links_into_the_wheel(packages, tmp_path):
    wheel = TritonWheel.in_packages(packages, "3.10")
    wheel.link_backends(tmp_path / "backends")
    links = {path.name: path.resolve() for path in (tmp_path / "backends" / "python").iterdir()}
    assert links == {
        "libtriton_python.so": wheel.python_backend / "libtriton_python.so",
        "triton_python_backend_utils.py": wheel.python_backend / "triton_python_backend_utils.py",
        "triton_python_backend_stub": wheel.stub,
    }


def test_the_models_run_in_this_very_python_environment(packages):
    wheel = TritonWheel.in_packages(packages, "3.10")
    inherited = {"PATH": "/usr/bin", "LD_LIBRARY_PATH": "/opt/lib", "PYTHONHOME": "/elsewhere", "LANG": "C"}
    environment = wheel.environment(inherited)
    assert environment["PATH"].split(os.pathsep) == [f"{sys.prefix}/bin", "/usr/bin"]
    assert environment["LD_LIBRARY_PATH"].split(os.pathsep)[0] == str(wheel.libraries)
    assert environment["LD_LIBRARY_PATH"].split(os.pathsep)[-1] == "/opt/lib"
    assert "PYTHONHOME" not in environment
    assert environment["LANG"] == "C"


def test_an_empty_environment_gains_no_empty_path(packages):
    environment = TritonWheel.in_packages(packages, "3.10").environment({})
    # An empty entry would mean the working directory.
    assert "" not in environment["PATH"].split(os.pathsep) + environment["LD_LIBRARY_PATH"].split(os.pathsep)


def test_finding_the_wheel_does_not_import_pytriton():
    script = (
        "import sys; from respin_server.wheel import TritonWheel; "
        "print(TritonWheel.installed().binary.is_file(), 'pytriton' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert found.stdout.split() == ["True", "False"]
