"""The engine: the model `rotate_object_stream`, whose process runs all jobs."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import triton_python_backend_utils as pb_utils

from respin.contracts import ROTATE_OBJECT_STREAM
from respin.contracts.networks import UNETS, ZERO123_UNET
from respin.errors import Busy, InternalError
from respin.limits import EngineLimits
from respin.model_set import ModelSet
from respin.request import PRIORITIES, RotationRequest
from respin.runtimes import LOADING, InProcess
from respin.specs import Array
from respin_ensemble.batching.batchers import StepBatchers
from respin_ensemble.batching.step_batcher import Capacity
from respin_ensemble.imaging.codec import count_pixels
from respin_ensemble.networks import Networks
from respin_ensemble.networks.in_process import Source, load_networks
from respin_ensemble.pipeline.context import Caches, JobContext
from respin_ensemble.pipeline.events import JobEvent
from respin_ensemble.pipeline.rotate_object import find_cached, rotate_object
from respin_ensemble.serving.admission import Admission, Candidate, Reservation
from respin_ensemble.serving.cancellation_poller import CancellationPoller
from respin_ensemble.serving.drain import Drain
from respin_ensemble.serving.engine_call import RUNNING, UNKNOWN
from respin_ensemble.serving.forecast import CostModel, TimedNetworks, Work
from respin_ensemble.serving.heartbeat import Heartbeat
from respin_ensemble.serving.internal_parameters import ALIVE, CANCEL, SEPARATOR
from respin_ensemble.serving.job import Job
from respin_ensemble.serving.job_size import job_size
from respin_ensemble.serving.memory import MemoryTrimmer
from respin_ensemble.serving.metrics import TritonMeter
from respin_ensemble.serving.processes import close_inherited_sockets
from respin_ensemble.serving.replies import (
    error_for_caller,
    error_response,
    read_inputs,
    read_parameters,
    tensors,
)
from respin_ensemble.serving.response_sender import ResponseSender
from respin_ensemble.serving.tensor_guard import guard_tensors
from respin_ensemble.stages.novel_view import CameraProjection
from respin_ensemble.stages.tokenization import check_class_name

SWITCH_S = 0.001
"""How long a thread may hold the GIL while others wait, seconds: the step batchers must not wait for image encoding."""

PUBLISH_S = 0.5
"""Time between two updates of the metrics, seconds."""


class Engine:
    """Answers each request with a stream: progress, results as they become available, and the final response."""

    def initialize(self, args: Mapping[str, str]) -> None:
        """Load the networks and start the threads."""
        guard_tensors()
        close_inherited_sockets()
        sys.setswitchinterval(SWITCH_S)
        version = Path(args["model_repository"]) / args["model_version"]
        given = json.loads(args["model_config"])["parameters"]
        parameters = {name: value["string_value"] for name, value in given.items()}
        limits = EngineLimits.from_parameters(parameters)
        model_set = ModelSet.load(version)
        costs = CostModel()
        self._meter = TritonMeter()
        loaded, most = _networks(parameters, version, model_set, limits, self._meter)
        networks = TimedNetworks(loaded, costs)
        capacity = Capacity(limits.started_samples, limits.waiting_samples)
        self._batchers = StepBatchers(networks, capacity=capacity, meter=self._meter, most=most)
        self._admission = Admission(limits, costs, self._batchers[ZERO123_UNET], self._meter)
        self._workers = ThreadPoolExecutor(limits.workers, thread_name_prefix="job")
        # Each running job has one background: with as many threads as workers, none waits for another job's.
        self._backgrounds = ThreadPoolExecutor(limits.workers, thread_name_prefix="background")
        self._context = JobContext(
            networks,
            self._batchers,
            self._backgrounds,
            CameraProjection(networks),
            Caches(limits.cache_mib * 2**20, self._meter),
            self._meter,
            notes=model_set.notes,
        )
        self._memory = MemoryTrimmer()
        self._jobs: dict[str, Job] = {}
        self._lock = threading.Lock()
        self._closing = False
        self._drain = Drain()
        self._heartbeat = Heartbeat()
        self._published_s = 0.0
        # Whether the metrics of an idle engine were published since its last request.
        self._published = False
        self._poller = CancellationPoller("poll callers", self._polls)

    def execute(self, requests: Sequence[pb_utils.InferenceRequest]) -> None:
        """Accept requests and return at once; responses follow through their response senders."""
        for request in requests:
            sender = ResponseSender(request.get_response_sender())
            try:
                self._accept(request, sender)
            except Exception as error:  # a failure for one caller must not fail the requests beside it
                sender.send_final(error_response(error_for_caller(error), streamed=True))

    def finalize(self) -> None:
        """Stop all jobs, whose callers may send them again, and wait for them."""
        with self._lock:
            self._closing = True
            jobs = list(self._jobs.values())
        for job in jobs:
            job.cancel("server", "the server is stopping")
        self._workers.shutdown()
        self._backgrounds.shutdown()
        self._poller.close()
        self._batchers.close()
        self._meter.close()

    def _accept(self, request: pb_utils.InferenceRequest, sender: ResponseSender) -> None:
        self._published = False
        parameters = read_parameters(request, ROTATE_OBJECT_STREAM)
        if CANCEL in parameters or ALIVE in parameters:
            # It carries data: an empty final response would hang the BLS caller (Triton 2.51).
            answer = {"stage": self._answer_message(parameters)}
            sender.send_final(pb_utils.InferenceResponse(tensors(ROTATE_OBJECT_STREAM, answer)))
            return
        job = Job(request, sender, parameters)
        try:
            self._admit(job, read_inputs(request, RotationRequest.check_shapes))
        except Exception as error:  # even a bug during admission must reach the caller as a response
            rejection = error_for_caller(error)
            self._meter.add("respin_jobs_ended_total", rejection.grpc_code)
            job.fail(rejection)

    def _admit(self, job: Job, arrays: dict[str, Array]) -> None:
        """Reject what can be rejected cheaply, before it occupies a worker."""
        request = RotationRequest.from_arrays(arrays)
        check_class_name(request.class_name)
        pixels = count_pixels(request.image)
        candidate = Candidate(
            request,
            job_size(request, pixels, job.wanted, self._context.networks.sizes, collected=job.is_collected),
            Work.from_request(request, pixels),
            partial(find_cached, self._context.caches, request),
            job.deadline_s,
        )
        with self._lock:
            if self._closing or self._drain.requested:
                raise Busy("the server is stopping; send the request again")
            if job.name in self._jobs:
                raise InternalError("two jobs within the server have the same name")
            reservation = self._admission.admit(candidate)
            self._jobs[job.name] = job
            future = self._workers.submit(self._run, job, request, reservation)
        job.call_when_cancelled(partial(self._stop, job, reservation, future))
        self._poller.wake()

    def _stop(self, job: Job, reservation: Reservation, future: Future[None]) -> None:
        """Answer a cancelled job and free its slot at once; its thread returns after the network call in progress."""
        self._admission.stop(reservation, late=job.cancelled_by == "deadline")
        if future.cancel():
            self._end(job, reservation, job.fail_cancelled())
        else:
            job.fail_cancelled()

    def _run(self, job: Job, request: RotationRequest, reservation: Reservation) -> None:
        status = "OK"
        try:
            # The caller may have disconnected while the job waited for a worker.
            job.poll()
            job.cancellation.check()
            context = replace(self._context, priority=PRIORITIES[request.priority]).with_cancellation(job.cancellation)
            rotate_object(context, request, partial(self._report, job, reservation))
            job.finish()
        except Exception as error:  # a bug becomes a logged reference for the caller, and the engine keeps serving
            failure = error_for_caller(error)
            status = failure.grpc_code
            job.fail(failure)
        finally:
            self._end(job, reservation, status)

    def _report(self, job: Job, reservation: Reservation, event: JobEvent) -> None:
        self._admission.observe(reservation, event)
        job.report(event)

    def _end(self, job: Job, reservation: Reservation, status: str) -> None:
        with self._lock:
            del self._jobs[job.name]
        job.end()
        self._memory.job_ended()
        self._admission.release(reservation, answered=status == "OK")
        self._meter.add("respin_jobs_ended_total", status)
        if job.cancelled_by is not None and status == "CANCELLED":
            self._meter.add("respin_cancellations_total", job.cancelled_by)
        self._published = False

    def _polls(self) -> list[Callable[[], None]]:
        """Return what the poller calls next: a poll of each job, and every half second an update of the metrics."""
        with self._lock:
            polls: list[Callable[[], None]] = [job.poll for job in self._jobs.values()]
            idle = not polls
            self._drain.poll(jobs=len(polls))
        self._heartbeat.beat()
        if (polls or not self._published) and time.monotonic() - self._published_s > PUBLISH_S:
            self._published_s = time.monotonic()
            self._published = not polls
            polls.append(self._publish)
            polls.append(partial(self._memory.poll, idle=idle))
        return polls

    def _publish(self) -> None:
        jobs, memory_bytes = self._admission.load
        self._meter.set("respin_jobs", jobs)
        self._meter.set("respin_job_memory_bytes", memory_bytes)
        for unet, (started, waiting) in self._batchers.count_samples().items():
            self._meter.set("respin_samples_started", started, unet)
            self._meter.set("respin_samples_waiting", waiting, unet)
        self._meter.publish()

    def _answer_message(self, parameters: Mapping[str, str]) -> bytes:
        """Answer a message: cancel the jobs or not, and return whether any is running."""
        names = (parameters.get(CANCEL) or parameters.get(ALIVE, "")).split(SEPARATOR)
        with self._lock:
            jobs = [self._jobs[name] for name in names if name in self._jobs]
        if CANCEL in parameters:
            for job in jobs:
                job.cancel("caller", "the caller cancelled or disconnected")
        return RUNNING if jobs else UNKNOWN


def _networks(
    parameters: Mapping[str, str], version: Path, model_set: ModelSet, limits: EngineLimits, meter: TritonMeter
) -> tuple[Networks, dict[str, int]]:
    """Return the networks of the profile, models of this server or loaded into this process, and the UNets' batches."""
    most = dict.fromkeys(UNETS, limits.unet_batch)
    if parameters["networks"] == "triton":
        from respin_ensemble.networks.triton import TritonNetworks  # noqa: PLC0415

        return TritonNetworks(model_set.sizes), most
    source = Source(version, model_set, InProcess.from_parameters(parameters), limits.unet_batch)
    try:
        loaded = load_networks(
            source,
            lambda step: pb_utils.Logger.log_info(f"{LOADING}{step}"),
            meter,
            lambda line: pb_utils.Logger.log_info(f"memory: {line}"),
        )
    except BaseException:
        # An engine that does not start is never finalized.
        meter.close()
        raise
    return loaded.networks, {**most, **loaded.useful_batch}
