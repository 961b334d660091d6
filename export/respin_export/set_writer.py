"""Write a set network by network; its folder is a valid set after each network, and after an interruption."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from respin.contracts import NETWORKS
from respin.errors import ContractMismatch, InvalidInput
from respin.model_set import MANIFEST, ModelSet, Sizes, records_of
from respin_export.onnx_file import replace_graph

GRAPH = "model.onnx"

MADE_WITH = ("respin", "torch", "transformers", "diffusers", "onnx", "onnxscript", "onnxruntime", "onnxslim")
"""Packages whose versions are recorded with every network, if they are installed."""


def versions() -> dict[str, str]:
    """Return the versions of the tools that make a network's files."""
    found = {}
    for package in MADE_WITH:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def save_manifest(manifest: ModelSet, folder: Path) -> None:
    """Write a set's manifest in one step: an incomplete one would lose the whole set."""
    with TemporaryDirectory(dir=folder) as beside:
        manifest.save(Path(beside))
        (Path(beside) / MANIFEST).replace(folder / MANIFEST)


@dataclass
class SetWriter:
    """A set's folder into which networks are written.

    Its `origin` holds facts about the weights, and tables by network: `versions` of the tools, `parity` (the error of
    each output), `export` (sources and options). Exporting a network again changes only its rows.

    Args:
        folder: folder of the set.
        manifest: current manifest of the set.
    """

    folder: Path
    manifest: ModelSet

    @classmethod
    def open(cls, folder: Path, *, name: str, precision: str, sizes: Sizes) -> SetWriter:
        """Open a set, or begin a new one.

        Raises:
            InvalidInput: the folder holds a set of another precision or other sizes, or one that cannot be read.
        """
        wanted = ModelSet(name, precision, sizes, {})
        if not (folder / MANIFEST).is_file():
            return cls(folder, wanted)
        try:
            found = ModelSet.load(folder)
        except ContractMismatch as error:
            raise InvalidInput(f"{error}; or give --output another folder") from None
        if (found.precision, found.sizes) != (precision, sizes):
            raise InvalidInput(
                f"'{folder}' holds a set in {found.precision} with {found.sizes}, wanted is {precision} with {sizes}; "
                "give --output another folder"
            )
        return cls(folder, found)

    def is_current(self, network: str, made_from: Mapping[str, Any]) -> bool:
        """Return whether a network's files exist, are intact, and come from the same sources and tools.

        Args:
            network: name of the network.
            made_from: sources and options, as passed to `publish`.
        """
        if network not in self.manifest.networks or self._row("versions", network) != versions():
            return False
        row = self._row("export", network) or {}
        if any(row.get(key) != value for key, value in made_from.items()):
            return False
        alone = replace(self.manifest, networks={network: self.manifest.networks[network]})
        try:
            alone.verify(self.folder)
        except ContractMismatch:
            return False
        return True

    @contextmanager
    def draft(self, network: str) -> Iterator[Path]:
        """Yield a path for a graph that is not checked yet; its folder is removed when the context ends."""
        self.folder.mkdir(parents=True, exist_ok=True)
        draft = self.folder / f".{network}.draft"
        # Files of a run that was killed.
        shutil.rmtree(draft, ignore_errors=True)
        try:
            yield draft / GRAPH
        finally:
            shutil.rmtree(draft, ignore_errors=True)

    def publish(
        self,
        network: str,
        draft: Path,
        *,
        parity: Mapping[str, float],
        export: Mapping[str, Any],
        weights: Any,
        training: Mapping[str, Any] | None = None,
        knows: str | None = None,
    ) -> None:
        """Move a graph to its place and record it.

        Args:
            network: name of the network.
            draft: path of the graph, from `draft`.
            parity: error of each output.
            export: sources and options of the graph, and the cost of the export.
            weights: records of all checkpoints, for `origin`.
            training: record of the training, if Respin trained it (`respin.model_set.ModelSet.notes`).
            knows: kind of pictures that the set was trained on; None = photos.
        """
        path = self.folder / network / GRAPH
        path.parent.mkdir(exist_ok=True)
        # The network is not in the manifest while its files change.
        self._save(lambda networks: networks.pop(network, None), self.manifest.origin)
        replace_graph(draft, path)
        rows: dict[str, dict[str, Any]] = {"versions": versions(), "parity": dict(parity), "export": dict(export)}
        if training is not None:
            rows["training"] = dict(training)
        tables = {table: {**self._table(table), network: row} for table, row in rows.items()}
        records = records_of(self.folder, path)
        about = {"weights": weights} if knows is None else {"weights": weights, "knows": knows}
        self._save(lambda networks: networks.update({network: records}), {**about, **tables})

    def _row(self, table: str, network: str) -> Any:
        return self._table(table).get(network)

    def _table(self, table: str) -> dict[str, Any]:
        found = self.manifest.origin.get(table)
        # Rows of unknown networks are dropped.
        return {name: row for name, row in found.items() if name in NETWORKS} if isinstance(found, dict) else {}

    def _save(self, change: Callable[[dict[str, Any]], Any], origin: Mapping[str, Any]) -> None:
        networks = dict(self.manifest.networks)
        change(networks)
        in_order = {name: networks[name] for name in NETWORKS if name in networks}
        self.manifest = replace(self.manifest, networks=in_order, origin=origin)
        save_manifest(self.manifest, self.folder)
