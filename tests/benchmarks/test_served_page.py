"""What the page says of load and stages."""

import math
from dataclasses import replace

from respin.report.rows import write_rows
from respin_benchmarks.served.page import LOAD, SERVED, page_of
from respin_benchmarks.served.rows import LoadRun

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
    concurrency=2,
    jobs=4,
    refused=1,
    failed=0,
    first_error="Busy: the server is full",
    images_s=1.5,
    p50_s=1.0,
    p95_s=3.0,
    latencies_s="1.0 0.5 3.0",
    zero123_busy=0.5,
    inpaint_busy=0.25,
    zero123_samples=1.75,
    inpaint_samples=1.0,
    peak_pss_mib=150.0,
)


def test_the_page_counts_every_job_and_pools_the_repeats():
    other = replace(LOADED, repeat=1, p50_s=2.0, latencies_s="2.0 4.0 0.25", peak_pss_mib=300.0)
    page = page_of([LOADED, other], [])
    assert "| `local` | 2 | 8 | 2 | 0 | 1.50 | 1.00 | 4.00 | 4.00 | 67% | 50% / 25% | 1.75 / 1.00 | 150 |" in page
    assert "* First error of a run: Busy: the server is full" in page


def test_memory_out_of_reach_is_no_part_of_the_page():
    assert "PSS" in page_of([LOADED], [])
    page = page_of([replace(LOADED, peak_pss_mib=math.nan)], [])
    assert "PSS" not in page
    assert "nan" not in page


def test_a_cell_without_an_answer_has_no_latency():
    nothing = dict.fromkeys(("p50_s", "p95_s"), math.nan)
    page = page_of([LOADED, replace(LOADED, concurrency=4, refused=4, images_s=0.0, latencies_s="", **nothing)], [])
    assert "| `local` | 4 | 4 | 4 | 0 | 0.00 | - | - | - |" in page


def test_what_has_not_been_measured_is_no_part_of_the_page(tmp_path):
    (tmp_path / "page.md").write_text(EMPTY_PAGE)
    write_rows(tmp_path / LOAD, LoadRun, [LOADED])
    SERVED.write(tmp_path, tmp_path / "page.md")
    assert "### Many jobs at once" in (tmp_path / "page.md").read_text()
    assert "### Where one job's time goes" not in (tmp_path / "page.md").read_text()
