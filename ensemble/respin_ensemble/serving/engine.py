"""The engine: `rotate_object_stream`, the one process that holds the story."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import triton_python_backend_utils as pb_utils

from respin.contracts import NETWORKS, ROTATE_OBJECT_STREAM
from respin.contracts.networks import ZERO123_UNET
from respin.errors import Busy, InvalidInput
from respin.limits import EngineLimits
from respin.model_set import ModelSet
from respin.request import PRIORITIES, RotationRequest
from respin.specs import Array
from respin_ensemble.batching.batchers import StepSchedulers
from respin_ensemble.batching.step_batcher import Room
from respin_ensemble.imaging.codec import photo_pixels
from respin_ensemble.networks import Networks
from respin_ensemble.pipeline.context import Caches, Workshop
from respin_ensemble.pipeline.rotate_object import rotate_object
from respin_ensemble.serving.admission import Admission, Place
from respin_ensemble.serving.caller import Caller
from respin_ensemble.serving.engine_call import AT_WORK, UNKNOWN
from respin_ensemble.serving.job import Job
from respin_ensemble.serving.metrics import TritonMeter
from respin_ensemble.serving.replies import (
    error_for_caller,
    error_response,
    read_inputs,
    read_parameters,
    tensors,
)
from respin_ensemble.serving.watch import Watch
from respin_ensemble.stages.novel_view import Moves

PARAMETERS = ("job", "in_band", "cancel", "alive")
"""How the unary fronts talk to the engine: the job's name; errors as data; stop the job of this name; is it at work?"""

SWITCH_S = 0.001
"""How long a thread may hold the interpreter while others wait: the step loops must not wait for a picture's Python."""

PUBLISH_S = 0.5
"""How often the metrics are brought up to date."""


class Engine:
    """Answers each request with a stream: progress, results as they are made, the end."""

    def initialize(self, args: Mapping[str, str]) -> None:
        """Find the set's manifest and the networks, and start the step loops."""
        sys.setswitchinterval(SWITCH_S)
        version = Path(args["model_repository"]) / args["model_version"]
        given = json.loads(args["model_config"])["parameters"]
        parameters = {name: value["string_value"] for name, value in given.items()}
        limits = EngineLimits.from_parameters(parameters)
        networks = _networks(parameters["networks"], version)
        self._meter = TritonMeter()
        room = Room(limits.started_samples, limits.waiting_samples)
        self._schedulers = StepSchedulers(networks, room=room, meter=self._meter)
        self._admission = Admission(limits, self._schedulers[ZERO123_UNET], self._meter)
        self._workers = ThreadPoolExecutor(limits.workers, thread_name_prefix="job")
        # Each job at work has one branch: with as many threads as workers, none ever waits for another job's.
        self._branches = ThreadPoolExecutor(limits.workers, thread_name_prefix="branch")
        self._workshop = Workshop(
            networks,
            self._schedulers.stepper(),
            self._branches,
            Moves(networks),
            Caches(limits.cache_mib * 2**20, self._meter),
            self._meter,
        )
        self._jobs: dict[str, Job] = {}
        self._lock = threading.Lock()
        self._closing = False
        self._published_s = 0.0
        self._watch = Watch("callers of the engine", self._looks)

    def execute(self, requests: Sequence[pb_utils.InferenceRequest]) -> None:
        """Take requests in and return at once; their answers follow through their response senders."""
        for request in requests:
            caller = Caller(request.get_response_sender())
            try:
                parameters = read_parameters(request, PARAMETERS, ROTATE_OBJECT_STREAM)
            except InvalidInput as error:
                caller.send_last(error_response(error))
                continue
            if "cancel" in parameters or "alive" in parameters:
                # With data in it: an empty final response would hang the BLS caller (Triton 2.51).
                answer = {"stage": self._answer_message(parameters)}
                caller.send_last(pb_utils.InferenceResponse(tensors(ROTATE_OBJECT_STREAM, answer)))
                continue
            job = Job(request, caller, parameters)
            try:
                self._admit(job, read_inputs(request))
            except Exception as error:  # a bug in the door must not cost the caller his answer
                refusal = error_for_caller(error)
                self._meter.add("respin_jobs_ended_total", refusal.grpc_code)
                job.fail(refusal)

    def finalize(self) -> None:
        """Stop every job at its next step, and wait for them."""
        with self._lock:
            self._closing = True
            jobs = list(self._jobs.values())
        for job in jobs:
            job.stop("server", "the server is stopping")
        self._workers.shutdown()
        self._branches.shutdown()
        self._watch.close()
        self._schedulers.close()

    def _admit(self, job: Job, arrays: dict[str, Array]) -> None:
        """Refuse what can be refused without work, before it takes a worker."""
        request = RotationRequest.from_arrays(arrays)
        pixels = photo_pixels(request.image)
        with self._lock:
            if self._closing:
                raise Busy("the server is stopping; send the request again")
            if job.name in self._jobs:
                raise InvalidInput("a job of this name is at work; leave the parameter 'job' out")
            place = self._admission.admit(request, pixels, job.deadline_s)
            self._jobs[job.name] = job
        self._workers.submit(self._work, job, request, place)

    def _work(self, job: Job, request: RotationRequest, place: Place) -> None:
        status = "OK"
        try:
            # It may have waited for a worker longer than its caller did for it.
            job.look()
            job.still_wanted()
            stepper = self._schedulers.stepper(priority=PRIORITIES[request.priority], stopped=job.is_stopped)
            workshop = replace(self._workshop, stepper=stepper, still_wanted=job.still_wanted)
            rotate_object(workshop, request, job.report)
            job.end()
        except Exception as error:  # a bug becomes a logged reference for the caller, and the engine lives on
            told = error_for_caller(error)
            status = told.grpc_code
            job.fail(told)
        finally:
            with self._lock:
                del self._jobs[job.name]
            self._admission.leave(place, answered=status == "OK")
            self._meter.add("respin_jobs_ended_total", status)
            if job.stopped_by is not None and status == "CANCELLED":
                self._meter.add("respin_cancellations_total", job.stopped_by)

    def _looks(self) -> list[Callable[[], None]]:
        """What the watch does next: look for each job's caller, and now and then bring the metrics up to date."""
        with self._lock:
            looks: list[Callable[[], None]] = [job.look for job in self._jobs.values()]
        if time.monotonic() - self._published_s > PUBLISH_S:
            self._published_s = time.monotonic()
            looks.append(self._publish)
        return looks

    def _publish(self) -> None:
        jobs, pixels = self._admission.here
        self._meter.set("respin_jobs", jobs)
        self._meter.set("respin_photo_pixels", pixels)
        for unet, (started, waiting) in self._schedulers.samples().items():
            self._meter.set("respin_samples_started", started, unet)
            self._meter.set("respin_samples_waiting", waiting, unet)
        self._meter.publish()

    def _answer_message(self, parameters: Mapping[str, str]) -> bytes:
        """Whether the job that a message speaks of is at work; if told so, it is made to stop."""
        with self._lock:
            job = self._jobs.get(parameters.get("cancel") or parameters["alive"])
        if job is None:
            return UNKNOWN
        if "cancel" in parameters:
            job.stop("caller", "the caller cancelled or went away")
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
