"""Which networks share a stream and scratch memory on a GPU."""

import pytest

from respin.contracts import NETWORKS
from respin.gpu_memory import MIB
from respin.runtimes import InProcess
from respin_ensemble.networks.torch_lanes import ROOM_MIB, group_by_lane, has_room, make_lanes


@pytest.mark.parametrize("roomy", [False, True])
def test_every_network_has_one_lane_and_the_unets_share_none(roomy):
    lanes = group_by_lane(roomy=roomy)
    assert sorted(name for names in lanes for name in names) == sorted(NETWORKS)
    assert ["zero123_unet"] in lanes
    assert ["inpaint_unet"] in lanes
    assert (["grounding_dino"] in lanes) == roomy


def test_networks_that_share_a_lane_have_the_same_one():
    lanes = make_lanes("cpu", roomy=True)
    assert lanes["edsr"] is lanes["sam_encoder"] is lanes["vae_decoder"]
    assert len({id(lane) for lane in lanes.values()}) == 4


@pytest.mark.parametrize(
    ("device", "limit_mib", "free_mib", "room"),
    [
        ("cuda", 0, ROOM_MIB, True),
        ("cuda", 0, ROOM_MIB - 1, False),
        ("cuda", 100_000, ROOM_MIB, False),
        ("cpu", 0, ROOM_MIB, False),
    ],
)
def test_grounding_dino_has_memory_of_its_own_on_a_gpu_with_room_and_without_a_limit(device, limit_mib, free_mib, room):
    choice = InProcess("torch", device, limit_mib)
    assert has_room(choice, lambda: free_mib * MIB) == room
