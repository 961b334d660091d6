"""The engine: `rotate_object_stream`, the one process that holds the story."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import triton_python_backend_utils as pb_utils

from respin.contracts import NETWORKS, ROTATE_OBJECT_STREAM
from respin.errors import Busy, InvalidInput, RespinError
from respin.model_set import ModelSet
from respin.request import RotationRequest
from respin.specs import Array
from respin_ensemble.networks import Networks
from respin_ensemble.rotate_object import Workshop, rotate_object
from respin_ensemble.sampling import Lockstep
from respin_ensemble.serving.engine_call import AT_WORK, UNKNOWN
from respin_ensemble.serving.job import Job
from respin_ensemble.serving.replies import (
    FINAL,
    error_for_caller,
    error_response,
    read_inputs,
    read_parameters,
    tensors,
)

PARAMETERS = ("job", "in_band", "cancel", "alive")
"""How the unary fronts talk to the engine: the job's name; errors as data; stop the job of this name; is it at work?"""


class Engine:
    """Answers each request with a stream: progress, results as they are made, the end."""

    def initialize(self, args: Mapping[str, str]) -> None:
        """Find the set's manifest and the networks."""
        version = Path(args["model_repository"]) / args["model_version"]
        given = json.loads(args["model_config"])["parameters"]
        parameters = {name: value["string_value"] for name, value in given.items()}
        networks = _networks(parameters["networks"], version)
        workers = int(parameters["workers"])
        self._max_jobs = int(parameters["max_jobs"])
        self._workers = ThreadPoolExecutor(workers, thread_name_prefix="job")
        # Each job at work has one branch: with as many threads as workers, none ever waits for another job's.
        self._branches = ThreadPoolExecutor(workers, thread_name_prefix="branch")
        self._workshop = Workshop(networks, Lockstep(networks), self._branches)
        self._jobs: dict[str, Job] = {}
        self._lock = threading.Lock()

    def execute(self, requests: Sequence[pb_utils.InferenceRequest]) -> None:
        """Take requests in and return at once; their answers follow through their response senders."""
        for request in requests:
            sender = request.get_response_sender()
            try:
                parameters = read_parameters(request, PARAMETERS, ROTATE_OBJECT_STREAM)
            except InvalidInput as error:
                sender.send(error_response(error), FINAL)
                continue
            if "cancel" in parameters or "alive" in parameters:
                # With data in it: an empty final response would hang the BLS caller (Triton 2.51).
                answer = {"stage": self._answer_message(parameters)}
                sender.send(pb_utils.InferenceResponse(tensors(ROTATE_OBJECT_STREAM, answer)), FINAL)
                continue
            job = Job(request, sender, parameters)
            try:
                self._admit(job, read_inputs(request))
            except RespinError as error:
                job.fail(error)

    def finalize(self) -> None:
        """Stop every job at its next report, and wait for them."""
        with self._lock:
            jobs = list(self._jobs.values())
        for job in jobs:
            job.cancel()
        self._workers.shutdown(cancel_futures=True)
        self._branches.shutdown()

    def _admit(self, job: Job, arrays: dict[str, Array]) -> None:
        with self._lock:
            if len(self._jobs) >= self._max_jobs:
                raise Busy(f"{self._max_jobs} jobs are here already, the most this server holds; try again in seconds")
            if job.name in self._jobs:
                raise InvalidInput("a job of this name is at work; leave the parameter 'job' out")
            self._jobs[job.name] = job
        self._workers.submit(self._work, job, arrays)

    def _work(self, job: Job, arrays: dict[str, Array]) -> None:
        try:
            rotate_object(self._workshop, RotationRequest.from_arrays(arrays), job.report)
            job.end()
        except Exception as error:  # a bug becomes a logged reference for the caller, and the engine lives on
            job.fail(error_for_caller(error))
        finally:
            with self._lock:
                del self._jobs[job.name]

    def _answer_message(self, parameters: Mapping[str, str]) -> bytes:
        """Whether the job that a message speaks of is at work; if told so, it is made to stop."""
        with self._lock:
            job = self._jobs.get(parameters.get("cancel") or parameters["alive"])
        if job is None:
            return UNKNOWN
        if "cancel" in parameters:
            job.cancel()
        return AT_WORK


def _networks(kind: str, version: Path) -> Networks:
    """The networks that the profile names: models of this server, or sessions in this process."""
    sizes = ModelSet.load(version).sizes
    if kind == "triton":
        from respin_ensemble.networks.triton import TritonNetworks  # noqa: PLC0415

        return TritonNetworks(sizes)
    from respin_ensemble.networks.onnx import OnnxNetworks  # noqa: PLC0415

    files = {name: version / "networks" / name / "model.onnx" for name in NETWORKS}
    return OnnxNetworks.from_files(files, sizes)
