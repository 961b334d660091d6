"""Whole jobs on the real server: load and stages."""

import math

import pytest
from run_bench import bench, measure

from respin.limits import DEFAULT_LIMITS, EngineLimits
from respin.report.markdown import with_section
from respin.report.rows import read_rows
from respin_benchmarks.circumstances import FILE, read_circumstances
from respin_benchmarks.embedded import embedded_server
from respin_benchmarks.served.page import LOAD, SERVED, STAGES
from respin_benchmarks.served.rows import LoadRun, StagesRun

EMPTY_PAGE = "<!-- served: begin -->\n<!-- served: end -->\n"
NOWHERE = "127.0.0.1:1"


def test_a_server_that_is_not_there_is_told_of(tmp_path):
    error = bench("load", "--url", NOWHERE, "--results", tmp_path).exception
    assert f"no server answers at {NOWHERE}" in str(error)
    assert list(tmp_path.iterdir()) == []


SMALL = ["--sampler", "ddim", "--steps", "4", "--background-steps", "4"]
LOADED = [*SMALL, "--repeats", "1", "--concurrency", "2", "--jobs", "2"]


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    folder = tmp_path_factory.mktemp("measured")
    (folder / "page.md").write_text(EMPTY_PAGE)
    where = ["--results", folder, "--page", folder / "page.md"]
    measure("stages", *SMALL, "--repeats", 1, *where)
    measure("load", *LOADED, *where)
    return folder


@pytest.mark.triton
def test_the_circumstances_of_each_measurement_lie_beside_its_rows(measured):
    noted = {run["benchmark"]: run["results"] for run in read_circumstances(measured / FILE)}
    assert noted == {"served: stages": [STAGES], "served: load": [LOAD]}


@pytest.mark.triton
def test_jobs_on_both_profiles_are_measured_in_turn(measured):
    rows = read_rows(measured / LOAD, LoadRun)
    assert [row.profile for row in rows] == ["cpu", "local"]
    for row in rows:
        assert (row.jobs, row.refused, row.failed, row.first_error) == (4, 0, 0, "")
        assert len(row.latencies_s.split()) == 4
        assert row.p50_s <= row.p95_s


@pytest.mark.triton
def test_the_servers_own_metrics_tell_how_its_unets_were_called(measured):
    for row in read_rows(measured / LOAD, LoadRun):
        assert 1 <= row.zero123_samples <= 2
        assert 1 <= row.inpaint_samples <= 2
        assert row.zero123_busy > 0
        assert row.inpaint_busy > 0


@pytest.mark.triton
def test_every_process_of_the_server_is_weighed(measured):
    by_profile = {row.profile: row.peak_pss_mib for row in read_rows(measured / LOAD, LoadRun)}
    # A server of one process has some tens of MiB, its engine some hundreds; of `cpu` each network is a process.
    assert by_profile["cpu"] > by_profile["local"] > 200


@pytest.mark.triton
def test_every_stage_has_its_time(measured):
    for row in read_rows(measured / STAGES, StagesRun):
        parts = [row.decoding_s, row.segmentation_s, row.background_s, row.super_resolution_s, row.outline_s]
        assert min(*parts, row.composition_s, row.zero123_unet_s) > 0
        assert row.latency_s > row.server_s > max(parts)
        assert row.background_s > row.inpaint_unet_s


@pytest.mark.triton
def test_the_page_is_written_from_the_files(measured):
    page = (measured / "page.md").read_text()
    assert page == with_section(EMPTY_PAGE, "served", SERVED.text(measured))
    for title in ("Where one job's time goes", "Many jobs at once"):
        assert f"### {title}" in page


@pytest.mark.triton
def test_a_running_server_is_measured_without_its_memory_and_what_it_refuses_is_counted(tmp_path):
    with embedded_server("local", limits=EngineLimits(cache_mib=0, max_jobs=1)) as server:
        where = ["--url", server.endpoints["gRPC"], "--metrics-url", server.endpoints["metrics"]]
        measure("load", *LOADED, *where, "--results", tmp_path)
    (row,) = read_rows(tmp_path / LOAD, LoadRun)
    assert (row.profile, row.jobs, row.failed) == ("running", 4, 0)
    assert row.refused >= 1
    assert row.first_error.startswith("Busy: the server has 1 jobs")
    assert len(row.latencies_s.split()) == row.jobs - row.refused
    assert math.isnan(row.peak_pss_mib)


@pytest.mark.triton
def test_a_running_server_that_keeps_results_is_refused(tmp_path):
    with embedded_server("local", limits=DEFAULT_LIMITS) as server:
        where = ["--url", server.endpoints["gRPC"], "--metrics-url", server.endpoints["metrics"]]
        error = bench("stages", *SMALL, *where, "--results", tmp_path).exception
    assert "respin serve --limit cache_mib=0" in str(error)
