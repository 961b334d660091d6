"""The health check of a container."""

from __future__ import annotations

import subprocess
import sys

import grpc
import pytest

from respin_client import canary


@pytest.fixture
def checked(triton, capsys):
    """Exit status and sentence of the check of the scripted server."""

    def check(**environment):
        status = canary.main({"RESPIN_URL": triton.url, **environment})
        return status, capsys.readouterr().out

    return check


def test_a_server_that_turns_an_object_is_healthy(turning, checked):
    assert checked() == (0, "healthy: the server turned an object\n")
    (call,) = turning.heard
    assert call.model == "rotate_object"
    assert call.arrays["steps"].item() == 2
    assert call.arrays["priority"].item() == b"high"


def test_every_check_has_its_own_seed_so_that_no_cache_answers_it(turning, checked):
    checked(), checked()
    first, second = turning.heard
    assert first.arrays["seed"].item() != second.arrays["seed"].item()


def refusing(code, words):
    return lambda arrays, context: context.abort(code, words)


def test_a_server_at_a_limit_is_healthy_as_long_as_its_models_are_ready(triton, checked):
    triton.reply = refusing(grpc.StatusCode.UNAVAILABLE, "64 jobs are running; the limit is 64")
    status, said = checked()
    assert (status, said) == (0, "busy: 64 jobs are running; the limit is 64\n")
    triton.loaded = False
    assert checked()[0] == 1


@pytest.mark.parametrize("code", [grpc.StatusCode.INTERNAL, grpc.StatusCode.FAILED_PRECONDITION])
def test_a_job_that_fails_is_unhealthy_and_says_why(triton, checked, code):
    triton.reply = refusing(code, "vae_decoder: not a number")
    status, said = checked()
    assert status == 1
    assert said.startswith("unhealthy: ")
    assert "vae_decoder" in said


def test_an_answer_without_a_picture_is_unhealthy(triton, checked):
    triton.reply = lambda arrays, context: {}
    assert checked()[0] == 1


def test_no_server_is_unhealthy(nobody):
    check = [sys.executable, "-m", "respin_client.canary"]
    done = subprocess.run(check, check=False, env={"RESPIN_URL": nobody}, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert done.stdout.startswith("unhealthy: ")
