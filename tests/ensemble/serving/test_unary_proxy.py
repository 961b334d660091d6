"""The unary proxies under many quick callers: what Triton 2.51 makes of decoupled calls must not kill them."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from mini_server import serve

from respin.errors import Busy
from respin_client import Client
from respin_server.stubs import living_instances

pytestmark = pytest.mark.triton

CALLERS, REQUESTS = 8, 400
CROWD, MAX_CALLS = 80, 28


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


def test_a_proxy_at_its_limit_rejects_at_once_and_answers_those_it_took_in(tmp_path, turn):
    with (
        serve("local", tmp_path, exit_timeout_s=5, cache_mib=0) as server,
        Client(str(server.endpoints["gRPC"]), retries=0) as client,
        ThreadPoolExecutor(CROWD) as callers,
    ):

        def mask(seed):
            try:
                return client.segment_object(turn(seed=seed)).mask
            except Busy as refusal:
                return str(refusal)

        answers = list(callers.map(mask, range(CROWD)))
    refusals = [answer for answer in answers if isinstance(answer, str)]
    assert 0 < len(refusals) <= CROWD - MAX_CALLS
    assert set(refusals) == {f"segment_object has {MAX_CALLS} requests in progress, its limit. Retry in 1.0 s"}
