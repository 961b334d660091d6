"""What the supervisor notices of stubs: on a server of wood, and on the real one."""

import itertools
import os
import signal

import pytest

from respin.errors import Busy
from respin_server.stubs import Instance, living_instances
from respin_server.supervisor import FULL_S, HUNG_S, Supervisor

ENGINE = "rotate_object_stream"
POLLS_UNTIL_HUNG, POLLS_UNTIL_FULL = round(HUNG_S / 0.3), round(FULL_S / 0.3)

SAM, EDSR = Instance("sam", "sam_0_0"), Instance("edsr", "edsr_0_0")


class WoodenServer:
    """Two models of one instance each; a test kills stubs by taking them out of `living`."""

    models = ("edsr", "sam")

    def __init__(self):
        self.running = True
        self.living = {SAM, EDSR}
        self.ready = {"sam", "edsr"}
        self.stopped = set()
        self.beats = itertools.count()
        self.held = 100.0

    def heartbeat(self):
        return next(self.beats)

    def held_mib(self):
        return self.held

    def is_running(self):
        return self.running

    def living_instances(self):
        return set(self.living)

    def stopped_instances(self):
        return set(self.stopped)

    def model_is_ready(self, model):
        return model in self.ready


@pytest.fixture
def server():
    return WoodenServer()


@pytest.fixture
def events():
    return []


@pytest.fixture
def supervisor(server, events):
    return Supervisor(server, events.append)


def kinds(events):
    return [event.kind for event in events]


def look(supervisor, *, times):
    return [supervisor.poll() for _ in range(times)]


def test_a_dead_stub_is_reported_and_needs_a_restart(server, supervisor, events):
    look(supervisor, times=2)
    server.living.discard(SAM)
    assert look(supervisor, times=2) == [True, False]
    assert kinds(events) == ["stub_died"]
    assert events[0].needs_restart
    assert "'sam'" in events[0].message


def test_a_stub_that_died_before_the_first_look_is_missed_too(server, supervisor, events):
    server.living.discard(EDSR)
    look(supervisor, times=2)
    assert kinds(events) == ["stub_died"]


def test_one_dead_instance_of_several_is_enough(server, supervisor, events):
    server.living |= {Instance("sam", "sam_0_1")}
    look(supervisor, times=1)
    server.living.discard(SAM)
    look(supervisor, times=2)
    assert kinds(events) == ["stub_died"]


def test_a_stub_that_is_missing_for_one_look_is_being_replaced(server, supervisor, events):
    look(supervisor, times=1)
    server.living.discard(SAM)
    look(supervisor, times=1)
    server.living.add(SAM)
    assert look(supervisor, times=2) == [True, True]
    assert events == []


def test_a_model_that_an_operator_unloads_is_left_alone(server, supervisor, events):
    look(supervisor, times=1)
    server.living.discard(SAM)
    server.ready.discard("sam")
    assert all(look(supervisor, times=4))
    assert events == []


def test_a_model_that_an_operator_loads_with_other_instances_is_watched_again(server, supervisor, events):
    look(supervisor, times=1)
    server.living.discard(SAM)
    server.ready.discard("sam")
    look(supervisor, times=3)
    server.living.add(Instance("sam", "sam_0_1"))
    server.ready.add("sam")
    look(supervisor, times=3)
    assert events == []
    server.living.discard(Instance("sam", "sam_0_1"))
    look(supervisor, times=2)
    assert kinds(events) == ["stub_died"]


def test_a_stopped_stub_is_reported_and_left_alone(server, supervisor, events):
    look(supervisor, times=1)
    server.stopped = {SAM}
    look(supervisor, times=9)
    server.stopped = set()
    look(supervisor, times=2)
    assert kinds(events) == ["stopped", "continued"]
    assert "kill -CONT" in events[0].message


@pytest.mark.parametrize(("most_mib", "reported"), [(99, ["full"]), (100, []), (0, [])])
def test_a_server_that_holds_more_memory_than_its_limit_is_reported(server, events, most_mib, reported):
    look(Supervisor(server, events.append, most_mib=most_mib), times=POLLS_UNTIL_FULL)
    assert kinds(events) == reported
    assert all(event.needs_restart and event.works for event in events)
    assert all("holds 100 MiB; the limit is 99" in event.message for event in events)


def test_a_server_that_has_just_started_is_not_reported_for_its_memory(server, events):
    assert all(look(Supervisor(server, events.append, most_mib=1), times=POLLS_UNTIL_FULL - 1))
    assert events == []


@pytest.fixture
def silent(server):
    """An engine without a sign of life."""
    server.ready.add(ENGINE)
    server.beats = itertools.repeat(7)
    return server


def test_an_engine_that_gives_no_sign_of_life_for_long_is_hung(silent, supervisor, events):
    look(supervisor, times=POLLS_UNTIL_HUNG)
    assert events == []
    silent.beats = itertools.chain([8], itertools.repeat(9))
    look(supervisor, times=POLLS_UNTIL_HUNG)
    assert events == []
    assert look(supervisor, times=2) == [True, False]
    assert kinds(events) == ["hung"]
    assert events[0].needs_restart


def test_an_engine_that_is_stopped_or_not_ready_or_shows_nothing_is_not_hung(silent, supervisor, events):
    silent.stopped = {Instance(ENGINE, f"{ENGINE}_0_0")}
    look(supervisor, times=2 * POLLS_UNTIL_HUNG)
    silent.stopped = set()
    look(supervisor, times=POLLS_UNTIL_HUNG - 1)
    silent.ready.discard(ENGINE)
    look(supervisor, times=POLLS_UNTIL_HUNG)
    silent.ready.add(ENGINE)
    silent.beats = itertools.repeat(None)
    look(supervisor, times=2 * POLLS_UNTIL_HUNG)
    assert kinds(events) == ["stopped", "continued"]


def test_the_servers_own_death_is_reported_once(server, supervisor, events):
    look(supervisor, times=1)
    server.running = False
    assert not supervisor.poll()
    assert kinds(events) == ["server_died"]
    assert events[0].needs_restart


def test_a_server_that_does_not_answer_is_asked_again(server, supervisor, events):
    look(supervisor, times=1)
    server.living.discard(SAM)
    answers = iter([Busy("no answer"), None])
    ready = server.model_is_ready

    def sometimes(model):
        if error := next(answers):
            raise error
        return ready(model)

    server.model_is_ready = sometimes
    assert all(look(supervisor, times=2))
    assert not supervisor.poll()
    assert kinds(events) == ["stub_died"]


@pytest.fixture
def echo_server(tmp_path, add_model, embedded):
    add_model(tmp_path, "echo")
    return embedded(tmp_path)


@pytest.mark.triton
@pytest.mark.parametrize("victim", ["stub", "server"])
def test_a_death_on_the_real_server_is_noticed_and_a_reload_is_not_taken_for_one(
    echo_server, reload, eventually, victim
):
    events = []
    with echo_server as server, Supervisor(server, events.append, period_s=0.05):
        reload(server, "echo")
        assert events == []
        (stub,) = living_instances(server.pid).values()
        os.kill(stub if victim == "stub" else server.pid, signal.SIGKILL)
        eventually(lambda: kinds(events) == [f"{victim}_died"], "the death is noticed")
