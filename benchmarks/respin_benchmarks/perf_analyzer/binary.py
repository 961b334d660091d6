"""Find perf_analyzer, or set it up."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from respin.errors import InvalidInput

OLDER = ("tritonclient==2.51.0",)
"""The last wheel whose perf_analyzer runs on a glibc before 2.38; of the served Triton's own version."""

NEWER = ("perf-analyzer",)
GLIBC_OF_NEWER = (2, 38)

LIBRARIES = {"libb64-*.so.0d": "libb64.so.0d", "libcudart-*.so.*": "libcudart.so.12"}
"""What that wheel's binary needs and nvidia-pytriton brings under names of its own."""


@dataclass(frozen=True)
class PerfAnalyzer:
    """The program.

    Args:
        path: of it.
        libraries: folder to look for shared libraries in; None = the system's are enough.
    """

    path: Path
    libraries: Path | None = None

    def run(self, arguments: Sequence[str], timeout_s: float) -> str:
        """Run it; what it printed.

        Raises:
            InvalidInput: it refused, with its own last words; or took longer than `timeout_s`.
        """
        environment = dict(os.environ)
        if self.libraries:
            environment["LD_LIBRARY_PATH"] = f"{self.libraries}:{environment.get('LD_LIBRARY_PATH', '')}"
        try:
            ended = subprocess.run(
                [self.path, *arguments], capture_output=True, text=True, env=environment, timeout=timeout_s, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise InvalidInput(f"perf_analyzer was not done after {timeout_s:g} s; measure fewer requests") from error
        if ended.returncode:
            words = " ".join((ended.stderr or ended.stdout).split())[-600:]
            raise InvalidInput(f"perf_analyzer left with {ended.returncode}: {words}")
        return ended.stdout


def perf_analyzer(folder: Path) -> PerfAnalyzer:
    """The program of the PATH, or one that was set up in a folder before, or is now.

    Args:
        folder: to set it up in; 20 MB.

    Raises:
        InvalidInput: it could not be set up.
    """
    if found := shutil.which("perf_analyzer"):
        return PerfAnalyzer(Path(found))
    path = folder / "bin" / "perf_analyzer"
    if not path.is_file():
        _install(folder, NEWER if _glibc() >= GLIBC_OF_NEWER else OLDER)
        if not path.is_file():
            raise InvalidInput(f"the package brought no {path.name}; put one on the PATH")
    path.chmod(0o755)
    if _glibc() >= GLIBC_OF_NEWER:
        return PerfAnalyzer(path)
    return PerfAnalyzer(path, _libraries(folder / "lib"))


def _glibc() -> tuple[int, ...]:
    return tuple(int(part) for part in platform.libc_ver()[1].split(".")[:2])


def _install(folder: Path, packages: Sequence[str]) -> None:
    # Into a folder of its own: its Python is another version than the client's.
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder), *packages]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise InvalidInput(
            f"perf_analyzer could not be set up: pip said {' '.join(ended.stderr.split())[-300:]}; put one on the PATH"
        )


def _libraries(folder: Path) -> Path:
    spec = find_spec("pytriton")
    if spec is None or spec.origin is None:
        raise InvalidInput("perf_analyzer needs libraries of nvidia-pytriton; pip install 'respin[serve]'")
    brought = Path(spec.origin).parents[1] / "nvidia_pytriton.libs"
    folder.mkdir(parents=True, exist_ok=True)
    for pattern, name in LIBRARIES.items():
        link = folder / name
        link.unlink(missing_ok=True)
        try:
            link.symlink_to(next(brought.glob(pattern)))
        except StopIteration as error:
            raise InvalidInput(f"nvidia-pytriton brings no {pattern}; install {name} and put it on the path") from error
    return folder
