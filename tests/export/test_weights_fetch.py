"""Fetching checkpoints from servers that behave, and from servers that do not."""

from __future__ import annotations

import hashlib
import json
from email.utils import formatdate

import pytest
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
from rich.progress import Progress

from respin.errors import Busy, ContractMismatch, InvalidInput
from respin_export.weights.catalogue import Checkpoint, Chosen, Variant, WeightFile
from respin_export.weights.download import Patience
from respin_export.weights.fetch import Fetcher, Source
from respin_export.weights.verify import RECEIPTS

CONTENT = bytes(range(256)) * 40
SIZE_BYTES = len(CONTENT)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


def chosen(url=None, *, sha256=SHA256, size_bytes=SIZE_BYTES):
    variant = Variant(
        "original", "", (WeightFile("model.pt", size_bytes, sha256=sha256, url=url),), "owner/repository", "v1"
    )
    return Chosen(Checkpoint("edsr", "", "MIT", (variant,)), variant)


class Trial:
    """A fetch into a fresh folder that never really waits."""

    def __init__(self, parent, **source):
        self.weights = parent / "weights"
        self.path = self.weights / "edsr" / "model.pt"
        self.source = Source(**source)
        self.waits = []
        self.free = 10**12

    def fetch(self, *wanted, tries=6):
        patience = Patience(tries=tries, sleep=self.waits.append)
        with Progress(disable=True) as progress:
            return Fetcher(self.weights, self.source, progress, patience, lambda _: self.free).fetch(wanted)

    @property
    def left(self):
        return sorted(path.name for path in self.weights.rglob("*") if path.is_file())


@pytest.fixture
def trial(tmp_path):
    return Trial(tmp_path)


@pytest.fixture
def serve():
    """Start servers that are stopped with the test."""
    from contextlib import ExitStack

    with ExitStack() as stack:
        yield lambda *behaviours, content=CONTENT: stack.enter_context(serving(FileServer(content, *behaviours)))


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


def test_a_dropped_connection_goes_on_where_it_stopped(trial, serve):
    server = serve(dropping_after(3000), dropping_after(7000))
    trial.fetch(chosen(server.url))
    assert trial.path.read_bytes() == CONTENT
    assert [headers.get("Range") for _, headers in server.requests] == [None, "bytes=3000-", "bytes=7000-"]
    assert trial.waits == [1.0, 1.0]


def test_a_broken_run_is_gone_on_with_by_the_next(trial, serve):
    server = serve(dropping_after(3000))
    with pytest.raises(Busy, match="what has come is kept"):
        trial.fetch(chosen(server.url), tries=1)
    assert not trial.path.exists()
    trial.fetch(chosen(server.url))
    assert server.requests[1][1]["Range"] == "bytes=3000-"
    assert trial.path.read_bytes() == CONTENT


def test_more_drops_than_tries_are_no_matter_as_long_as_something_comes(trial, serve):
    server = serve(*(dropping_after(500 * part) for part in range(1, 20)))
    trial.fetch(chosen(server.url), tries=2)
    assert trial.path.read_bytes() == CONTENT


def test_a_server_that_drops_at_the_same_byte_for_ever_is_given_up(trial, serve):
    server = serve()
    server.always = dropping_after(3000)
    with pytest.raises(Busy, match="tries without progress: 3"):
        trial.fetch(chosen(server.url), tries=3)
    assert not trial.path.exists()


def test_a_server_without_ranges_is_begun_again(trial, serve):
    server = serve(knowing_no_ranges(3000), knowing_no_ranges(len(CONTENT)))
    trial.fetch(chosen(server.url))
    assert trial.path.read_bytes() == CONTENT


def test_a_file_that_changed_on_the_server_is_begun_again(trial, serve):
    server = serve(dropping_after(3000))
    with pytest.raises(Busy):
        trial.fetch(chosen(server.url), tries=1)
    server.content, server.version = CONTENT[::-1], '"second"'
    sha256 = hashlib.sha256(server.content).hexdigest()
    trial.fetch(chosen(server.url, sha256=sha256))
    assert trial.path.read_bytes() == server.content


def test_a_part_from_another_address_is_not_gone_on_with(trial, serve):
    with pytest.raises(Busy):
        trial.fetch(chosen(serve(dropping_after(3000)).url), tries=1)
    other = serve()
    trial.fetch(chosen(other.url))
    assert "Range" not in other.requests[0][1]


def test_a_server_that_claims_more_bytes_than_it_has_is_not_waited_for(trial, serve):
    server = serve(saying_length(len(CONTENT) + 100))
    trial.fetch(chosen(server.url))
    assert trial.path.read_bytes() == CONTENT


@pytest.mark.parametrize("sha256", [SHA256, None], ids=["checksum known", "size alone known"])
def test_a_server_that_claims_fewer_bytes_than_there_are_is_found_out(trial, serve, sha256):
    server = serve(saying_length(len(CONTENT) - 100))
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


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_file_asks_for_a_token(trial, serve, status):
    server = serve(answering(status))
    with pytest.raises(InvalidInput, match=f"answers {status}.*set HF_TOKEN"):
        trial.fetch(chosen(server.url))
    assert len(server.requests) == 1


def test_a_file_that_is_not_there_says_what_was_looked_for(trial, serve):
    server = serve(answering(404))
    with pytest.raises(InvalidInput, match=rf"{server.url} answers 404: 'model.pt' was looked for"):
        trial.fetch(chosen(server.url))
    assert len(server.requests) == 1


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_server_is_asked_again_when_it_says(trial, serve, status):
    server = serve(answering(status, Retry_After="7"), answering(status))
    trial.fetch(chosen(server.url))
    assert trial.path.read_bytes() == CONTENT
    assert trial.waits == [7.0, 2.0]


def test_a_server_may_name_the_hour(trial, serve):
    trial.fetch(chosen(serve(answering(503, Retry_After=formatdate(0, usegmt=True))).url))
    assert trial.waits == [0.0]


def test_a_server_that_stays_busy_is_given_up(trial, serve):
    server = serve()
    server.always = answering(503)
    with pytest.raises(Busy, match="it answers 503; tries without progress: 4"):
        trial.fetch(chosen(server.url), tries=4)
    assert trial.waits == [1.0, 2.0, 4.0]


def test_a_server_that_asks_for_an_hour_is_not_waited_for(trial, serve):
    with pytest.raises(Busy, match="asks to wait 3600 s"):
        trial.fetch(chosen(serve(answering(429, Retry_After="3600")).url))
    assert trial.waits == []


def test_a_server_that_is_not_there_is_given_up(trial):
    server = FileServer(CONTENT)
    server.server_close()
    with pytest.raises(Busy, match="ConnectError"):
        trial.fetch(chosen(server.url), tries=2)


def test_a_checksum_that_nobody_knows_is_said_to_be_unknown(trial, serve):
    said = trial.fetch(chosen(serve().url, sha256=None, size_bytes=None))
    assert said == [f"{trial.path}: fetched, no SHA-256 is published for it"]


def redirecting_to(url, **headers):
    return answering(302, Location=f"{url}/elsewhere", **headers)


def test_the_token_goes_to_the_hub_and_not_where_it_redirects(tmp_path, serve):
    storage = serve()
    hub = serve(redirecting_to(storage.url))
    Trial(tmp_path, hub=hub.url, token="secret").fetch(chosen())
    assert [(path, headers.get("Authorization")) for path, headers in hub.requests] == [
        ("/owner/repository/resolve/v1/model.pt", "Bearer secret")
    ]
    assert [headers.get("Authorization") for _, headers in storage.requests] == [None]


@pytest.mark.parametrize("kind", ["project", "mirror"])
def test_the_token_goes_to_nobody_else(tmp_path, serve, kind):
    other = serve()
    trial = Trial(tmp_path, token="secret", mirror=other.url if kind == "mirror" else None)
    trial.fetch(chosen(other.url if kind == "project" else None))
    assert "Authorization" not in other.requests[0][1]


def test_what_the_catalogue_does_not_know_is_asked_of_the_hub(tmp_path, serve):
    storage = serve()
    linked = {"X_Linked_Etag": f'"{SHA256}"', "X_Linked_Size": str(len(CONTENT))}
    trial = Trial(tmp_path, hub=serve(redirecting_to(storage.url, **linked)).url)
    said = trial.fetch(chosen(sha256=None, size_bytes=None))
    assert said == [f"{trial.path}: fetched, agrees with the SHA-256 that the Hub gave with it"]


def test_a_file_that_is_not_what_the_hub_says_is_refused(tmp_path, serve):
    storage = serve(content=CONTENT[::-1])
    hub = serve(redirecting_to(storage.url, X_Linked_Etag=f'"{SHA256}"', X_Linked_Size=str(len(CONTENT))))
    with pytest.raises(ContractMismatch, match="is not the published file"):
        Trial(tmp_path, hub=hub.url).fetch(chosen(sha256=None, size_bytes=None))


def test_a_mirror_is_a_served_weights_folder(tmp_path, serve):
    mirror = serve()
    Trial(tmp_path, mirror=f"{mirror.url}/weights/").fetch(chosen("http://127.0.0.1:9/never-asked"))
    assert [path for path, _ in mirror.requests] == ["/weights/edsr/model.pt"]


@pytest.mark.parametrize(("source", "name"), [({"mirror": "/media/disk"}, "--mirror"), ({"hub": "hub"}, "HF_ENDPOINT")])
def test_a_source_that_is_no_address_is_refused(source, name):
    with pytest.raises(InvalidInput, match=rf"{name} is '.*'; it must begin with https://"):
        Source(**source)


def test_room_is_looked_at_before_anything_is_asked_for(trial, serve):
    server = serve()
    trial.free = len(CONTENT) - 1
    with pytest.raises(InvalidInput, match="make room, or name another folder"):
        trial.fetch(chosen(server.url))
    assert server.requests == []


def test_a_file_of_unknown_size_needs_room_as_well(trial, serve):
    trial.free = len(CONTENT) - 1
    with pytest.raises(InvalidInput, match="needs 10240 more bytes and 10239 are free"):
        trial.fetch(chosen(serve().url, size_bytes=None))


def test_what_has_come_needs_no_room_again(trial, serve):
    server = serve(dropping_after(3000))
    with pytest.raises(Busy):
        trial.fetch(chosen(server.url), tries=1)
    trial.free = len(CONTENT) - 3000
    trial.fetch(chosen(server.url))


def test_what_is_there_is_not_fetched_again(trial, serve):
    server = serve()
    trial.fetch(chosen(server.url))
    assert trial.fetch(chosen(server.url)) == [f"{trial.path}: there already, the published SHA-256"]
    assert len(server.requests) == 1


def test_somebody_elses_file_is_left_alone(trial, serve):
    server = serve()
    trial.path.parent.mkdir(parents=True)
    trial.path.write_bytes(b"mine")
    with pytest.raises(ContractMismatch, match=r"has 4 bytes, the published file 10240; remove '.*model\.pt' to have"):
        trial.fetch(chosen(server.url))
    assert trial.path.read_bytes() == b"mine"
    assert server.requests == []


@pytest.mark.parametrize("place", ["edsr/model.pt", "model.pt"])
def test_a_folder_will_do_without_a_network(tmp_path, place):
    (held := tmp_path / "disk" / place).parent.mkdir(parents=True)
    held.write_bytes(CONTENT)
    trial = Trial(tmp_path, folder=tmp_path / "disk")
    trial.fetch(chosen("http://127.0.0.1:9/never-asked"))
    assert trial.path.read_bytes() == CONTENT


def test_a_wrong_file_of_a_folder_is_refused_and_stays_there(tmp_path):
    (held := tmp_path / "disk" / "model.pt").parent.mkdir()
    held.write_bytes(CONTENT[::-1])
    trial = Trial(tmp_path, folder=tmp_path / "disk")
    with pytest.raises(ContractMismatch, match="is not the published file"):
        trial.fetch(chosen())
    assert held.read_bytes() == CONTENT[::-1]
    assert trial.left == []


def test_a_folder_without_the_file_says_where_it_was_looked_for(tmp_path):
    with pytest.raises(InvalidInput, match=r"has no model\.pt of edsr:original; looked for .*edsr/model\.pt and"):
        Trial(tmp_path, folder=tmp_path).fetch(chosen())


def test_an_honest_server_serves_honestly():
    """The double itself: what the other tests call honest."""
    import httpx2

    with serving(FileServer(CONTENT, honest)) as server:
        answer = httpx2.get(server.url, headers={"Range": "bytes=10-", "If-Range": '"first"'})
    assert (answer.status_code, answer.content) == (206, CONTENT[10:])
