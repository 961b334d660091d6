"""The modules that the runtime `torch` serves need the extra serve-torch and nothing else of the export."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from respin.bundled import bundled_path
from respin.errors import InvalidInput
from respin_export.served_modules import manifest_of, module_loader
from respin_export.weights.layouts import checkpoint_layout

MINI = bundled_path("models/mini")

SCRIPT = """
import sys
from pathlib import Path
for name in ("onnx", "onnxscript", "onnxslim", "matplotlib"):
    sys.modules[name] = None
from respin_export.served_modules import manifest_of, module_loader
folder = Path(sys.argv[1])
if sys.argv[2] == "manifest":
    print(manifest_of(folder, "fp32").name, "torch" in sys.modules)
else:
    print(type(module_loader(folder, "cpu", "fp32")("edsr")).__name__)
"""


@pytest.fixture
def checkpoints(tmp_path):
    """Files under the names of the published ones; only EDSR's holds tensors."""
    names = ("grounding_dino/groundingdino_swint_ogc.pth", "sam/sam_vit_l_0b3195.pth", "zero123/zero123-xl.ckpt")
    for name in (*names, "inpaint/sd-v1-5-inpainting.ckpt", "edsr/edsr_x4-4f62e9ef.pt"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    (layout,) = checkpoint_layout("edsr:full", "mini").files.values()
    (tmp_path / "edsr/config.json").write_text('{"res_scale": 0.1}')
    torch.save({name: torch.zeros(tensor.shape) for name, tensor in layout.items()}, tmp_path / name)
    return tmp_path


def run(*arguments):
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *map(str, arguments)], check=True, capture_output=True, text=True
    )
    return done.stdout.split()


def test_the_manifest_of_checkpoints_is_made_without_pytorch(checkpoints):
    assert run(checkpoints, "manifest") == [checkpoints.name, "False"]
    assert run(MINI, "manifest") == ["mini", "False"]


def test_modules_are_made_without_what_exports_and_fetches(checkpoints):
    assert run(checkpoints, "module") == ["Edsr"]


def test_checkpoints_compute_in_the_precision_that_is_asked_for_and_the_mini_set_in_its_own(checkpoints):
    assert manifest_of(checkpoints, "fp16").precision == "fp16"
    assert manifest_of(MINI, "fp16").precision == "fp32"
    half = module_loader(checkpoints, "cuda", "fp16")("edsr")
    assert next(half.body.parameters()).dtype == torch.float16


def test_a_set_of_exported_files_is_not_taken_for_checkpoints(tmp_path):
    manifest = (MINI / "manifest.json").read_text().replace('"name": "mini"', '"name": "full"', 1)
    (tmp_path / "manifest.json").write_text(manifest)
    with pytest.raises(InvalidInput, match="holds exported files, and the runtime torch reads checkpoints"):
        module_loader(Path(tmp_path), "cpu", "fp32")
