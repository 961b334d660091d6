"""Imports point one way, and nothing heavy comes with them."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MAY_IMPORT = {
    "respin": set(),
    "respin_client": {"respin"},
    "respin_export": {"respin"},
    "respin_ensemble": {"respin"},
    "respin_server": {"respin"},
    "respin_benchmarks": {"respin", "respin_client", "respin_export", "respin_ensemble", "respin_server"},
}
FOLDERS = {"respin": "src", "respin_client": "client", "respin_export": "export"}
FOLDERS |= {"respin_ensemble": "ensemble", "respin_server": "server", "respin_benchmarks": "benchmarks"}


def imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.split(".")[0])
    return names


def modules(package: str) -> list[Path]:
    return sorted((ROOT / FOLDERS[package] / package).rglob("*.py"))


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_imports_point_one_way(package):
    allowed = MAY_IMPORT[package] | {package}
    wrong = {
        f"{path.relative_to(ROOT)} imports {name}"
        for path in modules(package)
        for name in imported(path) & set(MAY_IMPORT)
        if name not in allowed
    }
    assert wrong == set()


ENSEMBLE_MAY_IMPORT = {
    "serving": {"pipeline", "stages", "batching", "networks", "imaging", "metrics"},
    "pipeline": {"stages", "batching", "sampling", "networks", "imaging", "metrics"},
    "stages": {"batching", "sampling", "networks", "imaging", "vocabularies"},
    "batching": {"sampling", "networks", "metrics"},
    "networks": {"metrics"},
    "metrics_table": {"metrics"},
}
"""Folders and modules of the ensemble, from top to bottom; those that are missing import none of the others."""


def test_the_folders_of_the_ensemble_import_downwards():
    root = ROOT / "ensemble/respin_ensemble"
    wrong = set()
    for path in modules("respin_ensemble"):
        folder = path.relative_to(root).parts[0].removesuffix(".py")
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("respin_ensemble."):
                target = node.module.split(".")[1]
                if target not in {folder, *ENSEMBLE_MAY_IMPORT.get(folder, set())}:
                    wrong.add(f"{path.relative_to(root)} imports {target}")
    assert wrong == set()


def test_the_core_needs_numpy_and_nothing_else():
    import sys

    shared = [path for path in modules("respin") if path.name != "onnx_runtime.py"]  # for those who have it
    foreign = {name for path in shared for name in imported(path)} - set(sys.stdlib_module_names)
    assert foreign == {"numpy", "respin"}
    assert not [path for path in shared if "onnx_runtime" in path.read_text()]


TORCH_RUNTIMES = {
    "torch_paged.py",
    "torch_calls.py",
    "torch_graph.py",
    "torch_lanes.py",
    "torch_networks.py",
    "torch_parts.py",
    "torch_compile.py",
    "tensorrt.py",
}
"""Modules of the ensemble's networks that run them by PyTorch or TensorRT; nothing of the ensemble imports them."""


def test_the_server_side_imports_torch_only_in_the_runtimes_that_are_chosen():
    server_side = [*modules("respin_ensemble"), *modules("respin_server")]
    with_torch = {path for path in server_side if imported(path) & {"torch", "diffusers", "transformers", "tensorrt"}}
    assert {path.name for path in with_torch} == TORCH_RUNTIMES
    assert {path.parent.name for path in with_torch} == {"networks"}


def test_nothing_of_the_ensemble_imports_a_runtime_of_torch():
    names = tuple(f"respin_ensemble.networks.{name.removesuffix('.py')}" for name in TORCH_RUNTIMES)
    importers = {
        path.name
        for path in modules("respin_ensemble")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and node.module in names
    }
    assert importers <= TORCH_RUNTIMES


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_files_and_functions_stay_short(package):
    long = []
    for path in modules(package):
        text = path.read_text()
        if text.count("\n") > 300:
            long.append(str(path))
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef) and code_lines(node) > 40:
                long.append(f"{path}: {node.name}")
    assert long == []


def code_lines(node: ast.FunctionDef) -> int:
    """Lines of a function below its docstring."""
    start = node.body[0].end_lineno if ast.get_docstring(node) else node.lineno
    return node.end_lineno - start


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_every_public_name_is_documented(package):
    silent = [
        f"{path.relative_to(ROOT)}: {node.name}"
        for path in modules(package)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
        and not node.name.startswith("_")
        and not ast.get_docstring(node)
        and not inside_private(path, node)
    ]
    assert silent == []


def inside_private(path: Path, wanted: ast.AST) -> bool:
    """Whether a definition lies within a private class or within a function."""
    for node in ast.walk(ast.parse(path.read_text())):
        hidden = isinstance(node, ast.FunctionDef) or (isinstance(node, ast.ClassDef) and node.name.startswith("_"))
        if hidden and node.lineno < wanted.lineno <= node.end_lineno:
            return True
    return False
