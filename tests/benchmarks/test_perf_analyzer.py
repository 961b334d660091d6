"""perf_analyzer: its input files, its refusals, and a run of the real program on the real server."""

import base64
import json
import math
import struct
from pathlib import Path

import numpy as np
import pytest

from respin.contracts import JOBS, NETWORKS
from respin.errors import InvalidInput
from respin.report.markdown import with_section
from respin.report.rows import read_rows
from respin.request import RotationRequest
from respin_benchmarks.perf_analyzer.__main__ import main
from respin_benchmarks.perf_analyzer.binary import PerfAnalyzer, perf_analyzer
from respin_benchmarks.perf_analyzer.inputs import job_input, network_input
from respin_benchmarks.perf_analyzer.page import SECTION, page_of
from respin_benchmarks.perf_analyzer.runs import Load, PerfRun, Server, figures_of
from respin_export.mini.sizes import SIZES

ROOT = Path(__file__).parents[2]


def arrays_of(entry, spec):
    """What Triton makes of an entry of an input file."""
    kinds = {tensor.name: tensor.dtype for tensor in spec.inputs}
    arrays = {}
    for name, tensor in entry.items():
        raw = base64.b64decode(tensor["b64"])
        if kinds[name].value == "BYTES":
            (length,) = struct.unpack("<I", raw[:4])
            assert length == len(raw) - 4
            arrays[name] = np.array([raw[4:]], np.object_)
        else:
            arrays[name] = np.frombuffer(raw, kinds[name].numpy).reshape(tensor["shape"])
    return arrays


@pytest.mark.parametrize("job", JOBS)
def test_the_committed_input_files_are_requests(job):
    entries = json.loads((ROOT / f"examples/perf/{job}.json").read_text())["data"]
    requests = [RotationRequest.from_arrays(arrays_of(entry, JOBS[job])) for entry in entries]
    assert [request.seed for request in requests] == [0, 1, 2, 3]
    assert {request.views for request in requests} == {0 if job == "segment_object" else 1}
    assert requests[0].image.startswith(b"\xff\xd8")


def test_fewer_steps_are_asked_of_both_samplers():
    (entry,) = job_input("rotate_object", seeds=1, steps=4)["data"]
    request = RotationRequest.from_arrays(arrays_of(entry, JOBS["rotate_object"]))
    assert (request.steps, request.background_steps) == (4, 4)


@pytest.mark.parametrize("network", NETWORKS)
def test_a_networks_input_keeps_to_its_contract(network):
    (entry,) = network_input(network, SIZES)["data"]
    arrays = arrays_of(entry, NETWORKS[network])
    NETWORKS[network].check_inputs({name: array[None] for name, array in arrays.items()})


def test_microseconds_become_milliseconds_and_what_is_not_told_is_no_number():
    row = {"Inferences/Second": "2.5", "p50 latency": "400000", "p95 latency": "500000", "p99 latency": "600000"}
    figures = figures_of(row | {"Server Queue": "1500", "Response Throughput": "20"})
    assert (figures["requests_s"], figures["responses_s"]) == (2.5, 20)
    assert (figures["p50_ms"], figures["p95_ms"], figures["queue_ms"]) == (400, 500, 1.5)
    assert math.isnan(figures["compute_ms"])


def test_the_key_goes_only_where_it_is_needed(tmp_path):
    server, files = Server("localhost:1", "secret"), {"data": tmp_path, "report": tmp_path, "batched": False}
    assert not any("secret" in each for each in Load("edsr").arguments(server=server, **files))
    assert any("secret" in each for each in Load("edsr", shared_memory="system").arguments(server=server, **files))


@pytest.fixture
def fake(tmp_path):
    def program(script):
        path = tmp_path / "perf_analyzer"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        return path

    return program


def test_a_program_on_the_path_is_taken(fake, tmp_path, monkeypatch):
    path = fake("echo here")
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    found = perf_analyzer(tmp_path / "elsewhere")
    assert (found.path, found.run([], 10)) == (path, "here\n")


def test_its_refusal_is_told_in_its_own_words(fake):
    with pytest.raises(InvalidInput, match="perf_analyzer left with 99: failed to reach the server"):
        PerfAnalyzer(fake("echo failed to reach the server >&2; exit 99")).run([], 10)


def test_a_run_that_never_ends_is_ended(fake):
    with pytest.raises(InvalidInput, match=r"was not done after 0.2 s"):
        PerfAnalyzer(fake("exec sleep 60")).run([], 0.2)


@pytest.mark.triton
def test_it_measures_a_job_and_a_network_on_the_real_server(tmp_path):
    (tmp_path / "page.md").write_text(f"<!-- {SECTION}: begin -->\n<!-- {SECTION}: end -->\n")
    results = tmp_path / "results.csv"
    program = ROOT / "build/perf_analyzer"
    where = ["--results", str(results), "--page", str(tmp_path / "page.md"), "--program", str(program)]
    assert main([*where, "--only", "edsr", "segment_object", "--requests", "1"]) == 0
    rows = read_rows(results, PerfRun)
    measured = {(row.model, row.concurrency, row.shared_memory) for row in rows}
    assert measured == {
        ("segment_object", 1, "none"),
        ("segment_object", 4, "none"),
        ("segment_object", 1, "system"),
        ("edsr", 1, "none"),
        ("edsr", 1, "system"),
    }
    assert all(row.requests_s > 0 and row.p50_ms > 0 for row in rows)
    assert "| `edsr` | unary | 1 at once | system |" in (tmp_path / "page.md").read_text()


@pytest.mark.triton
def test_a_server_that_is_not_there_is_told_of(tmp_path, capsys):
    where = ["--results", str(tmp_path / "r.csv"), "--program", str(ROOT / "build/perf_analyzer")]
    assert main([*where, "--url", "127.0.0.1:1", "--only", "edsr"]) == 1
    assert "perf_analyzer left with" in capsys.readouterr().err


def test_the_page_shows_the_committed_results():
    page = (ROOT / "docs/benchmarks.md").read_text()
    rows = read_rows(ROOT / "benchmarks/results/perf_analyzer.csv", PerfRun)
    assert with_section(page, SECTION, page_of(rows)) == page
