"""What the page says of load, many views and stages."""

import math
from dataclasses import replace
from pathlib import Path

from respin.report.rows import read_rows, write_rows
from respin_benchmarks.in_process.rows import JobRun
from respin_benchmarks.served.page import page_of
from respin_benchmarks.served.report import LOAD, SERVED, SPIN
from respin_benchmarks.served.rows import LoadRun, SpinRun

ROOT = Path(__file__).parents[2]
EMPTY_PAGE = "<!-- served: begin -->\n<!-- served: end -->\n"

NOTED = {
    "profile": "local",
    "repeat": 0,
    "sampler": "ddim",
    "steps": 4,
    "background_steps": 4,
    "commit": "abc",
    "date": "2026-11-26",
    "machine": "2 cores of a laptop",
    "versions": "numpy 1",
    "load_average": 0.5,
}
LOADED = LoadRun(
    **NOTED,
    arrival="closed",
    concurrency=2,
    rate_share=0.0,
    rate_s=0.0,
    jobs=4,
    answered=3,
    refused=1,
    failed=0,
    first_error="Busy: the server is full",
    wall_s=2.0,
    images_s=1.5,
    p50_s=1.0,
    p95_s=3.0,
    p99_s=3.0,
    latencies_s="1.0 0.5 3.0",
    zero123_busy=0.5,
    inpaint_busy=0.25,
    zero123_samples=1.75,
    inpaint_samples=1.0,
    zero123_batches="1:1 2:3",
    inpaint_batches="1:4",
    cache_hits=0,
    idle_rss_mib=200.0,
    peak_rss_mib=400.0,
    idle_pss_mib=100.0,
    peak_pss_mib=150.0,
    pss_by_process="tritonserver:30 rotate_object_stream:100 rotate_object:20",
    peak_vram_mib=math.nan,
    vram_by_process="",
)
SPUN = SpinRun(
    **NOTED,
    views=1,
    latency_s=2.0,
    first_view_s=1.9,
    zero123_busy=0.5,
    zero123_samples=1.0,
    zero123_calls=4,
    cache_hits=0,
)


def test_the_page_counts_every_job_and_pools_the_repeats():
    other = replace(LOADED, repeat=1, p50_s=2.0, latencies_s="2.0 4.0 0.25", peak_pss_mib=300.0)
    page = page_of([LOADED, other], [], [])
    assert "| `local` | 2 at once | 8 | 2 | 0 | 1.50 | 1.00 | 4.00 | 4.00 | 67% | 50% / 25% | 1.75 / 1.00 |" in page
    assert "* First error of a run: Busy: the server is full" in page
    assert "No result came from a cache." in page


def test_a_jobs_memory_is_that_of_the_first_repeat_over_the_jobs_at_once():
    later = replace(LOADED, repeat=1, idle_pss_mib=290.0, peak_pss_mib=300.0)
    page = page_of([LOADED, later], [], [])
    assert "| `local` | 2 | 100 | 150 | 400 | 25.0 |" in page


def test_the_memory_of_a_gpu_is_told_with_whose_it_is():
    run = replace(LOADED, peak_vram_mib=9000.0, vram_by_process="edsr:300 rotate_object_stream:8000")
    told = "* `local`, 2 at once: 9000 MiB of the GPU in use, of that `rotate_object_stream` 8000 MiB, `edsr` 300 MiB."
    assert told in page_of([run], [], [])
    assert "no process of the server's" in page_of([replace(run, vram_by_process="")], [], [])
    assert "GPU" not in page_of([LOADED], [], [])


def test_memory_out_of_reach_is_no_part_of_the_page():
    unknown = dict.fromkeys(("idle_rss_mib", "peak_rss_mib", "idle_pss_mib", "peak_pss_mib"), math.nan)
    page = page_of([replace(LOADED, **unknown, pss_by_process="")], [], [])
    assert "Memory" not in page
    assert "nan" not in page


def test_a_cell_without_an_answer_has_no_latency():
    nothing = dict.fromkeys(("p50_s", "p95_s", "p99_s"), math.nan)
    page = page_of([replace(LOADED, answered=0, refused=4, images_s=0.0, latencies_s="", **nothing)], [], [])
    assert "| 4 | 4 | 0 | 0.00 |  |  |  |  |" in page


def test_what_came_from_a_cache_is_told():
    assert "**3 results came from a cache.**" in page_of([replace(LOADED, cache_hits=3)], [], [])


def test_views_are_compared_with_one_view_of_the_same_profile():
    four = replace(SPUN, views=4, latency_s=3.0)
    foreign = replace(SPUN, profile="cpu", views=4, latency_s=3.0)
    page = page_of([], [four, SPUN, foreign], [])
    assert "| `local` | 4 | 3.00 |  | 1.50 x | 0.75 |" in page
    assert "| `cpu` | 4 | 3.00 |  |  | 0.75 |" in page


def test_a_report_without_pictures_to_draw_is_a_page_all_the_same(tmp_path):
    (tmp_path / "page.md").write_text(EMPTY_PAGE)
    write_rows(tmp_path / SPIN, SpinRun, [SPUN])
    SERVED.write(tmp_path, tmp_path / "page.md")
    assert "### Many views in one request" in (tmp_path / "page.md").read_text()
    assert not (tmp_path / "images").exists()


def test_the_script_measured_again_changes_what_is_said_of_its_memory(tmp_path):
    jobs = read_rows(ROOT / "benchmarks/results/jobs_cpu.csv", JobRun)
    heavier = [replace(run, memory_mib=4321) if run.way == "cold baseline" else run for run in jobs]
    write_rows(tmp_path / "jobs_cpu.csv", JobRun, heavier)
    write_rows(tmp_path / LOAD, LoadRun, [replace(LOADED, concurrency=4)])
    assert "the script that Respin replaces takes 4321 in a process a job" in SERVED.text(tmp_path)
