"""perf_analyzer: its input files, its refusals, and a run of the real program on the real server."""

import base64
import json
import math
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest
from run_bench import bench, measure

from respin.contracts import JOBS, NETWORKS
from respin.errors import InvalidInput
from respin.report.rows import read_rows
from respin.request import RotationRequest
from respin_benchmarks.perf_analyzer.inputs import network_input
from respin_benchmarks.perf_analyzer.runs import PerfRun, figures_of, find_program, run_program
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


@pytest.mark.parametrize("network", NETWORKS)
def test_a_networks_input_keeps_to_its_contract(network):
    (entry,) = network_input(network, SIZES)["data"]
    arrays = arrays_of(entry, NETWORKS[network])
    NETWORKS[network].check_inputs({name: array[None] for name, array in arrays.items()})


def test_microseconds_become_milliseconds_and_what_is_not_told_is_no_number():
    row = {"Inferences/Second": "2.5", "p50 latency": "400000", "p95 latency": "500000", "p99 latency": "600000"}
    figures = figures_of(row | {"Server Queue": "1500"})
    assert figures["requests_s"] == 2.5
    assert (figures["p50_ms"], figures["p95_ms"], figures["queue_ms"]) == (400, 500, 1.5)
    assert math.isnan(figures["compute_ms"])


@pytest.fixture
def fake(tmp_path):
    def program(script):
        path = tmp_path / "perf_analyzer"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        return path

    return program


@pytest.fixture
def on_path(fake, tmp_path, monkeypatch):
    """Make a program of a script, and the PATH have it."""
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    return fake


def test_a_program_on_the_path_is_taken(on_path):
    program = on_path("echo here")
    assert find_program() == program


def test_without_a_program_the_cure_is_told_before_a_server_is_started(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    error = bench("perf", "--results", tmp_path).exception
    assert isinstance(error, InvalidInput)
    assert "there is no perf_analyzer on the PATH; pip install perf-analyzer" in str(error)
    assert list(tmp_path.iterdir()) == []


def test_its_refusal_is_told_in_its_own_words(fake):
    with pytest.raises(InvalidInput, match="perf_analyzer exited with status 99: failed to reach the server"):
        run_program(fake("echo failed to reach the server >&2; exit 99"), [])


def test_a_run_that_never_ends_is_ended(fake):
    with pytest.raises(InvalidInput, match=r"was not done after 0.2 s"):
        run_program(fake("exec sleep 60"), [], 0.2)


FIGURES = "Inferences/Second,p50 latency,p95 latency,p99 latency,Server Queue\\n2.5,400000,500000,600000,1500\\n"
WRITES_FIGURES = f"""
while [ $# -gt 0 ]; do case $1 in -f) shift; printf '{FIGURES}' > "$1";; esac; shift; done
"""


def test_every_job_and_network_is_a_row_of_its_figures(on_path, tmp_path):
    on_path(WRITES_FIGURES)
    page = tmp_path / "page.md"
    page.write_text("<!-- perf_analyzer: begin -->\n<!-- perf_analyzer: end -->\n")
    where = ["--url", "127.0.0.1:1", "--results", tmp_path, "--page", page]
    measure("perf", *where, "--only", "edsr", "--only", "segment_object", "--requests", "1")
    rows = read_rows(tmp_path / "perf_analyzer.csv", PerfRun)
    asked = [("segment_object", 1, 1), ("segment_object", 4, 1), ("edsr", 1, 10)]
    assert [(row.model, row.concurrency, row.requests) for row in rows] == asked
    assert {(row.requests_s, row.p50_ms, row.queue_ms) for row in rows} == {(2.5, 400.0, 1.5)}
    assert "| `edsr` | unary | 1 | 2.5 | 400 |" in page.read_text()


def test_a_run_without_figures_is_an_error(on_path, tmp_path):
    on_path("exit 0")
    given = ["--url", "127.0.0.1:1", "--results", tmp_path, "--only", "edsr"]
    assert "perf_analyzer wrote no figures of edsr" in str(bench("perf", *given).exception)


@pytest.mark.triton
@pytest.mark.skipif(shutil.which("perf_analyzer") is None, reason="there is no perf_analyzer on the PATH")
def test_it_measures_a_job_and_a_network_on_the_real_server(tmp_path):
    measure("perf", "--results", tmp_path, "--only", "edsr", "--only", "segment_object", "--requests", "1")
    rows = read_rows(tmp_path / "perf_analyzer.csv", PerfRun)
    assert len(rows) == 3
    assert all(row.requests_s > 0 and row.p50_ms > 0 for row in rows)


def test_the_input_files_of_the_jobs_are_written(tmp_path):
    measure("perf", "--write-inputs", tmp_path / "inputs")
    assert {file.stem for file in (tmp_path / "inputs").iterdir()} == set(JOBS)
