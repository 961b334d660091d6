"""The exit statuses of `respin`: whose fault it is, in one line."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from types import SimpleNamespace

import grpc
import pytest
from scripted_triton import PHOTO, WAIT_S, event, refusal, views

from respin_client.command import main


def test_help_has_the_exit_statuses(respin):
    _, printed, _ = respin("--help")
    assert "3    the photo does not show the object" in printed


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--image", "none.jpg", "--class-name", "laptop"), "cannot read the photo 'none.jpg'"),
        ((*PHOTO, "--azimuth", "999"), "azimuth is 999; send -360 to 360"),
        ((*PHOTO, "--fit", "tight"), "fit is 'tight'; choose one of view, box"),
        ((*PHOTO, "--output", "x.gif"), "'x.gif' ends in none of .png, .jpg, .jpeg, .webp"),
        ((*PHOTO, "--output", "x.png", "--output-format", "jpeg"), "'x.png' is the name of a png file"),
        ((*PHOTO, "--azimuth=1", "--azimuth=2", "--output", "-"), "2 views do not go into one standard output"),
        ((*PHOTO, "--output", "none/x.png"), "no folder 'none' to write 'x.png' into"),
        ((*PHOTO, "--save", "laptop.jpg"), "cannot make the folder 'laptop.jpg'"),
        ((*PHOTO, "--header", "key"), "header is 'key'; send NAME:VALUE"),
        ((*PHOTO, "--tls-key", "key.pem"), "TLS has a key only"),
        ((*PHOTO, "--timeout-s", "0"), "timeout_s is 0.0"),
    ],
)
def test_the_callers_mistakes_are_one_line_and_code_2(here, respin, arguments, sentence):
    code, printed, complained = respin("rotate", *arguments)
    assert (code, printed) == (2, "")
    assert complained.startswith(f"respin: {sentence}")
    assert complained.count("\n") == 1


def test_a_full_disk_is_one_line_and_code_1(here, triton):
    triton.events = views(1)
    command = [sys.executable, "-m", "respin_client", "rotate", *PHOTO, "--azimuth", "80", "--url", triton.url]
    with open("/dev/full", "w") as full:
        ended = subprocess.run(command, cwd=here, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (
        1,
        "respin: the disk that the output goes to is full; free some space\n",
    )


@pytest.mark.parametrize("flag", [("--steps", "many"), ("--no-such-flag",)])
def test_a_bad_flag_is_code_2(here, respin, flag):
    code, _, complained = respin("rotate", *PHOTO, *flag)
    assert code == 2
    assert flag[0] in complained


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (grpc.StatusCode.NOT_FOUND, 3),
        (grpc.StatusCode.INVALID_ARGUMENT, 2),
        (grpc.StatusCode.FAILED_PRECONDITION, 2),
        (grpc.StatusCode.INTERNAL, 1),
        (grpc.StatusCode.CANCELLED, 1),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_the_exit_code_says_whose_fault_it_is(here, triton, respin, status, code):
    triton.events = lambda arrays, context: [refusal(status, "the server's sentence")]
    assert respin("rotate", *PHOTO, "--save", "parts/of/it", "--url", triton.url) == (
        code,
        "",
        "respin: the server's sentence\n",
    )
    assert [path.name for path in here.iterdir()] == ["laptop.jpg"]


def test_a_server_that_is_not_there_is_code_1(here, respin, nobody):
    code, _, complained = respin("rotate", *PHOTO, "--url", nobody)
    assert code == 1
    assert complained.startswith(f"respin: no server answers at {nobody}")


def test_a_view_that_does_not_come_is_an_error(here, triton, respin):
    triton.events = views(1)
    code, printed, complained = respin("rotate", *PHOTO, "--azimuth=1", "--azimuth=2", "--url", triton.url)
    assert (code, complained) == (1, "respin: the server sent no view 1; its log has the reason\n")
    assert "wrote generated-0.png" in printed


def test_tls_and_headers_reach_the_server(here, tls_triton, certificate, respin):
    tls_triton.events = views(1)
    pem = str(certificate.certificate)
    tls = ("--tls-root", pem, "--tls-certificate", pem, "--tls-key", str(certificate.key))
    code, *_ = respin("rotate", *PHOTO, *tls, "--header", "Key: a:b", "--url", tls_triton.url)
    assert code == 0
    assert tls_triton.heard[0].headers["key"] == "a:b"


def test_a_failed_handshake_is_one_sentence(here, triton):
    ended = subprocess.run(
        [sys.executable, "-m", "respin_client", "rotate", *PHOTO, "--tls", "--url", triton.url],
        cwd=here,
        capture_output=True,
        text=True,
        check=False,
    )
    sentence = f"respin: the server at {triton.url} does not speak TLS; connect without TLS, or to its TLS port\n"
    assert (ended.returncode, ended.stdout, ended.stderr) == (2, "", sentence)


def test_an_interrupted_command_says_nothing_and_is_code_130(here, triton):
    asked = threading.Event()

    def events(arrays, context):
        yield event("detection")
        asked.set()
        triton.ended.wait(WAIT_S)

    triton.events = events
    with subprocess.Popen(
        [sys.executable, "-m", "respin_client", "rotate", *PHOTO, "--save", "parts", "--url", triton.url],
        cwd=here,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert asked.wait(WAIT_S)
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=WAIT_S) == ("", "")
    assert process.returncode == 130
    assert not (here / "parts").exists()


def test_an_interrupt_while_the_commands_are_loaded_is_code_130(capsys):
    def interrupt():
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as leaving:
        main(["--help"], [SimpleNamespace(name="slow", load=interrupt)])
    assert leaving.value.code == 130
    assert capsys.readouterr().err == ""
