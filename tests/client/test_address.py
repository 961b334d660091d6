"""Where a call goes and what it carries: mistakes are refused before anything is sent, and are the caller's."""

from __future__ import annotations

import pytest

from respin_client import Client, InvalidInput


@pytest.mark.parametrize(
    "url",
    [
        "127.0.0.1:8001",
        "localhost:1",
        "a-b.example.com:65535",
        "[::1]:8001",
        "dns:///host:8001",
        "unix:/run/respin.sock",
    ],
)
def test_an_address_of_grpc_is_taken(url):
    Client(url).close()


@pytest.mark.parametrize(
    "url",
    [
        *("", "localhost", ":8001", "localhost:", "localhost:0", "localhost:65536", "localhost:99999", "localhost:abc"),
        *("http://127.0.0.1:8000", "https://host:8001", "grpc://host:8001", "host:8001/path", "two words:8001"),
        *("\0:1", "host:8001\n", "host:80\u0661", "m\u00fcnchen:8001", "x" * 10_000),
    ],
)
def test_an_address_that_is_none_is_refused(url):
    with pytest.raises(InvalidInput, match="give host:port of the server's gRPC port") as caught:
        Client(url)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("headers", "said"),
    [
        ({"a b": "c"}, "header 'a b' has a name that cannot be sent"),
        ({"": "c"}, "header '' has a name that cannot be sent"),
        ({":authority": "c"}, "header ':authority' has a name"),
        ({"grpc-timeout": "1S"}, "header 'grpc-timeout' has a name"),
        ({"key-bin": "c"}, "header 'key-bin' has a name"),
        ({"k\u00e9y": "c"}, "header 'k\u00e9y' has a name"),
        ({"key": "s\u00e9cret"}, "header 'key' has a value that is not printable ASCII"),
        ({"key": "a\nb"}, "header 'key' has a value that is not printable ASCII"),
        ({"key": "x" * 20_000}, "the headers have 20003 bytes, most of them 'key'"),
    ],
)
def test_a_header_that_cannot_be_sent_is_named_without_its_value(headers, said):
    with pytest.raises(InvalidInput) as caught:
        Client("127.0.0.1:8001", headers=headers)
    assert said in str(caught.value)
    assert "cret" not in str(caught.value)


@pytest.mark.parametrize("timeout_s", [0, -5, 1e10, 1e18, float("inf"), float("nan")])
def test_a_deadline_that_grpc_cannot_keep_is_refused(timeout_s):
    with pytest.raises(InvalidInput, match=r"timeout_s is .*; send a number of seconds above 0, at most 1000000"):
        Client("127.0.0.1:8001", timeout_s=timeout_s)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--url", "localhost:99999"), "url is 'localhost:99999'"),
        (("--url", "http://localhost:8000"), "url is 'http://localhost:8000'"),
        (("--timeout-s", "1e10"), "timeout_s is 10000000000.0"),
        (("--timeout-s", "-5"), "timeout_s is -5.0"),
        (("--header", "key"), "header is 'key'; send NAME:VALUE"),
        (("--header", "a b: c"), "header 'a b' has a name"),
        (("--header", "key: caf\u00e9"), "header 'key' has a value"),
    ],
)
@pytest.mark.parametrize("command", ["rotate", "segment"])
def test_flags_that_say_no_server_are_the_callers_mistake(here, respin, command, flags, said):
    code, printed, complained = respin(command, "--image", "laptop.jpg", "--class-name", "laptop", *flags)
    assert (code, printed) == (2, "")
    assert said in complained
