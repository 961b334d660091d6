"""Where checkpoints are fetched from, and what is checked before anything is downloaded."""

from __future__ import annotations

import pytest
from fetch_trial import CONTENT, LARGE, PIECE_BYTES, Trial, chosen, large
from file_server import answering, dropping_after

from respin.errors import Busy, ContractMismatch, InvalidInput
from respin_export.weights.fetch import DownloadSource


def test_a_mirror_is_a_served_weights_folder(tmp_path, serve):
    mirror = serve()
    Trial(tmp_path, mirror=f"{mirror.url}/weights/").fetch(chosen("http://127.0.0.1:9/never-asked"))
    assert {path for path, _ in mirror.requests} == {"/weights/edsr/model.pt"}


@pytest.mark.parametrize(("source", "name"), [({"mirror": "/media/disk"}, "--mirror"), ({"hub": "hub"}, "HF_ENDPOINT")])
def test_a_source_that_is_no_address_is_refused(source, name):
    with pytest.raises(InvalidInput, match=rf"{name} is '.*'; it must begin with https://"):
        DownloadSource(**source)


def test_room_is_looked_at_before_anything_is_asked_for(trial, serve):
    server = serve()
    trial.free = len(CONTENT) - 1
    with pytest.raises(InvalidInput, match="make room, or name another folder"):
        trial.fetch(chosen(server.url))
    assert server.requests == []


def test_a_file_of_unknown_size_needs_room_as_well(trial, serve):
    trial.free = 9000
    with pytest.raises(InvalidInput, match=r"still needs 10\.2 kB and '.*' has 9\.0 kB free; make room"):
        trial.fetch(chosen(serve().url, size_bytes=None))


def test_what_has_come_needs_no_room_again(trial, serve):
    server = serve(dropping_after(PIECE_BYTES), answering(503), content=LARGE)
    with pytest.raises(Busy):
        trial.fetch(large(server.url), tries=1)
    trial.free = len(LARGE) - PIECE_BYTES
    trial.fetch(large(server.url))


def test_what_is_there_is_not_fetched_again(trial, serve):
    server = serve()
    trial.fetch(chosen(server.url))
    assert trial.fetch(chosen(server.url)) == [f"{trial.path}: there already, the published SHA-256"]
    assert len(server.gets) == 1


def test_a_file_of_another_origin_is_left_alone(trial, serve):
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
