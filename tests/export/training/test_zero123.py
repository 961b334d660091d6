"""Training of the novel view's UNet."""

import torch

from respin_export.mini.vae import MiniVaeDecoder
from respin_export.training.zero123 import Zero123Task


def test_a_loss_on_another_device_leaves_the_decoder_of_the_evaluation_where_it_was():
    task = Zero123Task.__new__(Zero123Task)
    task.decoder, task._copies = MiniVaeDecoder(), {}
    elsewhere = task._decoder_on(torch.device("meta"))
    assert {each.device.type for each in elsewhere.parameters()} == {"meta"}
    assert {each.device.type for each in task.decoder.parameters()} == {"cpu"}
    assert task._decoder_on(torch.device("meta")) is elsewhere, "copied once"
    assert task._decoder_on(torch.device("cpu")) is task.decoder
