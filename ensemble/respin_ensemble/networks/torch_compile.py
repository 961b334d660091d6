"""torch.compile's code in place of PyTorch's own kernels, where a measurement says that it pays.

Code is compiled while the networks are warmed up, before the server is ready, and kept on disk for later starts.
"""

from __future__ import annotations

import codecs
import locale
import logging
import os
from collections.abc import Callable, Collection, Mapping, MutableMapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from respin.contracts import NETWORKS
from respin.model_set import Sizes
from respin.specs import Array, ModelSpec
from respin_ensemble.networks.in_process import blank_inputs, warm_up_calls
from respin_ensemble.networks.memory_errors import is_out_of_memory
from respin_ensemble.networks.torch_calls import GraphedCall, Shapes
from respin_ensemble.networks.torch_graph import Forward, Lane

_log = logging.getLogger(__name__)

COMPILED: dict[str, tuple[int, ...]] = {
    "sam_encoder": (1,),
    "zero123_unet": (1, 4, 8),
    "vae_encoder": (1,),
    "vae_decoder": (1,),
    "edsr": (1,),
    "inpaint_unet": (1,),
}
"""Networks and batches whose compiled calls took 40 to 66 % less time on an H200 (docs/benchmarks.md). GroundingDINO
took three minutes to compile, and what it gains is not measured."""

CACHE_VARIABLE = "TORCHINDUCTOR_CACHE_DIR"


@dataclass(frozen=True)
class Compilation:
    """What is compiled.

    Args:
        shapes: shapes of the inputs of the calls to compile, by network; all other calls run as they are.
        report: receives what is compiled before it is.
    """

    shapes: Mapping[str, Collection[Shapes]]
    report: Callable[[str], None]

    @classmethod
    def of_warm_up(cls, sizes: Sizes, gpu_batch: int | None, report: Callable[[str], None]) -> Compilation:
        """Compile the calls of the warm-up that are worth it, so that no job waits for a compiler.

        Args:
            sizes: sizes of the set.
            gpu_batch: samples of the largest call of a UNet on a GPU; None = the networks run on a CPU.
            report: see the class.
        """
        shapes = {
            name: frozenset(
                tuple(array.shape for array in blank_inputs(NETWORKS[name], sizes, batch, lengths).values())
                for batch, lengths in warm_up_calls(NETWORKS[name], sizes, gpu_batch)
                if batch in batches
            )
            for name, batches in COMPILED.items()
        }
        return cls(shapes, report)


class CompiledCall(GraphedCall):
    """A graphed call of torch.compile's code for some shapes; other shapes run the plain module.

    A module that cannot be compiled here runs as it is; `uncompiled` is the reason, empty if there is none.

    Args:
        module: see `EagerCall`.
        spec: its contract.
        device: "cpu" or "cuda".
        lane: see `EagerCall`.
        compilation: what to compile.
        compiler: returns a module as torch.compile does; None = `torch_parts.compile_module`.
    """

    def __init__(
        self,
        module: nn.Module,
        spec: ModelSpec,
        device: str,
        lane: Lane | None,
        *,
        compilation: Compilation,
        compiler: Callable[[nn.Module], Forward] | None = None,
    ) -> None:
        super().__init__(module, spec, device, lane)
        self._shapes, self._report = compilation.shapes[spec.name], compilation.report
        self._reported: set[Shapes] = set()
        self.uncompiled = ""
        self._compiled: Forward = module
        try:
            self._compiled = (compiler or _compiler())(module)
        except Exception as error:  # PyTorch imports its compiler here, which fails in many ways
            self._run_plain(error)

    def forward_for(self, shapes: Shapes) -> Forward:
        """Return the compiled module for the shapes that are worth it, the plain one for others."""
        return self._compiled if shapes in self._shapes and not self.uncompiled else self.module

    def forward(self, module: Forward, arrays: Mapping[str, Array]) -> list[Tensor]:
        """Call eagerly; the first call of a shape compiles it."""
        if module is self.module:
            return super().forward(module, arrays)
        shapes = tuple(array.shape for array in arrays.values())
        if shapes not in self._reported:
            self._reported.add(shapes)
            self._report(f"compiling {self.spec.name} for a batch of {shapes[0][0]}")
        try:
            return super().forward(module, arrays)
        except Exception as error:  # compilers' errors have no common class
            if is_out_of_memory(error):
                raise
            outputs = super().forward(self.module, arrays)
            self._run_plain(error)
            return outputs

    def _run_plain(self, error: Exception) -> None:
        self.uncompiled = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        _log.warning("%s runs without torch.compile: %s", self.spec.name, self.uncompiled)


def _compiler() -> Callable[[nn.Module], Forward]:
    # diffusers and transformers, which only compiled modules need
    from respin_ensemble.networks.torch_parts import compile_module  # noqa: PLC0415

    return compile_module


def read_text_as_utf8() -> None:
    """Let this process read text files as UTF-8: PyTorch's compiler has some, and Triton starts models with ASCII."""
    if codecs.lookup(locale.getpreferredencoding(False)).name == "ascii":
        locale.setlocale(locale.LC_CTYPE, "C.UTF-8")


def keep_compiled_code(environment: MutableMapping[str, str] = os.environ) -> None:
    """Let torch.compile keep its code in the user's cache folder: its own default is a folder in /tmp.

    Args:
        environment: variables of this process; `CACHE_VARIABLE` is set if it is not, and if the folder can be written.
    """
    if CACHE_VARIABLE in environment:
        return
    try:
        base = Path(environment.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        folder = base / "respin" / "torch-compile"
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError) as error:
        _log.warning("compiled code is not kept for later starts: %s", error)
        return
    environment[CACHE_VARIABLE] = str(folder)
