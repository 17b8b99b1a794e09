#!/usr/bin/env python
"""This project's U-Net beside diffusers' UNet2DModel: one architecture, the same weights.

The two are first seen to say the same. Then they take turns; medians count.

    python benchmarks/bench_diffusers.py --batch-size 4
"""

from __future__ import annotations

import argparse
import copy
import statistics
from typing import Any

import torch
from bench_sampling import describe, randomise, seconds
from diffusers import UNet2DModel
from torch import Tensor, nn

from mmagic_adm.apis import init_model
from mmagic_adm.models.compiled import Run
from mmagic_adm.models.profiles import apply_profile, choose_profile
from mmagic_adm.networks.blocks import AttentionBlock, ResidualBlock

MODEL = 'adm_ddim250_8xb32_imagenet-64x64'
LEVELS = 4
ROW = '{:34}{:>10}{:>12}{:>14}'


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--batch-size', type=int, default=4)
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    arguments = parser.parse_args()

    unet = init_model(MODEL, arguments.device, weights=False).unet
    randomise(unet)
    theirs = diffusers_unet(unet).to(arguments.device).eval()
    networks: dict[str, Any] = {'diffusers, float32': theirs}
    for name in ('exact', 'fast'):
        profile = choose_profile(name, torch.device(arguments.device), Run((), 1, lambda: 0.0))
        holder = nn.ModuleList([copy.deepcopy(unet)])
        apply_profile(profile.profile, holder)
        networks[f'mmagic-adm, {name}'] = holder[0]
    networks['diffusers, bfloat16'] = copy.deepcopy(theirs).bfloat16()

    size = (arguments.batch_size, 3, 64, 64)
    x = torch.randn(size, generator=torch.Generator().manual_seed(0)).to(arguments.device)
    t = torch.full((len(x),), 500, device=x.device)
    labels = torch.arange(len(x), device=x.device)
    with torch.no_grad():
        reference = unet(x, t, labels)
        errors = {
            name: float((call(network, x, t, labels) - reference).norm() / reference.norm())
            for name, network in networks.items()
        }
        times: dict[str, list[float]] = {name: [] for name in networks}
        for _ in range(arguments.rounds):
            for name, network in networks.items():
                times[name].append(seconds(lambda network=network: call(network, x, t, labels)))

    print(f'ADM 64x64, batch of {len(x)}, {describe(torch.device(arguments.device))}')
    print(ROW.format('', 's/call', 'x diffusers', 'difference'))
    first = statistics.median(times['diffusers, float32'])
    for name, values in times.items():
        median = statistics.median(values)
        print(ROW.format(name, f'{median:.3f}', f'{first / median:.2f}', f'{errors[name]:.1e}'))


def call(network: nn.Module, x: Tensor, t: Tensor, labels: Tensor) -> Tensor:
    """What either network says, in float32."""
    if isinstance(network, UNet2DModel):
        return network(x.to(network.dtype), t, class_labels=labels).sample.float()
    return network(x, t, labels)


def diffusers_unet(unet: Any) -> UNet2DModel:
    """Diffusers' network with the weights of an ADM network at 64x64."""
    attends = ['AttnDownBlock2D'] * (LEVELS - 1)
    theirs = UNet2DModel(
        sample_size=64,
        in_channels=3,
        out_channels=unet.out_channels,
        flip_sin_to_cos=True,
        freq_shift=0,
        down_block_types=('ResnetDownsampleBlock2D', *attends),
        up_block_types=(*[name.replace('Down', 'Up') for name in attends], 'ResnetUpsampleBlock2D'),
        block_out_channels=tuple(unet.widths),
        layers_per_block=3,
        downsample_type='resnet',
        upsample_type='resnet',
        attention_head_dim=64,
        norm_eps=1e-5,
        resnet_time_scale_shift='scale_shift',
        num_class_embeds=unet.num_classes,
        attn_norm_num_groups=32,
    )
    ours, others = in_order(unet), in_order_of_diffusers(theirs)
    assert len(ours) == len(others)
    for layer, other in zip(ours, others, strict=True):
        give(layer, other)
    copy_weights(unet.time_embed[0], theirs.time_embedding.linear_1)
    copy_weights(unet.time_embed[2], theirs.time_embedding.linear_2)
    theirs.class_embedding.weight.data.copy_(unet.label_emb.weight)
    copy_weights(unet.input_blocks[0][0], theirs.conv_in)
    copy_weights(unet.out[0], theirs.conv_norm_out)
    copy_weights(unet.out[2], theirs.conv_out)
    return theirs


def in_order(unet: Any) -> list[nn.Module]:
    """Residual and attention blocks as they run."""
    stages = [*unet.input_blocks, unet.middle_block, *unet.output_blocks]
    kinds = (ResidualBlock, AttentionBlock)
    return [layer for stage in stages for layer in stage if isinstance(layer, kinds)]


def in_order_of_diffusers(unet: UNet2DModel) -> list[nn.Module]:
    """The same of diffusers' network."""
    layers: list[nn.Module] = []
    for block in [*unet.down_blocks, unet.mid_block, *unet.up_blocks]:
        attentions = list(getattr(block, 'attentions', []))
        if block is unet.mid_block:
            layers += [block.resnets[0], attentions[0], block.resnets[1]]
            continue
        for index, resnet in enumerate(block.resnets):
            layers += [resnet, *attentions[index : index + 1]]
        for name in ('downsamplers', 'upsamplers', 'resnet_up'):
            found = getattr(block, name, None)
            if found is not None:
                layers += list(found) if isinstance(found, nn.ModuleList) else [found]
    return layers


def give(layer: Any, other: Any) -> None:
    """Gives a block of diffusers' the weights of ours."""
    if isinstance(layer, ResidualBlock):
        copy_weights(layer.in_layers[0], other.norm1)
        copy_weights(layer.in_layers[2], other.conv1)
        copy_weights(layer.emb_layers[1], other.time_emb_proj)
        copy_weights(layer.out_layers[0], other.norm2)
        copy_weights(layer.out_layers[3], other.conv2)
        if other.conv_shortcut is not None:
            copy_weights(layer.skip_connection, other.conv_shortcut)
        return
    copy_weights(layer.norm, other.group_norm)
    weights, biases = layer.qkv.weight.squeeze(2).chunk(3), layer.qkv.bias.chunk(3)
    for linear, weight, bias in zip(
        (other.to_q, other.to_k, other.to_v), weights, biases, strict=True
    ):
        linear.weight.data.copy_(weight)
        linear.bias.data.copy_(bias)
    other.to_out[0].weight.data.copy_(layer.proj_out.weight.squeeze(2))
    other.to_out[0].bias.data.copy_(layer.proj_out.bias)


def copy_weights(ours: Any, theirs: Any) -> None:
    """Copies the weight and bias of a layer."""
    theirs.weight.data.copy_(ours.weight)
    theirs.bias.data.copy_(ours.bias)


if __name__ == '__main__':
    main()
