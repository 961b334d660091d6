"""Who gets the slots of the next call."""

from collections import Counter

import pytest

from respin_ensemble.batching.fair_queue import FairQueue, QueuedSample, RequestGroup, allocate, select_samples
from respin_ensemble.sampling import Sample

SHAPE = (4, 8, 8)


def queued(steps, *, index=0, done=0, started=False):
    made = QueuedSample(Sample(iter(()), steps, SHAPE, {}), index, steps_done=done)
    made.unet_input = "asked" if started else None
    return made


def group(*steps, shape=SHAPE, priority=0):
    return RequestGroup([queued(each, index=index) for index, each in enumerate(steps)], shape, priority)


def advance(chosen):
    """Let every chosen sample have its call, and those that are done leave."""
    for member, each in chosen:
        each.unet_input, each.steps_done = "asked", each.steps_done + 1
        if each.steps_done == each.sample.steps:
            member.samples.remove(each)


def calls_until_done(queue, *groups):
    """The number of the call after which each party was done, and the sizes of all calls."""
    for member in groups:
        queue.join(member, groups)
    done, sizes = {}, []
    while present := [member for member in groups if member.samples]:
        chosen = queue.choose(present)
        sizes.append(len(chosen))
        advance(chosen)
        done.update({member: len(sizes) for member in present if not member.samples})
    return [done[member] for member in groups], sizes


def test_a_request_of_sixteen_views_does_not_starve_a_request_of_one():
    (many, one), _ = calls_until_done(FairQueue(8, 64), group(*[50] * 16), group(50))
    assert one == 50, "the single view had a slot in every call"
    assert many == -(-(16 * 50 + 50) // 8)


def test_requests_beyond_the_slots_have_turns_of_equal_length():
    done, sizes = calls_until_done(FairQueue(8, 64), *[group(10) for _ in range(12)])
    assert sizes == [8] * 15
    assert min(done) >= 14


def test_a_newcomer_neither_catches_up_on_the_past_nor_waits_for_it():
    queue, old, new = FairQueue(4, 64), group(*[100] * 8), group(*[100] * 8)
    for _ in range(20):
        advance(queue.choose([old]))
    queue.join(new, [old])
    shares = Counter()
    for _ in range(10):
        chosen = queue.choose([old, new])
        shares.update("old" if member is old else "new" for member, _ in chosen)
        advance(chosen)
    assert shares == {"old": 20, "new": 20}


def test_no_request_has_more_slots_than_samples():
    assert allocate([group(5), group(5, 5)], 8) != {}
    assert sorted(allocate([group(5), group(5, 5)], 8).values()) == [1, 2]


def test_a_higher_priority_goes_first_and_a_lower_one_is_never_left_out():
    high, low = group(*[5] * 16, priority=0), group(*[5] * 16, priority=2)
    assert allocate([low, high], 8) == {high: 7, low: 1}
    normal = group(*[5] * 16, priority=1)
    assert allocate([low, normal, high], 8) == {high: 6, normal: 1, low: 1}


def test_where_there_is_but_one_slot_the_highest_priority_has_it():
    assert allocate([group(5, priority=2), high := group(5, priority=0)], 1) == {high: 1}


def test_a_lower_priority_takes_what_the_higher_one_leaves():
    high, low = group(5, priority=0), group(*[5] * 16, priority=2)
    assert allocate([low, high], 8) == {high: 1, low: 7}


@pytest.mark.parametrize(
    ("steps", "slots"),
    [([76] * 12, 8), ([76] * 64, 8), ([50], 8), ([10, 10, 100], 2), ([5, 50, 20, 7, 90], 3)],
    ids=["12 views", "64 views", "one view", "a long one", "mixed"],
)
def test_the_last_sample_ends_as_early_as_can_be(steps, slots):
    (done,), _ = calls_until_done(FairQueue(slots, 64), group(*steps))
    assert done == max(*steps, -(-sum(steps) // slots))


def test_views_come_out_before_the_last_one_does():
    queue, views = FairQueue(8, 64), group(*[76] * 12)
    left = []
    while views.samples:
        advance(queue.choose([views]))
        left.append(len(views.samples))
    assert left[75] == 8, "four views are done after 76 calls, as if they were alone"
    assert len(left) == 114


def ends_of(views, slots=8):
    """The number of the call in which each view ends, and how often the samples of a call are not those before."""
    queue, ends, calls, changes, before = FairQueue(slots, 64), [], 0, -1, None
    while views.samples:
        chosen = queue.choose([views])
        calls += 1
        changes, before = changes + (chosen != before), chosen
        assert len(chosen) == min(slots, len(views.samples)), "no slot is left empty"
        advance(chosen)
        ends += [calls] * (12 - len(views.samples) - len(ends))
    return ends, changes


def test_views_that_take_long_to_finish_end_one_after_another():
    spaced, together = group(*[76] * 12), group(*[76] * 12)
    spaced.spacing = 5
    ends, changes = ends_of(spaced)
    assert ends[0] <= 76 + 5, "the first is hardly later than alone"
    assert max(Counter(ends).values()) <= 2
    # Views that are finished in five calls, one after another, from the end of the first to the end of the last.
    finished = {}
    for name, times in (("spaced", ends), ("together", ends_of(together)[0])):
        free = 0
        for end in times:
            free = max(free, end) + 5
        finished[name] = free
    assert finished["spaced"] < finished["together"]
    assert changes < len(ends) * 6, "samples do not take turns at every call"


def test_where_finishing_takes_longest_views_are_sampled_one_batch_after_another():
    views = group(*[20] * 12)
    views.spacing = 1000
    ends, changes = ends_of(views)
    assert ends == [20] * 8 + [40] * 4
    assert changes <= 2


def test_a_sample_that_would_make_the_whole_late_goes_before_one_that_is_nearly_done():
    nearly, long = queued(50, done=48), queued(50, index=1)
    assert select_samples([nearly, long], 1) == [nearly], "one slot: the whole takes as long either way"
    others = [queued(50, index=index, done=40) for index in range(2, 5)]
    assert long in select_samples([nearly, long, *others], 2)


def test_shapes_take_turns():
    queue = FairQueue(8, 64)
    wide, tall = group(*[10] * 3, shape=(4, 8, 16)), group(10, shape=(4, 16, 8))
    shapes = []
    for _ in range(6):
        chosen = queue.choose([wide, tall])
        assert len({member.shape for member, _ in chosen}) == 1
        shapes.append(chosen[0][0].shape)
    assert shapes in ([wide.shape, tall.shape] * 3, [tall.shape, wide.shape] * 3)


def test_no_more_samples_are_started_than_there_is_room_for():
    queue, many = FairQueue(8, 10), group(*range(20, 60))
    started = set()
    while len(many.samples) > 10:
        chosen = queue.choose([many])
        started.update(each for _, each in chosen)
        assert sum(each in started for each in many.samples) <= 10
        advance(chosen)


def test_a_request_of_which_nothing_is_under_way_may_always_start_one():
    queue, many, one = FairQueue(8, 8), group(*[50] * 16), group(50)
    for _ in range(3):
        advance(queue.choose([many]))
    queue.join(one, [many])
    assert one in [member for member, _ in queue.choose([many, one])]
