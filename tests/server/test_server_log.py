"""What is read out of a server's log."""

from respin_server.server_log import errors_in, last_lines, loaded_models

NOISE = 'E1123 01:25:44.748093 7177 server.cc:241] "CudaDriverHelper has not been initialized."\n'
LOADED = "I1123 01:25:44.970879 7177 model_lifecycle.cc:839] \"successfully loaded 'echo'\"\n"
FAILED = (
    "E1123 01:25:45.130912 7177 model_lifecycle.cc:642] \"failed to load 'broken' version 1: Internal: "
    r"ModuleNotFoundError: No module named 'x'\n\nAt:\n  model.py(1): <module>\n" + '"\n'
)
STARTUP = "error: creating server: Invalid argument - load failed for model 'broken': version 1 is at UNAVAILABLE\n"
PORT = 'E1123 01:25:45.130912 7177 main.cc:253] "failed to start HTTP service: Unavailable - Socket in use"\n'


def test_loaded_models_are_counted():
    assert loaded_models(NOISE + LOADED + FAILED) == {"echo"}


def test_a_failed_model_is_said_once_without_its_traceback():
    assert errors_in(NOISE + LOADED + FAILED + FAILED + STARTUP) == [
        "model 'broken' could not be loaded: Internal: ModuleNotFoundError: No module named 'x'"
    ]


def test_other_errors_are_quoted():
    assert errors_in(NOISE + LOADED + PORT) == ["failed to start HTTP service: Unavailable - Socket in use"]


def test_a_long_list_of_errors_is_cut():
    assert len(errors_in("".join(PORT.replace("HTTP", str(number)) for number in range(50)))) == 5


def test_an_innocent_log_has_no_errors():
    assert errors_in(NOISE + LOADED) == []


def test_a_server_that_died_speechless_leaves_its_last_lines():
    assert last_lines("one\n\ntwo\n") == ["one", "two"]
