"""Pieces of one job beside each other: none outlives it, and a failure of one ends all."""

import threading
from concurrent.futures import wait

import pytest

from respin.errors import Cancelled, InternalError
from respin_ensemble.pipeline.events import Event
from respin_ensemble.pipeline.task_group import Crew

SOON_S = 10


def ignore(_event):
    pass


def test_pieces_are_done_beside_each_other_and_give_their_results():
    together = threading.Barrier(2)
    with Crew(2, ignore) as crew:
        pieces = [crew.begin(lambda _report: together.wait(SOON_S) >= 0) for _ in range(2)]
    assert [piece.result() for piece in pieces] == [True, True]


def test_what_a_piece_raised_is_raised_where_it_is_looked_for():
    def fail(_report):
        raise InternalError("the view is blank")

    with Crew(1, ignore) as crew:
        wait([crew.begin(fail)])
        with pytest.raises(InternalError, match="blank"):
            crew.check()


def test_a_job_that_fails_stops_its_pieces_at_their_next_report():
    begun, failed, ends = threading.Event(), threading.Event(), []

    def go_on(report):
        begun.set()
        failed.wait(SOON_S)
        try:
            while True:
                report(Event("super_resolution"))
        except Cancelled as error:
            ends.append(str(error))
            raise

    def body():
        with Crew(1, ignore) as crew:
            crew.begin(go_on)
            waiting.append(crew.begin(lambda _report: ends.append("was begun")))
            begun.wait(SOON_S)
            failed.set()
            raise InternalError("sampling failed")

    waiting = []
    with pytest.raises(InternalError, match="sampling failed"):
        body()
    assert ends == ["another part of the job ended it"]
    assert waiting[0].cancelled()
