"""What the processor does between two calls, and the section that says so."""

from dataclasses import replace

from respin_benchmarks.host_work import AIM_MS, CASES, measure_host_work, page_of


def test_every_case_is_measured_and_the_verdict_is_about_single_samples():
    runs = list(measure_host_work(steps=3, repeats=1))
    assert [(run.unet, run.batch) for run in runs] == [(unet.name, batch) for unet, _, batch in CASES]
    assert all(run.cpu_ms > 0 and run.wall_ms > 0 and run.calls >= 3 for run in runs)
    quick = [replace(run, cpu_ms=AIM_MS if run.batch == 1 else 9.0) for run in runs]
    slow = [replace(run, cpu_ms=AIM_MS + 0.01 if run.unet == "inpaint_unet" else 0.01) for run in runs]
    assert page_of(quick).endswith(": met.\n")
    assert page_of(slow).endswith(": **missed**.\n")
