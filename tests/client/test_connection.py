"""Who is there, who may be trusted, and whether both are of one version."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from scripted_triton import event, texts

from respin_client import TLS, Busy, Client, ContractMismatch, InvalidInput, request_from_photo
from respin_client.transport import GrpcTransport


def end_connections(listener: socket.socket) -> None:
    """Accept connections and end each at once, until the listener is shut down."""
    with suppress(OSError):
        while True:
            listener.accept()[0].close()


REQUEST = request_from_photo(b"a photo", "laptop", azimuth=80)


def test_nobody_listening_is_said_in_words(nobody):
    with (
        Client(nobody, retries=0) as client,
        pytest.raises(Busy, match=f"no server answers at {nobody} .*respin serve"),
    ):
        client.segment_object(REQUEST)


def test_a_name_without_an_address_is_said_in_words():
    with Client("nowhere.invalid:8001", retries=0) as client, pytest.raises(Busy, match="no server answers at nowhere"):
        client.segment_object(REQUEST)


def test_readiness_is_an_answer_and_never_an_error(triton, nobody):
    with Client(triton.url) as client:
        assert client.is_ready()
        triton.loaded = False
        assert not client.is_ready()
    with Client(nobody) as client:
        assert not client.is_ready()


def test_headers_come_with_every_call(triton):
    triton.reply = lambda arrays, context: {"mask": texts(b"the mask")}
    triton.events = lambda arrays, context: [event("done")]
    with Client(triton.url, headers={"Authorization": "Bearer key"}) as client:
        client.segment_object(REQUEST)
        list(client.stream(REQUEST))
    assert [each.headers["authorization"] for each in triton.heard] == ["Bearer key"] * 2


def test_a_server_that_is_another_version_is_refused(triton):
    job = triton.interfaces["rotate_object"]
    triton.interfaces["rotate_object"] = replace(job, inputs=job.inputs[:-1])
    with Client(triton.url) as client, pytest.raises(ContractMismatch, match="input 'output_format' as nothing there"):
        client.segment_object(REQUEST)
    assert triton.heard == []


def test_a_server_without_our_jobs_is_refused(triton):
    del triton.interfaces["rotate_object"]
    with Client(triton.url) as client, pytest.raises(ContractMismatch, match="no Respin server"):
        client.segment_object(REQUEST)


def test_both_sides_prove_who_they_are(tls_triton, certificate):
    tls_triton.reply = lambda arrays, context: {"mask": texts(b"the mask")}
    pair = TLS(certificate.certificate, certificate.certificate, certificate.key)
    with Client(tls_triton.url, tls=pair) as client:
        assert client.segment_object(REQUEST).mask == b"the mask"


@pytest.mark.parametrize(
    ("tls", "kind", "sentence"),
    [
        (lambda own: None, InvalidInput, "speaks TLS and wants a certificate of the client .*give --tls-certificate"),
        (TLS, InvalidInput, "speaks TLS and wants a certificate of the client that it trusts; give --tls-certificate"),
        (
            lambda own: TLS(),
            InvalidInput,
            r"certificate of .* is not trusted \(self signed certificate\); .*--tls-root",
        ),
    ],
    ids=["no TLS at all", "no certificate of the client", "an authority that is not trusted"],
)
def test_a_server_that_cannot_be_trusted_is_not_talked_to(tls_triton, certificate, tls, kind, sentence):
    wanted = tls(certificate.certificate)
    with Client(tls_triton.url, tls=wanted, retries=0) as client, pytest.raises(kind, match=sentence):
        client.segment_object(REQUEST)
    assert tls_triton.heard == []


def test_no_tls_to_a_server_with_it_is_said_in_words(tls_triton_for_all):
    with (
        Client(tls_triton_for_all.url) as client,
        pytest.raises(
            InvalidInput, match=f"the server at {tls_triton_for_all.url} speaks TLS; give --tls, or --tls-root"
        ),
    ):
        client.segment_object(REQUEST)


def test_a_connection_that_is_ended_without_a_reason_may_be_made_again():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=end_connections, args=(listener,))
        thread.start()
        url = f"127.0.0.1:{listener.getsockname()[1]}"
        with (
            Client(url, retries=0) as client,
            pytest.raises(Busy, match=f"{url} takes connections and ends them .*if it restarts, retry"),
        ):
            client.segment_object(REQUEST)
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def test_tls_to_a_server_without_it_is_said_in_words(triton, certificate):
    with (
        Client(triton.url, tls=TLS(certificate.certificate)) as client,
        pytest.raises(InvalidInput, match=f"the server at {triton.url} does not speak TLS; connect without TLS"),
    ):
        client.segment_object(REQUEST)


def test_the_certificate_of_another_host_is_said_in_words(tls_triton, certificate):
    url = tls_triton.url.replace("127.0.0.1", "localhost")
    with (
        Client(url, tls=TLS(certificate.certificate)) as client,
        pytest.raises(InvalidInput, match=f"the certificate of {url} is for another name"),
    ):
        client.segment_object(REQUEST)


def test_a_key_that_is_no_certificate_is_said_in_words(tls_triton, certificate):
    with (
        Client(tls_triton.url, tls=TLS(certificate.key)) as client,
        pytest.raises(InvalidInput, match="the PEM files for TLS cannot be used"),
    ):
        client.segment_object(REQUEST)


@pytest.mark.parametrize("tls", [None, TLS()], ids=["without TLS", "with TLS"])
def test_a_port_for_http_is_said_in_words(tls):
    with HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        url = f"127.0.0.1:{server.server_port}"
        with (
            Client(url, tls=tls) as client,
            pytest.raises(InvalidInput, match=f"{url} is a port for HTTP.*give the gRPC port"),
        ):
            client.segment_object(REQUEST)
        server.shutdown()
        thread.join()


def test_half_a_certificate_is_refused(tmp_path):
    with pytest.raises(InvalidInput, match="TLS has a key only"):
        TLS(key=tmp_path / "key.pem")


def test_a_certificate_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(InvalidInput, match=r"root\.pem' \(No such file"):
        GrpcTransport("127.0.0.1:1", tls=TLS(tmp_path / "root.pem"))


def test_more_retries_than_make_sense_are_refused():
    with pytest.raises(InvalidInput, match="retries is 7; send 0 to 6"):
        Client(retries=7)


def test_the_port_of_http_is_refused():
    with pytest.raises(InvalidInput, match="give host:port of the server's gRPC port"):
        Client("http://127.0.0.1:8000")
