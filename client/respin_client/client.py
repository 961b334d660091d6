"""The client: send a request, receive a result; every call has a deadline."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from functools import partial
from types import TracebackType

from respin.contracts import JOBS, ROTATE_OBJECT, ROTATE_OBJECT_STREAM, SEGMENT_OBJECT
from respin.errors import ContractMismatch, InvalidInput
from respin.request import RotationRequest
from respin.specs import Array, ModelSpec
from respin_client.results import PROGRESS, RotationEvent, RotationResult, SegmentationResult
from respin_client.retries import FIRST_CONTACT_RETRIES, MAX_RETRIES, retry, retry_stream
from respin_client.transport import TLS, GrpcTransport, Transport
from respin_client.wire import Interface, Tensor

DEFAULT_URL = "127.0.0.1:8001"
DEFAULT_TIMEOUT_S = 120.0

MAX_TIMEOUT_S = 1e6
"""Longest deadline, some eleven days; gRPC takes one of 300 years for one that has passed."""

_READY_TIMEOUT_S = 5.0


class Client:
    """A connection to a Respin server, closed at the end of its `with`. Several threads may use it at once.

    Nothing is sent before the first call; that one compares the server's tensors with `respin.contracts` first.

    Args:
        url: host:port of the server's gRPC port.
        timeout_s: default deadline of a call, seconds.
        retries: number of further attempts while the server is full, restarts, or cannot be reached, 0..6.
        tls: None = no encryption; `TLS()` trusts the authorities that gRPC comes with.
        headers: sent with every call, e.g. {"authorization": "Bearer ..."}.
        transport: sends the calls; None = gRPC. Another transport ignores `url`, `tls` and `headers`.

    Raises:
        InvalidInput: an argument is not allowed.
    """

    def __init__(
        self,
        url: str = DEFAULT_URL,
        *,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        retries: int = MAX_RETRIES,
        tls: TLS | None = None,
        headers: Mapping[str, str] | None = None,
        transport: Transport | None = None,
    ) -> None:
        self._timeout_s = _deadline(timeout_s)
        if not 0 <= retries <= MAX_RETRIES:
            raise InvalidInput(f"retries is {retries}; send 0 to {MAX_RETRIES}")
        self._retries = retries
        self._transport = transport or GrpcTransport(url, tls=tls, headers=headers)
        self._url = url
        self._compared = False
        self._comparing = threading.Lock()

    def __enter__(self) -> Client:
        """Return the client itself; nothing is sent yet."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connection."""
        self.close()

    def close(self) -> None:
        """Close the connection; calls in flight are cancelled, here and on the server."""
        self._transport.close()

    def is_ready(self) -> bool:
        """Return whether a server answers and takes every job now."""
        return all(self._transport.ready(name, _READY_TIMEOUT_S) for name in JOBS)

    def check_server(self) -> None:
        """Compare the server's tensors with `respin.contracts`, as the first call does.

        Raises:
            RespinError: as `rotate_object`: the server cannot be reached, or is of another version.
        """
        self._compare_contracts(min(self._timeout_s, _READY_TIMEOUT_S))

    def rotate_object(
        self, request: RotationRequest, *, outputs: Sequence[str] = ("image",), timeout_s: float | None = None
    ) -> RotationResult:
        """Turn the object, and wait for every view.

        Args:
            request: photo, object and angles; no angles = segmentation only.
            outputs: fields of the result to fill; the server does not compute the others.
            timeout_s: deadline in seconds; None = the client's own.

        Raises:
            InvalidInput: the request is not valid.
            ObjectNotFound: the photo does not show the object.
            Busy: no server answers, or the server is at a limit.
            DeadlineExceeded: the answer did not come in time; the server stops the work.
            ContractMismatch: server and client are of different versions.
            InternalError: the server failed.
        """
        return RotationResult.from_arrays(self._infer(ROTATE_OBJECT, request, outputs, timeout_s))

    def segment_object(
        self, request: RotationRequest, *, outputs: Sequence[str] = ("mask", "cut_out"), timeout_s: float | None = None
    ) -> SegmentationResult:
        """Find the object and cut it out; angles of the request are ignored.

        Args:
            request: photo and object.
            outputs: fields of the result to fill.
            timeout_s: deadline in seconds; None = the client's own.

        Raises:
            RespinError: as `rotate_object`.
        """
        return SegmentationResult.from_arrays(self._infer(SEGMENT_OBJECT, request, outputs, timeout_s))

    def stream(
        self, request: RotationRequest, *, outputs: Sequence[str] = ("image",), timeout_s: float | None = None
    ) -> Generator[RotationEvent, None, None]:
        """Turn the object, and yield an event for every step and view.

        The call begins with the first `next`. Closing the generator, or the end of the client's `with`, cancels it on
        the server. If the server restarts, the job is sent again: progress begins anew, outputs
        that have arrived are not repeated.

        Args:
            request: photo, object and angles; no angles = segmentation only.
            outputs: fields of the events to fill, beside stage, view, step and steps.
            timeout_s: deadline of the whole in seconds; None = the client's own.

        Raises:
            RespinError: as `rotate_object`; also while iterating.
        """
        spec = ROTATE_OBJECT_STREAM
        wanted = (*PROGRESS, *_known(spec, outputs, hidden=(*PROGRESS, "status")))
        timeout_s = self._timeout_s if timeout_s is None else _deadline(timeout_s)
        self._compare_contracts(timeout_s)
        return self._events(_inputs(spec, request), wanted, timeout_s)

    def _events(
        self, inputs: Mapping[str, Array], outputs: Sequence[str], timeout_s: float
    ) -> Generator[RotationEvent, None, None]:
        def attempt(left_s: float) -> Generator[Mapping[str, Array], None, None]:
            return self._transport.stream(ROTATE_OBJECT_STREAM.name, inputs, outputs, left_s)

        arrived: set[tuple[str, int]] = set()
        with closing(retry_stream(attempt, self._retries, timeout_s)) as responses:
            for response in responses:
                yield RotationEvent.from_arrays(_unseen(_checked(ROTATE_OBJECT_STREAM, response), arrived))

    def _infer(
        self, spec: ModelSpec, request: RotationRequest, outputs: Sequence[str], timeout_s: float | None
    ) -> Mapping[str, Array]:
        wanted = _known(spec, outputs)
        timeout_s = self._timeout_s if timeout_s is None else _deadline(timeout_s)
        self._compare_contracts(timeout_s)
        inputs = _inputs(spec, request)
        attempt = partial(self._transport.infer, spec.name, inputs, wanted)
        return _checked(spec, retry(attempt, self._retries, timeout_s))

    def _compare_contracts(self, timeout_s: float) -> None:
        """Compare the server's tensors with the contracts, once."""
        with self._comparing:
            if self._compared:
                return
            for spec in JOBS.values():
                retries = min(self._retries, FIRST_CONTACT_RETRIES)
                served = retry(partial(self._transport.metadata, spec.name), retries, timeout_s)
                if parting := next(_differences(Interface.of_contract(spec), served), None):
                    raise ContractMismatch(
                        f"the server at {self._url} is of another version: {spec.name} has {parting}; "
                        "install the same version of Respin on both sides"
                    )
            self._compared = True


def _deadline(timeout_s: float) -> float:
    if not 0 < timeout_s <= MAX_TIMEOUT_S:
        raise InvalidInput(f"timeout_s is {timeout_s}; send a number of seconds above 0, at most {MAX_TIMEOUT_S:.0f}")
    return timeout_s


def _known(spec: ModelSpec, outputs: Sequence[str], hidden: Sequence[str] = ()) -> tuple[str, ...]:
    names = [output.name for output in spec.outputs if output.name not in hidden]
    if not outputs or not set(outputs) <= set(names):
        raise InvalidInput(f"outputs is {outputs!r}; {spec.name} makes {', '.join(names)}: name one or more of them")
    return tuple(outputs)


def _inputs(spec: ModelSpec, request: RotationRequest) -> dict[str, Array]:
    """Return the tensors of a job's request; an empty list is left out."""
    taken = {tensor.name for tensor in spec.inputs}
    return {name: array for name, array in request.to_arrays().items() if name in taken and array.size}


def _checked(spec: ModelSpec, response: Mapping[str, Array]) -> Mapping[str, Array]:
    known = {tensor.name: tensor for tensor in spec.outputs}
    for name, array in response.items():
        known[name].check(array, batched=False, owner=f"the server's {spec.name}")
    return response


def _unseen(response: Mapping[str, Array], arrived: set[tuple[str, int]]) -> Mapping[str, Array]:
    """Leave out outputs of a view that have arrived, from a job that was sent again; add the others to `arrived`."""
    view = int(response["view"][0]) if "view" in response else 0
    unseen = {name: array for name, array in response.items() if name in PROGRESS or (name, view) not in arrived}
    arrived |= {(name, view) for name in unseen}
    return unseen


def _differences(ours: Interface, theirs: Interface) -> Iterator[str]:
    for kind, here, there in (("input", ours.inputs, theirs.inputs), ("output", ours.outputs, theirs.outputs)):
        for name in sorted({*here, *there}):
            if here.get(name) != there.get(name):
                yield f"{kind} '{name}' as {_words(there.get(name))} there and as {_words(here.get(name))} here"


def _words(tensor: Tensor | None) -> str:
    return "nothing" if tensor is None else f"{tensor[0]} {list(tensor[1])}"
