"""Parts of networks that PyTorch does in another way on a GPU: the same results, in less memory or fewer steps."""

import weakref

import numpy as np
import pytest
import torch
from diffusers.models.attention import BasicTransformerBlock
from random_networks import build
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import SamConfig, SamVisionConfig

from respin.contracts import NETWORKS
from respin.contracts.networks import INPAINT_UNET, UNETS
from respin_benchmarks.in_process.network_runs import usual_inputs
from respin_ensemble.networks.torch_graph import as_list
from respin_ensemble.networks.torch_networks import ModuleNetworks
from respin_ensemble.networks.torch_parts import (
    REGIONS,
    chunk_feed_forward,
    compile_module,
    twin_by_rows,
)
from respin_export.half_parity import deviations_fp16
from respin_export.mini.trained import MiniSet
from respin_export.networks.sam import SamEncoder, move_positions_into_keys, sam_model
from respin_export.parity import outputs_by_name

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch's own, as its compiler is imported


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)
    with torch.inference_mode():
        yield


def small_sam():
    vision = SamVisionConfig(
        hidden_size=48,
        num_attention_heads=6,
        num_hidden_layers=2,
        image_size=512,
        output_channels=8,
        mlp_dim=16,
        window_size=3,
        global_attn_indexes=[1],
    )
    encoder = SamEncoder(sam_model(SamConfig(vision_config=vision))).eval()
    for parameter in encoder.parameters():
        parameter.normal_(std=0.3)
    return encoder, {"image": torch.randn(1, 3, 512, 512)}


class LiveBytes(TorchDispatchMode):
    """Counts what the results of operators hold together; `most` is the greatest sum."""

    def __init__(self):
        super().__init__()
        self.held, self.most = {}, 0

    def __torch_dispatch__(self, operator, types, arguments=(), options=None):
        result = operator(*arguments, **(options or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor):
                storage = tensor.untyped_storage()
                if storage._cdata not in self.held:
                    self.held[storage._cdata] = storage.nbytes()
                    weakref.finalize(storage, self.held.pop, storage._cdata)
        self.most = max(self.most, sum(self.held.values()))
        return result


def test_sam_gives_the_same_and_takes_less_memory():
    network, inputs = small_sam()
    with LiveBytes() as before:
        wanted = network(**inputs)
    move_positions_into_keys(network)
    with LiveBytes() as after:
        got = network(**inputs)
    torch.testing.assert_close(got, wanted, rtol=1e-3, atol=1e-3)
    assert after.most < 0.6 * before.most


def test_the_inpaintings_feed_forward_layers_sample_by_sample_give_the_same_noise():
    network = build("inpaint_unet")
    inputs = {name: torch.tensor(array) for name, array in usual_inputs(INPAINT_UNET, MiniSet.sizes, 3).items()}
    rows = []
    for block in network.modules():
        if isinstance(block, BasicTransformerBlock):
            block.ff.register_forward_pre_hook(lambda _, given: rows.append(len(given[0])))
    wanted = network(**inputs)
    assert set(rows) == {6}
    rows.clear()
    chunk_feed_forward(network)
    torch.testing.assert_close(network(**inputs), wanted, rtol=1e-4, atol=1e-4)
    assert set(rows) == {2}


def test_layers_are_compiled_one_by_one_in_a_copy_that_shares_the_weights():
    name = "sam_encoder"
    network, spec, sizes = MiniSet().load(name).eval(), NETWORKS[name], MiniSet.sizes
    inputs = {name: torch.tensor(array) for name, array in usual_inputs(spec, sizes, 1).items()}
    wanted = [output.numpy() for output in as_list(network(**inputs))]
    twin = compile_module(network)
    pairs = list(zip(network.parameters(), twin.parameters(), strict=True))
    assert all(mine.data_ptr() == its.data_ptr() for mine, its in pairs)
    assert not any(part._compiled_call_impl for part in network.modules())
    regions = [part for part in twin.modules() if isinstance(part, REGIONS)]
    assert len(regions) > 1
    assert all(bool(part._compiled_call_impl) == (part in regions) for part in twin.modules())
    with torch.compiler.set_stance("force_eager"):  # compiling takes minutes
        got = [output.numpy() for output in as_list(twin(**inputs))]
    assert max(each.error for each in deviations_fp16(name, got, outputs_by_name(spec, wanted))) < 1e-5


@pytest.mark.parametrize("name", UNETS)
def test_at_guidance_1_a_unet_runs_without_its_unconditional_half_and_answers_the_same(name):
    module = build(name, seed=0).eval()
    inputs = usual_inputs(NETWORKS[name], MiniSet.sizes, 3)
    rows = []
    module.unet.register_forward_hook(lambda unet, given, noise: rows.append(len(given[0])))
    networks = ModuleNetworks({name: module}, MiniSet.sizes)

    def noise(*guidance):
        return networks(NETWORKS[name], **{**inputs, "guidance": np.array(guidance, np.float32)[:, None]})["noise"]

    alone, beside = noise(1, 1, 1), noise(1, 1, 3)
    assert rows == [3, 6]
    np.testing.assert_allclose(alone[:2], beside[:2], atol=1e-5 * np.abs(beside).max())
    assert np.abs(alone[2] - beside[2]).max() > 1e-3 * np.abs(beside).max()


def test_a_twin_for_single_rows_shares_the_weights_and_leaves_the_other_as_it_is():
    module = build("inpaint_unet", seed=0).eval()
    chunk_feed_forward(module)
    twin = twin_by_rows(module)
    assert {id(each) for each in twin.parameters()} == {id(each) for each in module.parameters()}
    chunks = [
        {each._chunk_size for each in unet.modules() if isinstance(each, BasicTransformerBlock)}
        for unet in (module, twin)
    ]
    assert chunks == [{2}, {1}]
    inputs = {key: torch.tensor(array) for key, array in usual_inputs(INPAINT_UNET, MiniSet.sizes, 1).items()}
    del inputs["guidance"]
    with pytest.raises(ValueError, match="chunk"):
        module.predict_conditional(**inputs)
    assert twin.predict_conditional(**inputs).shape == inputs["latents"].shape
