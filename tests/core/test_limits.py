"""How much an engine takes on, as operators and configs say it."""

import pytest

from respin.errors import InvalidInput
from respin.limits import DEFAULT_LIMITS, LIMITS, EngineLimits


def test_what_an_operator_does_not_name_keeps_its_default():
    limits = EngineLimits.from_texts(["cache_mib=0", "max_jobs=128"])
    assert (limits.cache_mib, limits.max_jobs, limits.workers) == (0, 128, DEFAULT_LIMITS.workers)
    assert EngineLimits.from_texts([]) == DEFAULT_LIMITS


@pytest.mark.parametrize(
    "text", ["jobs=3", "max_jobs", "max_jobs=", "max_jobs=many", "max_jobs=-1", "=3", "max_jobs=1.5"]
)
def test_what_is_no_limit_is_told_with_those_there_are(text):
    with pytest.raises(InvalidInput, match=f"limit is '{text}'; write NAME=NUMBER with one of .*max_jobs"):
        EngineLimits.from_texts([text])


@pytest.mark.parametrize("name", sorted(set(LIMITS) - {"cache_mib"}))
def test_limits_that_admit_nothing_are_refused(name):
    with pytest.raises(InvalidInput, match=f"{name} is 0; choose 1 or more"):
        EngineLimits.from_texts([f"{name}=0"])


def test_a_config_says_them_and_the_engine_reads_them_back():
    parameters = {"networks": "triton", **{name: str(getattr(DEFAULT_LIMITS, name)) for name in LIMITS}}
    assert EngineLimits.from_parameters(parameters) == DEFAULT_LIMITS
