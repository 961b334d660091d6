"""Graphs of UNets that take less guidance than samples, around a network of one line."""

from __future__ import annotations

from torch import nn

from respin.contracts import NETWORKS
from respin_export.mini.sizes import SIZES
from respin_export.networks.unet import InpaintUNet, Zero123UNet
from respin_export.to_onnx import export_network


class Stub(nn.Module):
    """Predicts something that every input of its sample has a part in."""

    def forward(self, sample, timestep, context, return_dict):
        weight = timestep / 1000 + context.mean(dim=(1, 2))
        return (sample[:, :4] + sample[:, 4:].mean(dim=1, keepdim=True) + weight[:, None, None, None],)


MODULES = {"zero123_unet": Zero123UNet(Stub()).eval(), "inpaint_unet": InpaintUNet(Stub()).eval()}


def export_stub(folder, name):
    """Export a UNet around `Stub`; return the path of its graph."""
    path = folder / name / "model.onnx"
    export_network(MODULES[name], NETWORKS[name], SIZES, path)
    return path
