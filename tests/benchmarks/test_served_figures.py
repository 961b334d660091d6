"""Load, many views and stages: what is sent, read and computed."""

import http.server
import threading

import pytest

from respin.errors import Busy, DeadlineExceeded, InternalError
from respin_benchmarks.embedded import MemoryReading, MemoryWatch, Processes
from respin_benchmarks.options import LoadOptions
from respin_benchmarks.sending import poisson_arrivals_s, send_closed_loop, send_open_loop
from respin_benchmarks.served.load import LoadCell, load_cells, measure_load
from respin_benchmarks.served.metrics import MetricsPort, MetricsReading
from respin_benchmarks.served.rows import batches_from_text, text_from_batches
from respin_benchmarks.served.servers import JobRequests

NOWHERE = "127.0.0.1:1"

BEFORE = """# TYPE respin_batch_size histogram
respin_batch_size_count{unet="zero123_unet"} 4
respin_batch_size_sum{unet="zero123_unet"} 5
respin_batch_size_bucket{unet="zero123_unet",le="1"} 3
respin_batch_size_bucket{unet="zero123_unet",le="2"} 4
respin_batch_size_bucket{unet="zero123_unet",le="3"} 4
respin_batch_size_bucket{unet="zero123_unet",le="4"} 4
respin_batch_size_bucket{unet="zero123_unet",le="5"} 4
respin_batch_size_bucket{unet="zero123_unet",le="6"} 4
respin_batch_size_bucket{unet="zero123_unet",le="7"} 4
respin_batch_size_bucket{unet="zero123_unet",le="8"} 4
respin_batch_size_bucket{unet="zero123_unet",le="+Inf"} 4
nv_inference_count{model="edsr"} 7
"""
AFTER = """respin_batch_size_count{unet="zero123_unet"} 10
respin_batch_size_sum{unet="zero123_unet"} 27
respin_batch_size_bucket{unet="zero123_unet",le="1"} 4
respin_batch_size_bucket{unet="zero123_unet",le="2"} 5
respin_batch_size_bucket{unet="zero123_unet",le="3"} 5
respin_batch_size_bucket{unet="zero123_unet",le="4"} 8
respin_batch_size_bucket{unet="zero123_unet",le="5"} 8
respin_batch_size_bucket{unet="zero123_unet",le="6"} 8
respin_batch_size_bucket{unet="zero123_unet",le="7"} 8
respin_batch_size_bucket{unet="zero123_unet",le="8"} 10
respin_batch_size_bucket{unet="zero123_unet",le="+Inf"} 10
respin_cache_hits_total{cache="text"} 2
respin_cache_hits_total{cache="outline"} 1
respin_jobs_ended_total{status="OK"} 3
respin_job_seconds_count 2
"""


def test_the_batch_sizes_of_a_run_are_the_difference_of_two_readings():
    added = MetricsReading.from_text(AFTER).since(MetricsReading.from_text(BEFORE))
    assert added.batch_sizes("zero123_unet") == {1: 1, 4: 3, 8: 2}
    assert added.samples_per_call("zero123_unet") == pytest.approx(22 / 6)


def test_what_has_not_counted_yet_is_nothing():
    reading = MetricsReading.from_text(BEFORE)
    assert reading.batch_sizes("inpaint_unet") == {}
    assert (reading.samples_per_call("inpaint_unet"), reading.cache_hits, reading.answered) == (0, 0, 0)


def test_hits_of_all_caches_count_and_a_job_only_once_all_of_it_is_told():
    reading = MetricsReading.from_text(AFTER)
    assert (reading.cache_hits, reading.answered) == (3, 2)


def test_batches_are_read_as_they_were_written():
    assert batches_from_text(text_from_batches({1: 20, 8: 3})) == {1: 20, 8: 3}
    assert batches_from_text("") == {}


def test_arrivals_are_the_same_for_the_same_seed_and_others_for_another():
    arrivals = poisson_arrivals_s(4.0, 1000, 7)
    assert arrivals == poisson_arrivals_s(4.0, 1000, 7)
    assert arrivals != poisson_arrivals_s(4.0, 1000, 8)
    assert arrivals == sorted(arrivals)
    assert arrivals[-1] == pytest.approx(1000 / 4.0, rel=0.1)


@pytest.fixture
def fates():
    """A job that is answered, refused, answered, and out of time, in turn."""
    errors = iter([None, Busy("full"), None, DeadlineExceeded("late")])
    lock = threading.Lock()

    def job(_number):
        with lock:
            error = next(errors)
        if error:
            raise error

    return job


@pytest.mark.parametrize(
    "offered",
    [
        lambda job: send_closed_loop(job, concurrency=2, jobs=4),
        lambda job: send_open_loop(job, [0.0, 0.001, 0.002, 0.003]),
    ],
    ids=["closed", "open"],
)
def test_no_job_is_dropped_whatever_becomes_of_it(fates, offered):
    burst = offered(fates)
    assert [burst.count(fate) for fate in ("answered", "refused", "failed")] == [2, 1, 1]
    assert len(burst.latencies_s) == 2
    assert burst.first_error in ("Busy: full", "DeadlineExceeded: late")


def test_a_closed_loop_keeps_as_many_under_way_as_it_has_workers():
    together = threading.Barrier(3)
    assert send_closed_loop(lambda _: together.wait(30), concurrency=3, jobs=6).count("answered") == 6


def test_a_bug_of_ours_is_no_failed_job():
    def job(_number):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        send_closed_loop(job, concurrency=1, jobs=1)


def test_no_two_jobs_have_the_same_seed_and_all_the_same_photo():
    asked = JobRequests(steps=4, background_steps=4, sampler="ddim")
    requests = [asked.next(), asked.next(), asked.next(3)]
    assert [request.seed for request in requests] == [0, 1, 2]
    assert [request.views for request in requests] == [1, 1, 3]
    assert len({request.image for request in requests}) == 1


def test_closed_loops_come_first_each_kind_from_little_to_much():
    cells = load_cells(LoadOptions(concurrency=[4, 1], rate=[1.1, 0.5]))
    assert cells == [LoadCell(1), LoadCell(4), LoadCell(rate_share=0.5), LoadCell(rate_share=1.1)]
    assert load_cells(LoadOptions(concurrency=[2], open_jobs=0)) == [LoadCell(2)]


def test_when_the_time_is_up_nothing_begins():
    assert list(measure_load([None], LoadOptions(), lambda: True)) == []


def test_the_peak_of_the_memory_is_the_greatest_that_was_seen():
    class Growing:
        readings = iter(
            [
                MemoryReading(10, 5, {"a": 5}),
                *[MemoryReading(30, 25, {"a": 25})] * 2,
                *[MemoryReading(20, 15, {"a": 15})] * 999,
            ]
        )
        looks = 0
        seen = threading.Event()

        def read_memory(self):
            self.looks += 1
            if self.looks == 3:
                self.seen.set()
            return next(self.readings)

    processes = Growing()
    with MemoryWatch(processes) as watch:
        assert processes.seen.wait(30)
    assert (watch.before.pss, watch.peak("pss").pss, watch.peak("rss").rss) == (5, 25, 30)


def test_a_process_that_has_ended_takes_nothing(tmp_path):
    import subprocess

    sleeper = subprocess.Popen(["sleep", "60"])
    processes = Processes(sleeper.pid)
    assert processes.read_memory().rss > 0
    sleeper.kill()
    sleeper.wait()
    assert processes.read_memory().rss == 0


@pytest.fixture
def metrics_port():
    """A server of metrics whose text can be changed."""
    pages = {"text": AFTER}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(pages["text"].encode())

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_metrics_that_never_tell_of_the_jobs_are_told_of(metrics_port):
    port = MetricsPort(metrics_port, timeout_s=0)
    with pytest.raises(InternalError, match=r"count 2 answered jobs, not 5.*--metrics-url"):
        port.read_settled(MetricsReading(), 5)


def test_metrics_that_stand_still_are_taken(metrics_port):
    assert MetricsPort(metrics_port).read_settled(MetricsReading(), 2) == MetricsReading.from_text(AFTER)


@pytest.mark.parametrize("url", [NOWHERE, "no url", "127.0.0.1:port"])
def test_where_no_metrics_are_is_said_in_words(url):
    with pytest.raises(Busy, match=f"no metrics at '{url}' .* --metrics-url"):
        MetricsPort(url).read()
