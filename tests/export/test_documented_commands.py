"""Documented commands chain: each reads the folder that the one before it wrote."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from respin_export.setup.plan import SetupPlan
from respin_export.tensorrt.engine_set import engines_folder
from respin_export.tensorrt.flavours import Library

ROOT = Path(__file__).parents[2]
MADE = {"full", "full-fp16", "full-fp16-tensorrt"}
"""Folders of the full set that a command writes unless told."""


def documented():
    """Every page and module that names a command."""
    pages = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "Makefile", "docker/compose.yaml")]
    pages += [*ROOT.glob("docs/*.md"), *ROOT.glob("examples/**/*.yaml")]
    return pages + [
        path for package in ("client", "export", "server", "ensemble") for path in ROOT.glob(f"{package}/**/*.py")
    ]


def test_every_folder_that_is_documented_is_one_that_a_command_writes():
    plans = [SetupPlan(Path(), Path(), "cuda", "tensorrt", each, "tensorrt") for each in ("fp32", "fp16")]
    assert {plan.graphs.name for plan in plans} | {plans[1].engines.name} == MADE
    named = {name: path for path in documented() for name in re.findall(r"\bmodels/(full[\w-]*)", path.read_text())}
    assert set(named) - MADE == set(), named


def test_each_documented_command_reads_what_the_one_before_it_wrote():
    page = (ROOT / "docs/containers.md").read_text().partition("## Step by step")[2]
    lines = page.partition("```\n")[2].partition("```")[0].splitlines()
    _, export, engines, assemble, serve = (shlex.split(line, comments=True) for line in lines)
    plan = SetupPlan(Path("weights"), Path("models"), "cuda", "tensorrt", "fp16", "tensorrt")
    assert export == ["respin", "export", "--precision", plan.chosen_precision]
    assert engines == ["respin", "engines", str(plan.graphs)]
    assert engines_folder(Path(engines[2]), Library("tensorrt", "11.2.1")) == plan.engines
    assert assemble == ["respin", "assemble", "served", "--models", str(plan.engines), "--profile", "tensorrt"]
    assert serve == ["tritonserver", "--model-repository", assemble[2], "--model-config-name", assemble[-1]]
