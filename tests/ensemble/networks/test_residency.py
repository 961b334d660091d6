"""Networks that share a device's memory: what is evicted, who waits for whom, and that nothing waits for ever."""

import random
import threading
from collections import Counter

import pytest
from fake_device import Call, Device, FakeNetwork
from patience import await_true

from respin.contracts import NETWORKS
from respin.contracts.networks import UNETS
from respin.errors import Busy, Cancelled
from respin.gpu_memory import Sharing
from respin_ensemble.metrics import InMemoryMeter
from respin_ensemble.networks.residency import Residency
from respin_ensemble.pipeline.cancellation import Cancellation


@pytest.fixture
def device():
    return Device()


@pytest.fixture
def share(device):
    """A residency of networks of these sizes in so much room; the networks in `last` go last."""

    def make(room, meter=None, last=(), **sizes):
        networks = {name: FakeNetwork(device, name, size) for name, size in sizes.items()}
        return Residency(networks, Sharing(room, sizes, unets_stay=False), last, meter)

    return make


def call(residency, *names):
    for name in names:
        with residency.use(name):
            assert name in residency.loaded


@pytest.fixture
def start():
    """Starts calls; those that a test leaves are ended after it, in their order."""
    calls = []

    def make(*args):
        calls.append(Call(*args))
        return calls[-1]

    yield make
    for each in calls:
        each.end()


def in_progress(start, residency, name):
    made = start(residency, name)
    await_true(made.begun.is_set, f"the call of {name}")
    return made


def waits(residency, calls=1):
    await_true(lambda: residency.waiting == calls, f"{calls} waits for room")


def test_networks_that_fit_are_loaded_once_and_stay(share, device):
    residency = share(6, a=1, b=2, c=3)
    call(residency, *"abcabc")
    assert device.log == ["load a", "load b", "load c"]


def test_the_least_recently_used_makes_room(share, device):
    residency = share(3, a=1, b=1, c=1, d=1)
    call(residency, *"abcad")
    assert device.log[-2:] == ["unload b", "load d"]
    assert residency.loaded == set("acd")


def test_no_more_are_evicted_than_have_to_be(share):
    residency = share(6, a=1, b=1, big=4, new=4)
    call(residency, "a", "b", "big", "new")
    assert residency.loaded == {"a", "b", "new"}


def test_what_is_to_go_last_goes_only_if_all_others_do_not_make_room(share, device):
    residency = share(6, last=("unet",), unet=3, a=2, b=3, large=4)
    call(residency, "unet", "a", "b")
    assert residency.loaded == {"unet", "b"}, "though it was used before the others"
    call(residency, "large")
    assert "unet" not in residency.loaded


def test_a_busy_network_is_waited_for_before_the_last_is_evicted(share, start):
    residency = share(6, last=("unet",), unet=3, a=3, b=3)
    call(residency, "unet")
    a = in_progress(start, residency, "a")
    b = start(residency, "b")
    waits(residency)
    assert residency.loaded == {"unet", "a"}
    a.end()
    b.end()
    assert residency.loaded == {"unet", "b"}


def test_a_network_in_use_is_not_evicted_and_its_memory_is_waited_for(share, start):
    residency = share(3, a=2, b=2)
    a = in_progress(start, residency, "a")
    b = start(residency, "b")
    waits(residency)
    assert residency.loaded == {"a"}
    assert not b.begun.is_set()
    a.end()
    b.end()
    assert residency.loaded == {"b"}


def test_an_idle_network_makes_room_before_a_busy_one_that_was_called_earlier(share, start):
    residency = share(4, a=2, b=2, c=2)
    in_progress(start, residency, "a")
    call(residency, "b", "c")
    assert residency.loaded == {"a", "c"}


def test_a_network_that_is_called_all_the_time_makes_room_after_the_calls_in_progress(share, start, device):
    residency = share(3, a=2, unet=2)
    unet = in_progress(start, residency, "unet")
    detection = start(residency, "a")
    waits(residency)
    again = start(residency, "unet")
    waits(residency, 2)
    assert not again.begun.is_set(), "else the UNet would never be idle"
    unet.end()
    await_true(detection.begun.is_set, "the detection")
    detection.end()
    again.end()
    assert device.log == ["load unet", "unload unet", "load a", "unload a", "load unet"]


def test_calls_of_loaded_networks_do_not_wait_behind_the_queue(share, start):
    residency = share(3, small=1, a=2, b=2)
    call(residency, "small")
    a = in_progress(start, residency, "a")
    start(residency, "b")
    waits(residency)
    in_progress(start, residency, "small")
    assert residency.waiting == 1
    a.end()


def test_all_that_wait_for_a_network_share_its_load(share, start, device):
    residency = share(2, a=2, b=2)
    a = in_progress(start, residency, "a")
    calls = [start(residency, "b") for _ in range(3)]
    waits(residency, 3)
    a.end()
    for each in calls:
        await_true(each.begun.is_set, "a call of b beside the others")
    assert device.log == ["load a", "unload a", "load b"]


def test_a_job_that_is_cancelled_waits_no_longer_and_takes_nothing_from_the_others(share, start, device):
    residency, cancellation = share(3, a=2, b=2), Cancellation()
    in_progress(start, residency, "a")
    cancelled = start(residency, "b", cancellation.check)
    waits(residency)
    cancellation.cancel("the deadline of 1 s passed")
    await_true(lambda: cancelled.error, "the end of the wait")
    assert isinstance(cancelled.error, Cancelled)
    assert residency.waiting == 0
    call(residency, "a")  # which is open again
    assert device.log == ["load a"]


def test_a_job_that_is_cancelled_in_the_queue_leaves_it(share, start):
    residency, cancellation = share(2, a=2, b=2, c=2), Cancellation()
    a = in_progress(start, residency, "a")
    first = start(residency, "b")
    waits(residency)
    cancelled = start(residency, "c", cancellation.check)
    waits(residency, 2)
    cancellation.cancel("the caller cancelled")
    await_true(lambda: cancelled.error, "the end of the wait")
    waits(residency)
    a.end()
    await_true(first.begun.is_set, "the first in the queue")


def test_a_load_that_fails_fails_its_own_call_alone_and_holds_nothing(share, device):
    meter = InMemoryMeter()
    residency = share(3, meter, a=2, b=2)
    call(residency, "a")
    device.failing = {"b"}
    with pytest.raises(Busy, match=r"b could not be loaded into memory, .*; send the request again"):
        call(residency, "b")
    assert device.held == residency.held_bytes == 0
    call(residency, "a")
    device.failing = set()
    call(residency, "b")
    assert meter.values["respin_network_loads_total", "b"] == 1


def test_a_load_for_which_memory_is_shorter_than_computed_is_tried_again_without_the_idle_networks(share, device):
    residency = share(9, a=2, b=2, large=5, larger=7)
    call(residency, "a", "b")
    device.real_room = 6
    call(residency, "large")
    assert device.log[2:] == ["load large", "unload large", "unload a", "unload b", "load large"]
    assert residency.loaded == {"large"}
    with pytest.raises(Busy, match="larger could not be loaded"):
        call(residency, "larger")
    assert device.held == residency.held_bytes == 0
    call(residency, "a")


def test_loads_evictions_and_memory_are_counted(share):
    meter = InMemoryMeter()
    residency = share(3, meter, a=2, b=2)
    call(residency, *"abab")
    assert meter.values["respin_network_loads_total", "a"] == 2
    assert meter.values["respin_network_evictions_total", "a"] == 2
    assert meter.values["respin_network_evictions_total", "b"] == 1
    assert meter.values["respin_networks_bytes", ""] == 2


def test_networks_that_stay_are_counted_and_called_without_a_wait(device):
    sizes = dict.fromkeys(NETWORKS, 2)
    sharing = Sharing(6, sizes, unets_stay=True)
    assert not UNETS.keys() & set(sharing.paged)
    residency = Residency({name: FakeNetwork(device, name, 2) for name in sharing.paged}, sharing)
    assert residency.held_bytes == 4
    with residency.use("zero123_unet"), residency.use("inpaint_unet"):
        call(residency, *sharing.paged)
    assert device.most == 2


def test_a_network_that_never_fits_is_refused_at_once(device):
    with pytest.raises(ValueError, match="edsr takes 9 bytes and 4 are free"):
        Residency({"edsr": FakeNetwork(device, "edsr", 9)}, Sharing(6, {"edsr": 9, "clip_text": 2}, unets_stay=True))


def test_many_jobs_in_any_order_all_end_and_never_hold_more_than_there_is(share, device):
    sizes = {"unet": 5, "other_unet": 4, "a": 3, "b": 2, "c": 2, "d": 1}
    residency = share(9, last=("unet", "other_unet"), **sizes)
    done, stop = Counter(), threading.Event()

    def job(seed):
        chance = random.Random(seed)
        for _ in range(60):
            name = chance.choice(list(sizes))
            with residency.use(name):
                assert residency.loaded >= {name}
                assert device.held <= 9
                done[seed] += 1

    def denoise(name):
        """A UNet that is called without a pause, as long as jobs run."""
        while not stop.is_set():
            with residency.use(name):
                done[name] += 1

    unets = [threading.Thread(target=denoise, args=(name,)) for name in ("unet", "other_unet")]
    jobs = [threading.Thread(target=job, args=(seed,)) for seed in range(8)]
    for thread in unets + jobs:
        thread.start()
    for thread in jobs:
        thread.join(60)
    stop.set()
    for thread in unets:
        thread.join(20)
    assert not any(thread.is_alive() for thread in unets + jobs)
    assert all(done[seed] == 60 for seed in range(8))
    assert device.most <= 9
    assert residency.held_bytes == device.held
    assert Counter(device.log)["unload unet"] > 0
