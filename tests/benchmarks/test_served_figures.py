"""Load, many views and stages: what is sent and read."""

import http.server
import subprocess
import threading

import pytest

from respin.errors import Busy, DeadlineExceeded, InternalError
from respin_benchmarks.embedded import ServerMemory, memory_of, poll_in_background
from respin_benchmarks.served.measuring import send_closed_loop
from respin_benchmarks.served.metrics import MetricsPort, MetricsReading
from respin_benchmarks.served.servers import MeasuredServer

NOWHERE = "127.0.0.1:1"

BEFORE = """# TYPE respin_batch_size histogram
respin_batch_size_count{unet="zero123_unet"} 4
respin_batch_size_sum{unet="zero123_unet"} 5
nv_inference_count{model="edsr"} 7
"""
AFTER = """respin_batch_size_count{unet="zero123_unet"} 10
respin_batch_size_sum{unet="zero123_unet"} 27
respin_cache_hits_total{cache="text"} 2
respin_cache_hits_total{cache="outline"} 1
respin_jobs_ended_total{status="OK"} 3
respin_job_seconds_count 2
"""


def test_the_samples_a_call_of_a_run_are_the_difference_of_two_readings():
    added = MetricsReading.from_text(AFTER).since(MetricsReading.from_text(BEFORE))
    assert added.samples_per_call("zero123_unet") == pytest.approx(22 / 6)


def test_what_has_not_counted_yet_is_nothing():
    reading = MetricsReading.from_text(BEFORE)
    assert (reading.samples_per_call("inpaint_unet"), reading.cache_hits, reading.answered) == (0, 0, 0)


def test_hits_of_all_caches_count_and_a_job_only_once_all_of_it_is_told():
    reading = MetricsReading.from_text(AFTER)
    assert (reading.cache_hits, reading.answered) == (3, 2)


@pytest.fixture
def fates():
    """A job that is answered, refused, answered, and out of time, in turn."""
    errors = iter([None, Busy("full"), None, DeadlineExceeded("late")])
    lock = threading.Lock()

    def job():
        with lock:
            error = next(errors)
        if error:
            raise error

    return job


def test_no_job_is_dropped_whatever_becomes_of_it(fates):
    burst = send_closed_loop(fates, concurrency=2, jobs=4)
    assert (len(burst.latencies_s), burst.refused, burst.failed) == (2, 1, 1)
    assert burst.first_error in ("Busy: full", "DeadlineExceeded: late")


def test_a_closed_loop_keeps_as_many_under_way_as_it_has_workers():
    together = threading.Barrier(3)
    assert len(send_closed_loop(lambda: together.wait(30), concurrency=3, jobs=6).latencies_s) == 6


def test_a_bug_of_ours_is_no_failed_job():
    def job():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        send_closed_loop(job, concurrency=1, jobs=1)


def test_no_two_jobs_have_the_same_seed_and_all_the_same_photo():
    class Client:
        def rotate_object(self, request):
            asked.append(request)

    class Port:
        def read_settled(self, before, answered):
            return MetricsReading()

    asked = []
    server = MeasuredServer("cpu", Client(), Port(), {"steps": 4, "background_steps": 4, "sampler": "ddim"})
    requests = [server.request(), server.request()]
    assert [request.seed for request in asked] == [0, 0, 0], "of the same request twice nothing may be kept"
    assert [request.seed for request in requests] == [1, 2]
    assert len({request.image for request in [*asked, *requests]}) == 1


def test_readings_go_on_while_the_work_does_and_there_are_two_at_least():
    values, third = iter(range(1000)), threading.Event()

    def read():
        value = next(values)
        if value == 2:
            third.set()
        return value

    with poll_in_background(read) as readings:
        assert third.wait(30)
    assert readings == list(range(len(readings)))
    assert len(readings) >= 4
    with poll_in_background(lambda: 7.0) as readings:
        pass
    assert readings == [7, 7]


def test_a_reading_that_fails_is_no_reading_less():
    values = iter([1.0])
    failing = threading.Event()

    def read():
        try:
            return next(values)
        except StopIteration:
            failing.set()
            raise ZeroDivisionError from None

    with pytest.raises(ZeroDivisionError), poll_in_background(read):
        assert failing.wait(30)


def test_a_process_that_has_ended_takes_nothing():
    sleeper = subprocess.Popen(["sleep", "60"])
    memory = memory_of(sleeper.pid)
    assert memory.rss > memory.pss > 0
    assert memory.processes == 1
    sleeper.kill()
    sleeper.wait()
    assert memory_of(sleeper.pid) == ServerMemory(0, 0, 0)


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
