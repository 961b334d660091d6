"""An embedded server on the mini set, for tests."""

import shutil
from pathlib import Path

from respin.bundled import bundled
from respin.limits import EngineLimits
from respin.profiles import PROFILES
from respin_server.assemble import assemble
from respin_server.launcher import EmbeddedTriton, ServerOptions

PROBE_CONFIG = """
name: "probe"
backend: "python"
max_batch_size: 0
input [{ name: "network" data_type: TYPE_STRING dims: [ 1 ] }, { name: "arrays" data_type: TYPE_STRING dims: [ 1 ] }]
output [{ name: "arrays" data_type: TYPE_STRING dims: [ 1 ] }]
instance_group [{ count: 1 kind: KIND_CPU }]
"""


def add_probe(repository: Path) -> None:
    folder = repository / "probe" / "1"
    folder.mkdir(parents=True)
    (folder.parent / "config.pbtxt").write_text(PROBE_CONFIG)
    shutil.copy(Path(__file__).with_name("probe_model.py"), folder / "model.py")


def serve(profile: str, folder: Path, *, probed: bool = False, exit_timeout_s: int = 10, **limits: int):
    repository = folder / "repository"
    chosen = EngineLimits(**limits)
    assemble(bundled("model_repository"), bundled("models/mini"), PROFILES[profile], repository, chosen)
    if probed:
        add_probe(repository)
    options = ServerOptions(
        repository,
        profile,
        grpc_port=0,
        metrics_port=0,
        exit_timeout_s=exit_timeout_s,
    )
    return EmbeddedTriton(options)
