"""More work than the engine can do: what is refused, what is freed, and that what is admitted is in time."""

import threading
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO

import numpy as np
import pytest
from mini_server import eventually, send, series, serve
from PIL import Image
from tritonclient import grpc as triton

from respin.errors import Busy, InvalidInput
from respin_client import Client

pytestmark = pytest.mark.triton

DEADLINE_S = 20.0


@pytest.fixture
def long_job(turn):
    return turn(azimuth=tuple(float(angle) for angle in range(8)), steps=250, background_steps=250)


def test_a_job_that_is_cancelled_while_it_waits_frees_its_slot_at_once(tmp_path, long_job, turn):
    with (
        serve("local", tmp_path, exit_timeout_s=1, workers=1, max_jobs=2) as server,
        triton.InferenceServerClient(str(server.endpoints["gRPC"])) as triton_client,
        Client(str(server.endpoints["gRPC"]), retries=0) as client,
    ):
        running = client.stream(long_job)
        next(running)
        waiting = send(triton_client, long_job)
        eventually(server, "respin_jobs", lambda jobs: jobs == 2)
        with pytest.raises(Busy, match=r"the server has 2 jobs; the limit is 2\. Retry in"):
            client.segment_object(turn())
        waiting.cancel()
        eventually(server, "respin_jobs", lambda jobs: jobs == 1)
        send(triton_client, long_job)
        eventually(server, "respin_jobs", lambda jobs: jobs == 2)
        # All that while the one worker was with the first job.
        assert 'respin_jobs_ended_total{status="OK"}' not in series(server)
        running.close()


def test_an_answer_that_fits_into_no_message_is_refused_before_any_work(cpu_client, cpu_triton_client, turn):
    file = BytesIO()
    Image.fromarray(np.zeros((3000, 4000), np.uint8)).save(file, "PNG")
    large = turn(image=file.getvalue(), azimuth=tuple(float(angle) for angle in range(12)))
    decoded = cpu_triton_client.get_inference_statistics("sam_encoder").model_stats[0].inference_count
    with pytest.raises(InvalidInput, match=r"the answer may have 4\d\d MiB: image of 12 views of 12\.0 megapixels"):
        cpu_client.rotate_object(large)
    assert cpu_triton_client.get_inference_statistics("sam_encoder").model_stats[0].inference_count == decoded


@pytest.mark.soak
@pytest.mark.timeout(600)
@pytest.mark.parametrize("profile", ["cpu", "local"])
def test_nothing_that_is_admitted_misses_its_deadline_under_overload(tmp_path, turn, profile):
    clients, requests_each, pause = 48, 8, threading.Event()

    def request(number):
        return turn(azimuth=(10.0,) * (1 + number % 3), seed=number, steps=10 + number % 20, background_steps=15)

    with serve(profile, tmp_path, exit_timeout_s=1) as server:
        with Client(str(server.endpoints["gRPC"]), retries=0, timeout_s=100) as client:
            client.rotate_object(request(1))

        def insist(user):
            ends = []
            with Client(str(server.endpoints["gRPC"]), retries=0, timeout_s=DEADLINE_S) as client:
                for number in range(requests_each):
                    try:
                        if user % 2:
                            client.rotate_object(request(100 * user + number))
                        else:
                            list(client.stream(request(100 * user + number)))
                        ends.append("OK")
                    except Busy:
                        ends.append("Busy")
                        pause.wait(0.2)
            return ends

        with ThreadPoolExecutor(clients) as users:
            ends = [end for each in users.map(insist, range(clients)) for end in each]
    assert ends.count("OK") >= 2
    assert ends.count("Busy") > ends.count("OK"), "this was no overload"
