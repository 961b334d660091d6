"""Hurt a real `respin serve` in every way that docs/reliability.md lists, and write what was seen: `make chaos`.

On the loopback interface, a server of its own for each row, some minutes in all. It is beside the tests because it
shares their server and their attacks; it asserts nothing, the tests of the same folder do.
"""

from __future__ import annotations

import argparse
import os
import signal
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import attacks
import psutil
from serve_command import ENGINE, PROXY, ServeCommand, serve_command

from respin.bundled import bundled_path
from respin.errors import RespinError
from respin.report.circumstances import cpu_in_words, today
from respin.report.markdown import check_section, table, write_section
from respin.request import RotationRequest
from respin_client import Client

SECTION = "chaos"
TITLES = (
    "what is done",
    "profile",
    "a stream, a unary call, no retries",
    "known after, s",
    "the same call with retries",
    "answers again after, s",
    "left behind",
)
READY_WITHIN_S, CALL_S, STEPS = 120.0, 250.0, 30
FROZEN_S = 3.0
STOPPED = "stopped"
PATIENT = ("--exit-timeout-s", "120")
"""On a busy machine the jobs in flight may take longer than half a minute."""


@dataclass(frozen=True)
class Blow:
    """One row.

    Args:
        title: what is done, for the table.
        strike: does it to a running server.
        profile: profile of the server.
        arguments: further arguments of `respin serve`.
    """

    title: str
    strike: Callable[[ServeCommand], None]
    profile: str = "cpu"
    arguments: tuple[str, ...] = ()


def freeze(command: ServeCommand) -> None:
    command.kill(ENGINE, signal.SIGSTOP)
    time.sleep(FROZEN_S)
    command.kill(ENGINE, signal.SIGCONT)


def five_deaths(command: ServeCommand) -> None:
    for times in range(1, 6):
        command.kill(ENGINE)
        command.await_line("ready again", times)


def on_grpc(attack: Callable[[str], None]) -> Callable[[ServeCommand], None]:
    return lambda command: attack(command.url)


def on_http(title: str, attack: Callable[[str], None]) -> Blow:
    return Blow(
        f"{title}, where `--http-port` was given",
        lambda each: attack(each.facts["HTTP"]),
        arguments=("--http-port", "0"),
    )


BLOWS = (
    Blow("`kill -9` of tritonserver", lambda each: each.triton().kill()),
    Blow("`kill -9` of the engine", lambda each: each.kill(ENGINE)),
    Blow("the same", lambda each: each.kill(ENGINE), profile="local"),
    Blow("five times in a row", five_deaths),
    Blow("`kill -9` of the unary proxy", lambda each: each.kill(PROXY)),
    Blow("`kill -9` of a network, `zero123_unet`", lambda each: each.kill("zero123_unet")),
    Blow(f"the engine stopped for {FROZEN_S:g} s (SIGSTOP, SIGCONT)", freeze),
    Blow("one request: `classification` of a BYTES output", on_grpc(attacks.classification_of_bytes)),
    Blow("two requests on a stream with `triton_grpc_error`, one refused", on_grpc(attacks.two_requests_on_a_stream)),
    Blow(
        "refused streams with `triton_grpc_error`, of eight users for a minute or until it crashes",
        on_grpc(attacks.refused_streams_with_the_header),
    ),
    on_http("HTTP body of 120,000 brackets", attacks.nested_brackets),
    on_http("HTTP FP32 of shape 2^62", attacks.shape_of_2_to_the_62),
    on_http("HTTP body of 1.5 million chunks of a byte", attacks.many_small_chunks),
    Blow("SIGTERM of `respin serve`", lambda each: each.process.terminate(), arguments=PATIENT),
    Blow("the same", lambda each: each.process.terminate(), profile="local", arguments=PATIENT),
    Blow(
        "Ctrl-C, with `--exit-timeout-s 0`",
        lambda each: each.process.send_signal(2),
        arguments=("--exit-timeout-s", "0"),
    ),
    Blow("`kill -9` of `respin serve`", lambda each: each.process.kill()),
)


class Seen:
    """How calls ended.

    Args:
        pool: runs them.
    """

    def __init__(self, pool: ThreadPoolExecutor) -> None:
        self._pool = pool

    def begin(self, call: Callable[[], object]) -> Future[tuple[str, float]]:
        return self._pool.submit(self._outcome, call)

    @staticmethod
    def _outcome(call: Callable[[], object]) -> tuple[str, float]:
        try:
            call()
        except RespinError as error:
            return error.grpc_code, time.monotonic()
        return "answered", time.monotonic()


def request(steps: int = STEPS) -> RotationRequest:
    coffee = (bundled_path("examples") / "coffee.png").read_bytes()
    return RotationRequest(
        image=coffee,
        class_name="coffee cup",
        box=(165.0, 12.0, 428.0, 312.0),
        azimuth=(80.0,),
        steps=steps,
        background_steps=2,
    )


def row(blow: Blow) -> list[str]:
    """Strike a server under load, and return the row of the table."""
    with (
        tempfile.TemporaryDirectory() as folder,
        ThreadPoolExecutor(4) as pool,
        serve_command(blow.profile, Path(folder), "--limit", "cache_mib=0", *blow.arguments) as command,
        Client(command.url, retries=0, timeout_s=CALL_S) as once,
        Client(command.url, timeout_s=CALL_S) as retrying,
    ):
        threads = command.triton().num_threads()
        stream = once.stream(request())
        next(event for event in stream if event.step > 3)
        seen = Seen(pool)
        calls = [seen.begin(lambda: list(stream)), seen.begin(lambda: once.rotate_object(request()))]
        retried = seen.begin(lambda: retrying.rotate_object(request()))
        time.sleep(0.5)  # the unary calls have reached the engine, or are on their way
        began_s = time.monotonic()
        blow.strike(command)
        ends = [call.result() for call in calls]
        failed_s = [end_s - began_s for code, end_s in ends if code != "answered"]
        back = ready_after(command, once, began_s)
        again = retried.result()[0]
        if back == STOPPED:
            command.process.wait(60)
        left = what_is_left(command, threads, Path(folder))
        cells = [
            blow.title,
            blow.profile,
            ", ".join(code for code, _ in ends),
            f"{max(failed_s):.1f}" if failed_s else "-",
            again,
            back,
            left,
        ]
    return cells


def ready_after(command: ServeCommand, client: Client, began_s: float) -> str:
    """Return when a small job is answered again, or that the server has stopped for good."""
    while time.monotonic() - began_s < READY_WITHIN_S:
        if command.process.poll() is not None or command.count("stopping"):
            return STOPPED
        try:
            client.segment_object(request())
        except RespinError:
            time.sleep(0.1)
        else:
            return f"{time.monotonic() - began_s:.1f}"
    return f"not within {READY_WITHIN_S:g}"


def what_is_left(command: ServeCommand, threads: int, temporary: Path) -> str:
    """Return what a death has left: zombies, regions and folders that no process has, more threads than before."""
    time.sleep(1)  # what is killed with its launcher ends in its own time
    regions = list(Path("/dev/shm").glob(f"respin_{command.process.pid}_*"))
    if command.process.poll() is not None:
        folders = list(temporary.glob("respin_*"))
        stray = [each for each in psutil.process_iter() if _belongs_to(each, temporary)]
        found = {"regions": len(regions), "folders": len(folders), "processes": len(stray)}
    else:
        triton = command.triton()
        stubs = triton.children()
        zombies = sum(each.status() == psutil.STATUS_ZOMBIE for each in stubs)
        # gRPC keeps a few threads for a while.
        grown = max(0, triton.num_threads() - threads - 8)
        found = {"zombies": zombies, "regions": len(regions) - len(stubs) + zombies, "threads": grown}
    return ", ".join(f"{count} {name}" for name, count in found.items() if count) or "nothing"


def _belongs_to(process: psutil.Process, temporary: Path) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE and str(temporary) in " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return False


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--page", type=Path, help="page whose section 'chaos' is written; default: print only")
    parser.add_argument("--only", default="", help="rows whose title contains this")
    options = parser.parse_args(arguments)
    if options.page:
        check_section(options.page, SECTION)
    chosen = [blow for blow in BLOWS if options.only in blow.title]
    rows = []
    for blow in chosen:
        rows.append(row(blow))
        print(" | ".join(rows[-1]), flush=True)
    load = os.getloadavg()[1]
    note = f"{cpu_in_words()}, {today()}, mini set; other programs were running (load average {load:.0f})."
    if options.page:
        write_section(options.page, SECTION, "\n".join([note, "", *table(TITLES, rows), ""]))


if __name__ == "__main__":
    main()
