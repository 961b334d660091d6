"""The unary fronts under many quick callers: what Triton 2.51 makes of decoupled calls must not kill them."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from mini_server import serve

from respin_client import Client
from respin_ensemble.server.stubs import living_instances

pytestmark = pytest.mark.triton

CALLERS, REQUESTS = 8, 400


def test_hundreds_of_quick_requests_from_many_callers_are_all_answered_by_the_same_process(tmp_path, turn):
    with (
        serve("local", tmp_path, exit_timeout_s=5, cache_mib=0) as server,
        Client(str(server.endpoints["gRPC"]), retries=0) as client,
        ThreadPoolExecutor(CALLERS) as callers,
    ):
        before = living_instances(server.pid)
        masks = list(callers.map(lambda seed: client.segment_object(turn(seed=seed)).mask, range(REQUESTS)))
        assert len(set(masks)) == 1
        assert living_instances(server.pid) == before
