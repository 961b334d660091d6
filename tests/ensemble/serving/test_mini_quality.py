"""The mini set's pictures are right, through the real server, and a broken stage would be noticed.

The tolerances are in `respin_benchmarks.quality.tolerances`; a measure without one is skipped.
"""

from functools import partial

import pytest

from respin.bundled import bundled_path
from respin_benchmarks.quality.broken import AS_BUILT, BROKEN_STAGES, holds, rows_in_process, rows_of
from respin_benchmarks.quality.jobs import served_outputs
from respin_benchmarks.quality.tolerances import TOLERANCES
from respin_client import Client
from respin_ensemble.networks.onnx import OnnxNetworks

pytestmark = pytest.mark.triton


def if_set(name):
    return pytest.mark.skipif(TOLERANCES[name] is None, reason=f"no tolerance of {name}: the set is not trained for it")


MEASURED = [pytest.param(name, marks=if_set(name)) for name in TOLERANCES]
BROKEN = [pytest.param(stage, marks=if_set(stage.measure), id=stage.title) for stage in BROKEN_STAGES]


@pytest.fixture(scope="module")
def networks():
    return OnnxNetworks.from_set(bundled_path("models/mini"))


@pytest.fixture(scope="module")
def served_rows(local_server, networks):
    with Client(str(local_server.endpoints["gRPC"]), timeout_s=100) as client:
        return rows_of(partial(served_outputs, client), networks.sizes)


@pytest.fixture(scope="module")
def rows_as_built(networks):
    return rows_in_process(networks, AS_BUILT)


@pytest.mark.parametrize("name", MEASURED)
def test_held_out_scenes_are_within_the_tolerance(served_rows, name):
    assert holds(name, served_rows), {row.seed: row.figure(name) for row in served_rows}


@pytest.mark.parametrize("stage", BROKEN)
def test_a_broken_stage_is_not_within_the_tolerance(networks, rows_as_built, stage):
    assert holds(stage.measure, rows_as_built), "in this process as on the server"
    assert holds(stage.measure, rows_in_process(networks, stage)) is False
