"""Fetching from a Hugging Face endpoint: huggingface_hub against a local server."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from fetch_trial import CONTENT, Trial, chosen
from file_server import answering, dropping_after, holding_repository, linking_to
from rich.progress import Progress

from respin.errors import Busy, ContractMismatch, InvalidInput
from respin_export.checkpoints import load_network
from respin_export.weights.catalogue import Chosen, choose
from respin_export.weights.synthesize import Synthesizer
from respin_export.weights.verify import RECEIPTS, findings


@pytest.fixture
def hub(serve):
    """Start a Hub that keeps a file on a storage host: (hub, storage)."""

    def start(*behaviours, content=CONTENT, stated=CONTENT):
        storage = serve(*behaviours, content=content)
        endpoint = serve()
        endpoint.always = linking_to(f"{storage.url}/blob", stated)
        return endpoint, storage

    return start


def unknown():
    """A file of which the catalogue knows neither size nor checksum."""
    return chosen(sha256=None, size_bytes=None)


def test_a_file_of_the_hub_is_checked_against_what_the_hub_states(tmp_path, hub):
    endpoint, storage = hub()
    trial = Trial(tmp_path, hub=endpoint.url)
    assert trial.fetch(unknown()) == [f"{trial.path}: fetched, agrees with the SHA-256 that the Hub states"]
    assert trial.path.read_bytes() == CONTENT
    assert {path for path, _ in endpoint.requests} == {"/owner/repository/resolve/v1/model.pt"}
    assert [path for path, _ in storage.requests] == ["/blob"]
    assert trial.left == [RECEIPTS, "model.pt"]


def test_the_token_goes_to_the_hub_and_not_where_it_redirects(tmp_path, hub):
    endpoint, storage = hub()
    Trial(tmp_path, hub=endpoint.url, token="secret").fetch(chosen())
    assert {headers.get("authorization") for _, headers in endpoint.requests} == {"Bearer secret"}
    assert [headers.get("authorization") for _, headers in storage.requests] == [None]


@pytest.mark.parametrize("kind", ["project", "mirror"])
def test_the_token_goes_to_no_other_host(tmp_path, serve, kind):
    other = serve()
    trial = Trial(tmp_path, token="secret", mirror=other.url if kind == "mirror" else None)
    trial.fetch(chosen(other.url if kind == "project" else None))
    assert "authorization" not in {name.lower() for name in other.requests[0][1]}


@pytest.mark.parametrize("wanted", [unknown, chosen], ids=["stated by the Hub", "in the catalogue"])
def test_a_file_with_another_checksum_is_refused_and_removed(tmp_path, hub, wanted):
    endpoint, _ = hub(content=CONTENT[::-1])
    trial = Trial(tmp_path, hub=endpoint.url)
    with pytest.raises(ContractMismatch, match="is not the published file: the SHA-256"):
        trial.fetch(wanted())
    assert trial.left == []


def test_a_broken_connection_is_resumed(tmp_path, hub):
    """At the last whole piece of 10 MiB, which the library writes at once."""
    content = CONTENT * 1200
    endpoint, storage = hub(dropping_after(12 * 10**6), content=content, stated=content)
    trial = Trial(tmp_path, hub=endpoint.url)
    trial.fetch(unknown())
    assert trial.path.read_bytes() == content
    assert [headers.get("Range") for _, headers in storage.requests] == [None, f"bytes={10 * 2**20}-"]


@pytest.mark.parametrize(
    ("status", "sentence"), [(401, "set HF_TOKEN"), (403, "accept the terms"), (404, "there is no 'model.pt'")]
)
def test_a_file_that_the_hub_refuses_is_reported_with_the_remedy(tmp_path, serve, status, sentence):
    endpoint = serve()
    endpoint.always = answering(status)
    with pytest.raises(InvalidInput, match=f"answers {status}: .*{sentence}"):
        Trial(tmp_path, hub=endpoint.url).fetch(chosen())


def test_a_busy_hub_is_tried_again_and_then_given_up(tmp_path, serve):
    endpoint = serve()
    endpoint.always = answering(503)
    trial = Trial(tmp_path, hub=endpoint.url)
    with pytest.raises(Busy, match="the server answers 503; tries without progress: 3"):
        trial.fetch(chosen(), tries=3)
    assert trial.waits == [1.0, 2.0]
    assert trial.left == []


def test_an_endpoint_that_is_no_hub_is_named(tmp_path, serve):
    endpoint = serve()
    with pytest.raises(InvalidInput, match=f"{endpoint.url} is not a Hugging Face endpoint .*; check HF_ENDPOINT"):
        Trial(tmp_path, hub=endpoint.url).fetch(chosen())


def test_a_file_that_does_not_fit_is_not_downloaded(tmp_path, hub):
    endpoint, storage = hub()
    trial = Trial(tmp_path, hub=endpoint.url)
    trial.free = 9000
    with pytest.raises(InvalidInput, match=r"still needs 10\.2 kB and '.*' has 9\.0 kB free"):
        trial.fetch(unknown())
    assert storage.requests == []


def test_a_fetched_pipeline_folder_loads(tmp_path, serve):
    """The true layout of the inpainting repository, at mini size."""
    published = choose("inpaint:fp16")
    with Progress(disable=True) as progress:
        Synthesizer(tmp_path / "published", "mini", 0, progress).write([published])
    files = tuple(replace(file, size_bytes=None) for file in published.variant.files)
    variant = replace(published.variant, files=files)
    endpoint = serve()
    endpoint.always = holding_repository(tmp_path / "published/inpaint", variant.repository, variant.revision)
    trial = Trial(tmp_path, hub=endpoint.url)
    trial.fetch(Chosen(published.checkpoint, variant))
    ours, theirs = (load_network("clip_text", folder) for folder in (trial.weights, tmp_path / "published"))
    assert all(map(torch.equal, ours.state_dict().values(), theirs.state_dict().values()))
    assert set(json.loads((trial.weights / RECEIPTS).read_text())) == {f"inpaint/{file.path}" for file in files}
    mini = {finding.path: finding.verdict for finding in findings(trial.weights) if finding.name == "inpaint:fp16"}
    assert mini["inpaint/unet/config.json"] == "unproved"
    assert mini["inpaint/unet/diffusion_pytorch_model.fp16.safetensors"] == "wrong"
