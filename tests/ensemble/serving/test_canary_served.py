"""The health check of a container, against the real server."""

import pytest

from respin_client import canary

pytestmark = pytest.mark.triton


def test_a_server_on_the_mini_set_is_healthy(server, capsys):
    assert canary.main({"RESPIN_URL": str(server.endpoints["gRPC"])}) == 0
    assert capsys.readouterr().out == "healthy: the server turned an object\n"
