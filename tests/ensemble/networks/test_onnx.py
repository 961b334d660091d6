"""ONNX Runtime in this process: how many samples and how many calls at a time."""

import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest
from patience import await_true

from respin.bundled import bundled_path
from respin.contracts.networks import CLIP_TEXT, EDSR
from respin.errors import InternalError
from respin_ensemble.networks import onnx_cuda
from respin_ensemble.networks.gate import GPU
from respin_ensemble.networks.onnx import CpuSession

IMAGES = np.random.default_rng(0).uniform(0, 255, (3, 3, 16, 16)).astype(np.float32)
SOON_S = 10


def path_of(spec):
    return bundled_path("models/mini") / spec.name / "model.onnx"


class Watched:
    """A session that notes how many samples each run has, and how many runs there are at the same time."""

    def __init__(self, session):
        self.session, self.samples, self.running, self.most = session, [], 0, 0
        self.lock = threading.Lock()

    def run(self, names, arrays):
        with self.lock:
            self.running += 1
            self.most = max(self.most, self.running)
            self.samples.append(len(next(iter(arrays.values()))))
        try:
            return self.session.run(names, arrays)
        finally:
            with self.lock:
                self.running -= 1


@pytest.fixture
def watched():
    def watch(spec, cores=None):
        session = CpuSession(path_of(spec), spec, threads=1, cores=cores)
        session._session = Watched(session._session)
        return session, session._session

    return watch


def test_what_gains_nothing_by_a_batch_is_run_one_by_one_and_answers_the_same(watched):
    session, seen = watched(EDSR)
    together = session({"image": IMAGES})["upscaled"]
    assert seen.samples == [1, 1, 1]
    alone = [session({"image": image[None]})["upscaled"][0] for image in IMAGES]
    np.testing.assert_array_equal(together, alone)


def test_what_gains_by_a_batch_is_run_together(watched):
    session, seen = watched(CLIP_TEXT)
    session({"input_ids": np.zeros((3, 77), np.int64)})
    assert seen.samples == [3]


@pytest.mark.parametrize(("mib", "samples", "threads"), [(1, [3], 2), (9, [1, 1, 1], 4)])
def test_a_network_with_large_weights_gets_every_core_and_one_sample_at_a_time(tmp_path, mib, samples, threads):
    shutil.copy(path_of(CLIP_TEXT), path := tmp_path / "model.onnx")
    with (tmp_path / "model.onnx.data").open("wb") as weights:
        weights.truncate(mib * 2**20)
    session = CpuSession(path, CLIP_TEXT, cores=4)
    assert session._session.get_session_options().intra_op_num_threads == threads
    session._session = seen = Watched(session._session)
    session({"input_ids": np.zeros((3, 77), np.int64)})
    assert seen.samples == samples


def test_a_network_that_fills_the_cores_is_not_run_on_more_than_there_are(watched):
    session, seen = watched(EDSR, cores=2)
    with ThreadPoolExecutor(4) as callers:
        assert len(list(callers.map(session, [{"image": IMAGES}] * 4))) == 4
    assert seen.most == 1


def test_what_fails_leaves_the_turn_to_the_next(watched):
    session, _ = watched(EDSR)
    for _ in range(3):
        with pytest.raises(InternalError, match="edsr failed"):
            session({"image": IMAGES[:, :1]})
    assert session({"image": IMAGES})["upscaled"].shape == (3, 3, 64, 64)


class FakeValue:
    def __init__(self, array):
        self.array = array

    def update_inplace(self, array):
        self.array[...] = array

    def numpy(self):
        return self.array.copy()

    def data_ptr(self):
        return self.array.ctypes.data


class FakeCuda:
    """Stands for ONNX Runtime with CUDA: answers zeros, and notes at each run whether another call could enter."""

    OrtValue = SimpleNamespace(
        ortvalue_from_shape_and_type=lambda shape, dtype, *_: FakeValue(np.zeros(shape, dtype)),
    )

    def __init__(self):
        self.alone, self.others, self.threads = [], [], set()
        self.SessionOptions = self.RunOptions = lambda: SimpleNamespace(add_run_config_entry=lambda *_: None)
        self.InferenceSession = lambda *_, **__: self

    def get_available_providers(self):
        return [onnx_cuda.PROVIDER]

    get_providers = get_available_providers

    def get_inputs(self):
        return []

    def io_binding(self):
        return SimpleNamespace(bind_input=lambda *_: None, bind_ortvalue_output=lambda *_: None)

    def run(self, *_):
        self.note()
        return [np.zeros((3, 3, 64, 64), np.float32)]

    def run_with_iobinding(self, *_):
        self.note()

    def note(self):
        self.threads.add(threading.get_ident())
        entered = threading.Event()

        def enter():
            with GPU.call():
                entered.set()

        other = threading.Thread(target=enter)
        other.start()
        await_true(lambda: entered.is_set() or GPU._captures, "a call or a capture")
        self.alone.append(not entered.is_set())
        self.others.append(other)


@pytest.fixture
def cuda(monkeypatch):
    fake = FakeCuda()
    monkeypatch.setattr(onnx_cuda, "onnxruntime", fake)
    return fake


def test_on_a_gpu_a_session_is_called_by_one_thread_whichever_threads_want_it(cuda):
    # Each thread that calls would have graphs of its own, and capture them when it pleases.
    session, together = onnx_cuda.CudaSession(path_of(EDSR), EDSR), threading.Barrier(5)

    def call():
        session({"image": IMAGES})
        together.wait(SOON_S)  # a thread that has ended gives its number to the next

    callers = [threading.Thread(target=call) for _ in range(5)]
    for caller in callers:
        caller.start()
    for waited_for in (*callers, *cuda.others):
        waited_for.join(SOON_S)
    assert len(cuda.alone) == 5
    assert len(cuda.threads) == 1


def test_what_onnx_runtime_refuses_on_a_gpu_reaches_the_caller_and_the_next_call_works(cuda, monkeypatch):
    session = onnx_cuda.CudaSession(path_of(EDSR), EDSR)
    with monkeypatch.context() as broken:
        broken.setattr(cuda, "run", lambda *_: 1 / 0)
        with pytest.raises(InternalError, match="edsr failed: division by zero"):
            session({"image": IMAGES})
    assert session({"image": IMAGES})["upscaled"].shape == (3, 3, 64, 64)


def test_a_graph_that_cannot_be_captured_costs_no_job_its_answer(cuda, monkeypatch):
    session = onnx_cuda.CudaSession(path_of(EDSR), EDSR)
    session({"image": IMAGES})
    with monkeypatch.context() as broken:
        broken.setattr(cuda, "run_with_iobinding", lambda *_: 1 / 0)
        assert session({"image": IMAGES})["upscaled"].shape == (3, 3, 64, 64)
        assert session.uncaptured == "division by zero"
        # What fails without a graph too is told.
        with pytest.raises(InternalError, match="edsr failed: division by zero"):
            session({"image": IMAGES})
    assert session({"image": IMAGES})["upscaled"].shape == (3, 3, 64, 64)


def test_while_onnx_runtime_may_capture_a_graph_nobody_else_calls_the_gpu(cuda):
    fake, session = cuda, onnx_cuda.CudaSession(path_of(EDSR), EDSR)
    for _ in range(6):
        assert session({"image": IMAGES})["upscaled"].shape == (3, 3, 64, 64)
    for other in fake.others:
        other.join(SOON_S)
    assert fake.alone == [False, True, True, True, False, False]


GROWTH_SCRIPT = """
import resource, sys
import numpy as np
from pathlib import Path
from respin.contracts.networks import EDSR
from respin_ensemble.networks.onnx import CpuSession

def peak_mb():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

session = CpuSession(Path(sys.argv[1]), EDSR, threads=1)
image = {"image": np.ones((1, 3, 128, 128), np.float32)}
session(image)
first = peak_mb()
for _ in range(3):
    session(image)
print(peak_mb() - first)
"""


def test_later_calls_take_no_more_memory_than_the_first():
    done = subprocess.run(
        [sys.executable, "-c", GROWTH_SCRIPT, path_of(EDSR)], capture_output=True, text=True, timeout=200, check=True
    )
    assert float(done.stdout) < 10
