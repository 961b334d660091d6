"""What the supervisor does about dead stubs: on a server of wood, and on the real one."""

import os
import signal

import pytest

from respin.errors import Busy, InternalError
from respin_server.stubs import Instance, living_instances
from respin_server.supervisor import Supervisor

SAM, EDSR = Instance("sam", "sam_0_0"), Instance("edsr", "edsr_0_0")


class WoodenServer:
    """Two models of one instance each; a test kills stubs by taking them out of `living`."""

    models = ("edsr", "sam")

    def __init__(self):
        self.running = True
        self.living = {SAM, EDSR}
        self.ready = {"sam", "edsr"}
        self.stopped = set()
        self.reloads = []
        self.failure = None

    def is_running(self):
        return self.running

    def living_instances(self):
        return set(self.living)

    def stopped_instances(self):
        return set(self.stopped)

    def model_is_ready(self, model):
        return model in self.ready

    def reload_model(self, model):
        self.reloads.append(model)
        if self.failure:
            self.ready.discard(model)  # as Triton does: a reload begins with an unload
            raise self.failure
        self.ready.add(model)
        self.living |= {SAM if model == "sam" else EDSR}


@pytest.fixture
def server():
    return WoodenServer()


@pytest.fixture
def events():
    return []


@pytest.fixture
def supervisor(server, events):
    return Supervisor(server, events.append, attempts=3, backoff_s=1.0)


def kinds(events):
    return [event.kind for event in events]


def look(supervisor, *, times, at_s=0.0):
    for _ in range(times):
        supervisor.poll(at_s)


def test_a_dead_stubs_model_is_reloaded_once(server, supervisor, events):
    look(supervisor, times=2)
    server.living.discard(SAM)
    look(supervisor, times=5)
    assert server.reloads == ["sam"]
    assert kinds(events) == ["stub_died", "reloaded"]


def test_a_stub_that_died_before_the_first_look_is_missed_too(server, supervisor):
    server.living.discard(EDSR)
    look(supervisor, times=2)
    assert server.reloads == ["edsr"]


def test_one_dead_instance_of_several_is_enough(server, supervisor):
    server.living |= {Instance("sam", "sam_0_1")}
    look(supervisor, times=1)
    server.living.discard(SAM)
    look(supervisor, times=2)
    assert server.reloads == ["sam"]


def test_a_stub_that_is_missing_for_one_look_is_being_replaced(server, supervisor, events):
    look(supervisor, times=1)
    server.living.discard(SAM)
    look(supervisor, times=1)
    server.living.add(SAM)
    look(supervisor, times=2)
    assert server.reloads == []
    assert events == []


def test_a_model_that_an_operator_unloads_is_left_alone(server, supervisor, events):
    look(supervisor, times=1)
    server.living.discard(SAM)
    server.ready.discard("sam")
    look(supervisor, times=4)
    assert server.reloads == []
    assert events == []


def test_failed_reloads_are_repeated_ever_later_and_given_up_loudly(server, supervisor, events):
    look(supervisor, times=1)
    server.living.discard(SAM)
    server.failure = InternalError("load of model 'sam' failed: no such file")
    tried_at_s = []
    for tenth_s in range(200):
        before = len(server.reloads)
        supervisor.poll(tenth_s / 10)
        if len(server.reloads) > before:
            tried_at_s.append(tenth_s / 10)
    assert tried_at_s == [0.1, 1.1, 3.1]
    assert kinds(events) == ["stub_died", *["reload_failed"] * 3, "gave_up"]
    assert events[-1].is_final
    assert "no such file" in events[-1].message


def test_failures_are_counted_in_a_row(server, supervisor, events):
    look(supervisor, times=1)
    for second in (0, 10, 20, 30):
        server.living.discard(SAM)
        server.failure = InternalError("not yet")
        look(supervisor, times=2, at_s=second)
        server.failure = None
        look(supervisor, times=2, at_s=second + 5)
    assert kinds(events) == ["stub_died", "reload_failed", "reloaded"] * 4


def test_one_model_that_stays_down_does_not_keep_another_from_its_reload(server, supervisor):
    look(supervisor, times=1)
    server.living.discard(SAM)
    server.failure = InternalError("broken")
    for second in range(20):
        supervisor.poll(float(second))
    server.failure = None
    server.living.discard(EDSR)
    look(supervisor, times=2, at_s=30.0)
    assert server.reloads == ["sam"] * 3 + ["edsr"]


def test_a_given_up_model_that_an_operator_mends_is_watched_again(server, supervisor):
    look(supervisor, times=1)
    server.living.discard(SAM)
    server.failure = InternalError("broken")
    for second in range(20):
        supervisor.poll(float(second))
    server.failure, server.ready = None, {"sam", "edsr"}
    server.living.add(SAM)
    look(supervisor, times=1, at_s=30.0)
    server.living.discard(SAM)
    look(supervisor, times=2, at_s=40.0)
    assert server.reloads == ["sam"] * 4


def test_the_servers_own_death_is_reported_once(server, supervisor, events):
    look(supervisor, times=1)
    server.running = False
    assert not supervisor.poll(1.0)
    assert kinds(events) == ["server_died"]
    assert events[0].is_final


def test_a_server_that_does_not_answer_is_asked_again(server, supervisor):
    look(supervisor, times=1)
    server.living.discard(SAM)
    answers = iter([Busy("no answer"), None])
    ready = server.model_is_ready

    def sometimes(model):
        if error := next(answers):
            raise error
        return ready(model)

    server.model_is_ready = sometimes
    look(supervisor, times=2)
    assert server.reloads == []
    look(supervisor, times=1)
    assert server.reloads == ["sam"]


def test_the_death_of_a_jobs_stub_is_the_servers_and_nothing_is_reloaded(server, supervisor, events):
    engine = Instance("rotate_object_stream", "rotate_object_stream_0_0")
    server.models = (*server.models, engine.model)
    server.living |= {engine}
    server.ready |= {engine.model}
    look(supervisor, times=1)
    server.living.discard(engine)
    assert supervisor.poll(0.0)
    assert not supervisor.poll(0.0)
    assert kinds(events) == ["job_stub_died"]
    assert events[0].needs_restart
    assert server.reloads == []


def test_a_jobs_model_that_an_operator_unloads_restarts_nothing(server, supervisor, events):
    engine = Instance("rotate_object_stream", "rotate_object_stream_0_0")
    server.models = (*server.models, engine.model)
    look(supervisor, times=4)
    assert events == []


def test_a_stopped_stub_is_reported_and_left_alone(server, supervisor, events):
    look(supervisor, times=1)
    server.stopped = {SAM}
    look(supervisor, times=9)
    server.stopped = set()
    look(supervisor, times=2)
    assert kinds(events) == ["stopped", "continued"]
    assert "kill -CONT" in events[0].message
    assert server.reloads == []


@pytest.mark.triton
def test_a_killed_stub_is_back_and_answers_and_a_mended_model_too(tmp_path, add_model, embedded, echoed, eventually):
    add_model(tmp_path, "echo")
    add_model(tmp_path, "other")
    other = tmp_path / "other" / "1" / "model.py"
    working = other.read_text()
    events = []

    def kill(server, model):
        before = len(events)
        pids = {instance.model: pid for instance, pid in living_instances(server.pid).items()}
        os.kill(pids[model], signal.SIGKILL)
        return before

    with embedded(tmp_path) as server, Supervisor(server, events.append, period_s=0.05, backoff_s=0.1):
        # Twice: Triton can tell the first reload from a change of files, since Python has just written its cache.
        for number in (1.0, 2.0):
            before = kill(server, "echo")
            eventually(lambda before=before: kinds(events[before:]) == ["stub_died", "reloaded"], "reloaded")
            assert echoed(server, number) == number

        other.write_text("import no_such_module")
        before = kill(server, "other")
        eventually(lambda: "reload_failed" in kinds(events[before:]), "a failed reload")
        assert "no_such_module" in events[before + 1].message
        other.write_text(working)
        eventually(lambda: "reloaded" in kinds(events[before:]), "the mended model")
        assert echoed(server, 3.0, model="other") == 3.0

        os.kill(server.pid, signal.SIGKILL)
        eventually(lambda: events[-1].kind == "server_died", "the server's death seen")
        assert "was killed by signal 9" in server.exit_report()
