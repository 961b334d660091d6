"""A budget of GPU memory: enough for all networks, enough if they make room for each other, or too small."""

import pytest

from respin.contracts import NETWORKS
from respin.contracts.networks import UNETS
from respin.errors import InvalidInput
from respin.gpu_memory import gpu_need, shared_need, sharing_within
from respin.model_set import ModelSet, Sizes
from respin.runtimes import RUNTIMES, InProcess
from respin_server.gpu_budget import memory_sentence

FULL = ModelSet("full", "fp16", Sizes(), {})
COST = (
    "make room for each other (a call of an evicted one loads it again first, and runs without CUDA graphs and "
    "compiled code)"
)


def sentence(budget_mib, runtime="torch", batch=8):
    return memory_sentence(InProcess(runtime, "cuda", budget_mib), FULL, batch, tuple(RUNTIMES))


def all_mib(runtime="torch", batch=8):
    return gpu_need(runtime, FULL, batch).total_mib


def stay_mib(runtime="torch", batch=8):
    return shared_need(runtime, FULL, batch, unets_stay=True).total_mib


def least_mib(runtime="torch", batch=8):
    return shared_need(runtime, FULL, batch, unets_stay=False).total_mib


@pytest.mark.parametrize("budget_mib", [0, all_mib()])
def test_what_fits_at_once_shares_nothing(budget_mib):
    assert sentence(budget_mib) == f"needs about {gpu_need('torch', FULL, 8)}"


@pytest.mark.parametrize("budget_mib", [all_mib() - 1, stay_mib()])
def test_the_unets_stay_where_the_others_can_make_room_for_each_other(budget_mib):
    assert sentence(budget_mib) == (
        f"all at once need about {gpu_need('torch', FULL, 8)}; within {budget_mib} MiB the UNets stay loaded and the "
        f"other networks {COST}"
    )


def test_less_is_enough_if_the_unets_give_way_too_and_it_is_said_when_they_would_stay():
    assert sentence(stay_mib() - 1).endswith(
        f"all networks {COST}: the UNets stay loaded with {stay_mib()} MiB, or with --limit unet_batch=7"
    )
    assert sentence(least_mib()).endswith(f"the UNets stay loaded with {stay_mib()} MiB")


def test_what_does_not_fit_even_so_is_refused_with_what_would():
    with pytest.raises(InvalidInput, match=rf"; --limit unet_batch=3 needs {least_mib(batch=3)} MiB") as refusal:
        sentence(least_mib(batch=4) - 1)
    assert f"or {least_mib()} MiB with networks that make room for each other" in str(refusal.value)
    with pytest.raises(InvalidInput, match=rf"the least is {least_mib(batch=1)} MiB, with --limit unet_batch=1$"):
        sentence(least_mib(batch=1) - 1)
    assert "make room" in sentence(least_mib(batch=1), batch=1)


def test_a_runtime_that_fits_is_named():
    assert least_mib("torch") < least_mib("tensorrt")
    with pytest.raises(InvalidInput, match=f"--runtime torch needs {least_mib('torch')} MiB"):
        sentence(least_mib("torch"), "tensorrt")


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_the_engine_shares_exactly_where_the_sentence_says_so(runtime):
    assert sharing_within(runtime, FULL, 8, 0) is sharing_within(runtime, FULL, 8, all_mib(runtime)) is None
    stay, least = stay_mib(runtime), least_mib(runtime)
    assert sharing_within(runtime, FULL, 8, stay).unets_stay
    for budget_mib in (stay - 1, least):
        assert set(sharing_within(runtime, FULL, 8, budget_mib).paged) == set(NETWORKS)
    with pytest.raises(InvalidInput, match=f"gpu_memory_mib is {least - 1} and .* needs at least {least} MiB"):
        sharing_within(runtime, FULL, 8, least - 1)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_every_network_finds_room_in_the_smallest_budget(runtime):
    for budget_mib in (stay_mib(runtime), least_mib(runtime)):
        sharing = sharing_within(runtime, FULL, 8, budget_mib)
        unets = sum(sharing.sizes_bytes[name] for name in UNETS)
        staying = unets if sharing.unets_stay else 0
        others = [size for name, size in sharing.sizes_bytes.items() if name not in UNETS]
        assert max(unets, *(staying + size for size in others)) <= sharing.room_bytes


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_six_gigabytes_are_enough_for_the_published_set(runtime):
    assert least_mib(runtime) < stay_mib(runtime, batch=1) <= 6 * 1024 < all_mib(runtime, batch=1)
