"""Fetching checkpoints from servers that behave, and from servers that do not."""

from __future__ import annotations

import json

import pytest
from fetch_trial import CONTENT, LARGE, PIECE_BYTES, SHA256, chosen, large
from file_server import (
    FileServer,
    answering,
    dropping_after,
    honest,
    knowing_no_ranges,
    saying_length,
    sending,
    serving,
)

from respin.errors import Busy, ContractMismatch, InvalidInput
from respin_export.weights.verify import RECEIPTS


def test_a_file_is_fetched_and_a_receipt_kept(trial, serve):
    server = serve()
    said = trial.fetch(chosen(server.url))
    assert trial.path.read_bytes() == CONTENT
    assert said == [f"{trial.path}: fetched, agrees with the published SHA-256"]
    assert json.loads((trial.weights / RECEIPTS).read_text()) == {
        "edsr/model.pt": {
            "url": server.url,
            "size_bytes": len(CONTENT),
            "sha256": SHA256,
            "checked_against": "the published SHA-256",
        }
    }
    assert trial.left == [RECEIPTS, "model.pt"]


def test_a_dropped_connection_is_resumed(trial, serve):
    server = serve(dropping_after(PIECE_BYTES + 3000), dropping_after(2 * PIECE_BYTES), content=LARGE)
    trial.fetch(large(server.url))
    assert trial.path.read_bytes() == LARGE
    assert [headers.get("Range") for headers in server.gets] == [
        None,
        f"bytes={PIECE_BYTES}-",
        f"bytes={2 * PIECE_BYTES}-",
    ]


def interrupt(trial, server):
    """Fetch until the server, which drops the connection, is busy as well."""
    server.behaviours = [dropping_after(PIECE_BYTES), answering(503)]
    with pytest.raises(Busy, match="could not be downloaded"):
        trial.fetch(large(server.url), tries=1)
    assert not trial.path.exists()
    server.gets.clear()


def test_an_interrupted_run_is_resumed_by_the_next(trial, serve):
    interrupt(trial, server := serve(content=LARGE))
    trial.fetch(large(server.url))
    assert [headers.get("Range") for headers in server.gets] == [f"bytes={PIECE_BYTES}-"]
    assert trial.path.read_bytes() == LARGE


def test_more_failures_than_tries_are_no_matter_as_long_as_something_comes(trial, serve):
    ends = (PIECE_BYTES, 2 * PIECE_BYTES)
    server = serve(*(each for end in ends for each in (dropping_after(end), answering(503))), content=LARGE)
    trial.fetch(large(server.url), tries=2)
    assert trial.path.read_bytes() == LARGE
    assert trial.waits == [1.0, 1.0]


def test_a_server_without_ranges_is_begun_again(trial, serve):
    server = serve(knowing_no_ranges(PIECE_BYTES), knowing_no_ranges(len(LARGE)), content=LARGE)
    trial.fetch(large(server.url))
    assert trial.path.read_bytes() == LARGE


def test_a_file_that_changed_on_the_server_is_begun_again(trial, serve):
    interrupt(trial, server := serve(content=LARGE))
    server.content, server.version = CONTENT, '"second"'
    trial.fetch(chosen(server.url))
    assert "Range" not in server.gets[0]
    assert trial.path.read_bytes() == CONTENT


def test_a_part_from_another_address_is_not_resumed(trial, serve):
    interrupt(trial, serve(content=LARGE))
    other = serve(content=LARGE)
    trial.fetch(large(other.url))
    assert "Range" not in other.gets[0]


def test_a_server_without_a_name_for_the_version_is_begun_again(trial, serve):
    interrupt(trial, server := serve(content=LARGE))
    server.always = sending(LARGE)
    trial.fetch(large(server.url))
    assert "Range" not in server.gets[0]


def test_a_server_that_says_more_bytes_than_it_has_is_given_up(trial, serve):
    server = serve()
    server.always = saying_length(len(CONTENT) + 100)
    with pytest.raises(Busy, match="could not be downloaded"):
        trial.fetch(chosen(server.url), tries=1)
    assert not trial.path.exists()


@pytest.mark.parametrize("sha256", [SHA256, None], ids=["checksum known", "size alone known"])
def test_a_server_that_claims_fewer_bytes_than_there_are_is_found_out(trial, serve, sha256):
    server = serve()
    server.always = saying_length(len(CONTENT) - 100)
    with pytest.raises(ContractMismatch, match=r"10140 bytes, the published file 10240; it was removed"):
        trial.fetch(chosen(server.url, sha256=sha256))
    assert trial.left == []


@pytest.mark.parametrize("digits", [64, 8], ids=["whole checksum", "first digits"])
def test_corrupted_bytes_are_found_out_and_removed(trial, serve, digits):
    server = serve(sending(CONTENT[:-1] + b"!"))
    with pytest.raises(ContractMismatch, match="is not the published file: the SHA-256"):
        trial.fetch(chosen(server.url, sha256=SHA256[:digits]))
    assert not trial.path.exists()
    trial.fetch(chosen(server.url, sha256=SHA256[:digits]))
    assert trial.path.read_bytes() == CONTENT


@pytest.mark.parametrize(("status", "sentence"), [(403, "needs permission"), (404, "there is no 'model.pt'")])
def test_a_refused_file_is_not_asked_for_again(trial, serve, status, sentence):
    server = serve()
    server.always = answering(status)
    with pytest.raises(InvalidInput, match=f"{server.url} answers {status}.*{sentence}"):
        trial.fetch(chosen(server.url))
    assert len(server.requests) == 1


def test_a_busy_server_is_asked_again(trial, serve):
    server = serve(answering(503), answering(503))
    trial.fetch(chosen(server.url))
    assert trial.path.read_bytes() == CONTENT
    assert trial.waits == [1.0, 2.0]


@pytest.mark.parametrize("status", [429, 503])
def test_a_server_that_stays_busy_is_given_up(trial, serve, status):
    server = serve()
    server.always = answering(status)
    with pytest.raises(Busy, match=f"the server answers {status}; tries without progress: 4"):
        trial.fetch(chosen(server.url), tries=4)
    assert trial.waits == [1.0, 2.0, 4.0]


def test_a_server_that_is_not_there_is_given_up(trial):
    server = FileServer(CONTENT)
    server.server_close()
    with pytest.raises(Busy, match="ConnectError"):
        trial.fetch(chosen(server.url), tries=2)


def test_an_unknown_checksum_is_reported_as_such(trial, serve):
    said = trial.fetch(chosen(serve().url, sha256=None, size_bytes=None))
    assert said == [f"{trial.path}: fetched, no SHA-256 is published for it"]


def test_an_honest_server_serves_honestly():
    """The double itself: what the other tests call honest."""
    import httpx2

    with serving(FileServer(CONTENT, honest)) as server:
        answer = httpx2.get(server.url, headers={"Range": "bytes=10-", "If-Range": '"first"'})
    assert (answer.status_code, answer.content) == (206, CONTENT[10:])
