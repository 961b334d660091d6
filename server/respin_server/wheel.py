"""Find the tritonserver 2.51.0 of the nvidia-pytriton wheel, installed or unpacked; never import pytriton itself."""

from __future__ import annotations

import importlib.util
import os
import sys
import sysconfig
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from respin.errors import InternalError, InvalidInput

STUB_NAME = "triton_python_backend_stub"
"""Executable that runs one instance of a Python model."""

SERVE_EXTRA_MISSING = "the embedded server is not installed; pip install 'respin[serve]'"
"""Error message if a part of the extra is missing."""

_LIBRARIES = "nvidia_pytriton.libs"
_BACKEND_FILES = ("libtriton_python.so", "triton_python_backend_utils.py")

_PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"


@dataclass(frozen=True)
class TritonWheel:
    """The files of the embedded server.

    Args:
        binary: the tritonserver executable.
        libraries: folder of its shared libraries.
        python_backend: folder of the Python backend's library and module.
        stub: the stub for this Python version.
        caches: folder of the response cache implementations.
    """

    binary: Path
    libraries: Path
    python_backend: Path
    stub: Path
    caches: Path

    @classmethod
    def find(cls, folder: Path | None = None) -> TritonWheel:
        """Return the wheel that was unpacked into a folder, or that of this Python environment.

        Args:
            folder: the folder that holds `pytriton` and `nvidia_pytriton.libs`; None = the installed wheel.

        Raises:
            InvalidInput: the folder lacks a part of the wheel.
            InternalError: the wheel is not installed, or has no stub for this Python version.
        """
        if folder is None:
            return cls.installed()
        server = Path("pytriton") / "tritonserver"
        backend = [server / "backends" / "python" / name for name in _BACKEND_FILES]
        parts = [server / "bin" / "tritonserver", *backend, Path(_LIBRARIES)]
        if missing := [part for part in parts if not (folder / part).exists()]:
            raise InvalidInput(
                f"--tritonserver is '{folder}', which has no {missing[0]}; unpack the wheel into it: "
                "pip install --no-deps --target DIR nvidia-pytriton==0.7.0, or unzip -d DIR nvidia_pytriton-*.whl"
            )
        wheel = cls.in_packages(folder.resolve())
        for program in (wheel.binary, wheel.stub):
            if not os.access(program, os.X_OK):
                raise InvalidInput(f"'{program}' may not be executed; chmod +x it, or unpack the wheel with unzip")
        return wheel

    @classmethod
    def installed(cls) -> TritonWheel:
        """Return the wheel of this Python environment.

        Raises:
            InternalError: it is not installed, or has no stub for this Python version.
        """
        # find_spec does not import the package: importing pytriton takes seconds.
        spec = importlib.util.find_spec("pytriton")
        if spec is None or not spec.submodule_search_locations:
            raise InternalError(SERVE_EXTRA_MISSING)
        return cls.in_packages(Path(spec.submodule_search_locations[0]).parent)

    @classmethod
    def in_packages(cls, packages: Path, python: str = _PYTHON) -> TritonWheel:
        """Return the wheel in a site-packages folder.

        Args:
            packages: folder of `pytriton` and `nvidia_pytriton.libs`.
            python: Python version of the stub, e.g. "3.11".

        Raises:
            InternalError: the wheel is not there, or has no stub for the version.
        """
        server = packages / "pytriton" / "tritonserver"
        if not (server / "bin" / "tritonserver").is_file():
            raise InternalError(SERVE_EXTRA_MISSING)
        stubs = server / "python_backend_stubs"
        if not (stubs / python / STUB_NAME).is_file():
            versions = sorted((folder.name for folder in stubs.glob("*.*")), key=_version_key)
            raise InternalError(
                f"the embedded server cannot run models in Python {python}; it has stubs for {', '.join(versions)}: "
                "install respin[serve] under one of these"
            )
        return cls(
            binary=server / "bin" / "tritonserver",
            libraries=packages / _LIBRARIES,
            python_backend=server / "backends" / "python",
            stub=stubs / python / STUB_NAME,
            caches=server / "caches",
        )

    def link_backends(self, folder: Path) -> None:
        """Create a backend directory of links: the wheel has the stub in another folder, and must stay unchanged."""
        python = folder / "python"
        python.mkdir(parents=True)
        for part in (*(self.python_backend / name for name in _BACKEND_FILES), self.stub):
            (python / part.name).symlink_to(part)

    def environment(self, inherited: Mapping[str, str] | None = None) -> dict[str, str]:
        """Return the environment variables with which the server runs its models in this Python environment.

        Args:
            inherited: variables to start from; None = those of this process.

        Raises:
            InternalError: libpython, which the stub is linked with, cannot be found.
        """
        environment = dict(os.environ if inherited is None else inherited)
        libraries = [self.libraries, libpython_folder(), environment.get("LD_LIBRARY_PATH")]
        environment["LD_LIBRARY_PATH"] = os.pathsep.join(str(path) for path in libraries if path)
        # The stub embeds an interpreter that finds its environment through the first `python` on PATH.
        executables = [Path(sys.prefix) / "bin", environment.get("PATH")]
        environment["PATH"] = os.pathsep.join(str(path) for path in executables if path)
        environment.pop("PYTHONHOME", None)
        return environment


def libpython_folder(folders: Iterable[Path] | None = None) -> Path:
    """Return the folder of this interpreter's shared library.

    Args:
        folders: folders to search, in order; None = those of this interpreter's build.

    Raises:
        InternalError: it is in none of them.
    """
    name = f"libpython{_PYTHON}.so.1.0"
    for folder in _library_folders() if folders is None else folders:
        if (folder / name).is_file():
            return folder
    raise InternalError(
        f"{name} is missing, and the embedded server's models run in it; "
        f"install it (Debian: apt-get install libpython{_PYTHON}) or use a Python built with --enable-shared"
    )


def _library_folders() -> list[Path]:
    built = Path(sysconfig.get_config_var("LIBDIR") or "/usr/lib")
    # Debian has it in a folder named after the architecture, relocated interpreters beside themselves.
    return [built, built / str(sysconfig.get_config_var("MULTIARCH") or ""), Path(sys.base_prefix) / "lib"]


def _version_key(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))
