"""The ADM U-Net as diffusers' ``UNet2DModel``, there and back, every bit of its weights kept."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from mmagic_adm.checkpoints.parts import StateDict
from mmagic_adm.checkpoints.zoo import build_without_weights
from mmagic_adm.networks import ADMUNet
from mmagic_adm.networks.blocks import AttentionBlock, GroupNorm32, ResidualBlock
from mmagic_adm.networks.encoder import timestep_embedding

# Their name of each layer, by ours: around the blocks, and within two kinds of them.
_AROUND = {
    'time_embed.0': 'time_embedding.linear_1',
    'time_embed.2': 'time_embedding.linear_2',
    'label_emb': 'class_embedding',
    'input_blocks.0.0': 'conv_in',
    'out.0': 'conv_norm_out',
    'out.2': 'conv_out',
}
_RESIDUAL = {
    'in_layers.0': 'norm1',
    'in_layers.2': 'conv1',
    'emb_layers.1': 'time_emb_proj',
    'out_layers.0': 'norm2',
    'out_layers.3': 'conv2',
    'skip_connection': 'conv_shortcut',
}
_ATTENTION = {'norm': 'group_norm', 'proj_out': 'to_out.0'}
_QKV = ('to_q', 'to_k', 'to_v')

# A table of embeddings, in place of the waves, of a network that is told timesteps to a scale.
_TABLE = 'time_proj.weight'

# What a config of ours says that leaves no trace in theirs, and decides where weights go.
_KEPT = (
    'num_classes',
    'class_dropout_prob',
    'num_heads',
    'num_head_channels',
    'use_new_attention_order',
)

# What their class takes where its config is silent, as far as ours has no choice.
_FIXED: dict[str, Any] = dict(
    act_fn='silu',
    add_attention=True,
    center_input_sample=False,
    class_embed_type=None,
    downsample_padding=1,
    flip_sin_to_cos=True,
    freq_shift=0,
    mid_block_scale_factor=1,
    mid_block_type='UNetMidBlock2D',
    norm_eps=1e-05,
    time_embedding_dim=None,
)
_THEIR_DEFAULTS = _FIXED | dict(
    attention_head_dim=8,
    attn_norm_num_groups=None,
    downsample_type='conv',
    dropout=0.0,
    in_channels=3,
    layers_per_block=2,
    norm_num_groups=32,
    num_class_embeds=None,
    num_train_timesteps=None,
    out_channels=3,
    resnet_time_scale_shift='default',
    time_embedding_type='positional',
    upsample_type='conv',
)


def to_unet_2d(
    unet: Mapping[str, Any], state: StateDict, scheduler: Mapping[str, Any]
) -> tuple[dict[str, Any], StateDict]:
    """Config and tensors of the ``UNet2DModel`` that an ADM U-Net is.

    Args:
        unet: The U-Net's config.
        state: Its tensors.
        scheduler: Config of its scheduler, which says if its timesteps are told to a scale.

    Raises:
        ValueError: No ``UNet2DModel`` is such a network; the message says why.
    """
    network: Any = build_without_weights(unet)
    config, names = _config(network), _layers(network)
    theirs = {
        name: tensor for key in state for name, tensor in _there(key, state[key], network, names)
    }
    steps = scheduler.get('num_train_timesteps', 1000)
    if scheduler.get('rescale_timesteps') and steps != 1000:
        config |= dict(time_embedding_type='learned', num_train_timesteps=steps)
        theirs[_TABLE] = _table(steps, network.model_channels)
    return config, theirs


def from_unet_2d(
    config: Mapping[str, Any], tensors: StateDict, recorded: Mapping[str, Any]
) -> tuple[dict[str, Any], StateDict, dict[str, Any]]:
    """The same backwards.

    Args:
        config: The config of a ``UNet2DModel``.
        tensors: Its tensors.
        recorded: What its file says of the config it had here, if it had one.

    Returns:
        The U-Net's config and tensors, and what the network tells of its scheduler's config.

    Raises:
        ValueError: The network is none of ADM's family; the message says why.
    """
    theirs = {**_THEIR_DEFAULTS, **{k: v for k, v in config.items() if not k.startswith('_')}}
    try:
        unet = _unet(theirs)
        if unet['num_res_blocks'] * len(unet['channel_mult']) > len(tensors):
            raise ValueError('its config has more blocks than there are tensors')
        if recorded:
            unet |= {name: recorded.get(name, getattr(ADMUNet, name)) for name in _KEPT}
        network: Any = build_without_weights(unet)
        ours = _config(network)
    except KeyError as error:
        raise ValueError(f'the config of its UNet2DModel has no {error}') from error
    except (TypeError, ValueError) as error:
        raise ValueError(f'its UNet2DModel is no ADM U-Net: {error}') from error
    scheduler: dict[str, Any] = {}
    if theirs['time_embedding_type'] == 'learned' and _TABLE in tensors:
        steps = len(tensors[_TABLE])
        if not torch.equal(tensors[_TABLE], _table(steps, network.model_channels)):
            raise ValueError(f'its {_TABLE} holds other waves than those of {steps} timesteps')
        ours |= dict(time_embedding_type='learned', num_train_timesteps=steps)
        scheduler = dict(rescale_timesteps=True)
    for name, value in ours.items():
        if theirs.get(name) != (list(value) if isinstance(value, tuple) else value):
            raise ValueError(
                f'its UNet2DModel is no ADM U-Net: {name} is {theirs.get(name)!r}, where one has '
                f'{value!r}'
            )
    names = _layers(network)
    places = {
        key: [name for name, _ in _there(key, tensor, network, names)]
        for key, tensor in network.state_dict().items()
    }
    wanted = {name for each in places.values() for name in each}
    if strangers := sorted(wanted ^ (tensors.keys() - {_TABLE})):
        raise ValueError(f'its weights and its config do not agree on {strangers[0]}')
    state = {
        key: _back(key, [tensors[name] for name in each], network) for key, each in places.items()
    }
    return unet, state, scheduler


def _config(network: Any) -> dict[str, Any]:
    """The config of the ``UNet2DModel`` that a U-Net is, if it is one."""
    widths, sizes, attends = network.widths, network.sizes, network.attention_sizes
    blocks = network.attention_blocks().values()
    heads = sorted({block.norm.num_channels // block.num_heads for block in blocks})
    groups = {norm.num_groups for norm in network.modules() if isinstance(norm, GroupNorm32)}
    obstacles = {
        f'its first level has {widths[0]} channels and its embedding of time '
        f'{network.model_channels}, of which a UNet2DModel has one number': (
            widths[0] != network.model_channels
        ),
        f'a fixed number of heads makes its heads {" and ".join(map(str, heads))} channels wide, '
        'and those of a UNet2DModel are all of one width': len(heads) > 1,
        'it divides residual sums by the root of 2': network.skip_rescale,
        'it resizes by pooling alone': not (network.resblock_updown or network.conv_resample),
        'its levels are normalised in different numbers of groups': len(groups) > 1,
    }
    if reason := next((reason for reason, stands in obstacles.items() if stands), None):
        raise ValueError(reason)
    resampling = 'resnet' if network.resblock_updown else 'conv'
    plain = 'Resnet{}sampleBlock2D' if network.resblock_updown else '{}Block2D'
    down, up = (
        [f'Attn{way}Block2D' if size in attends else plain.format(way) for size in order]
        for way, order in (('Down', sizes), ('Up', sizes[::-1]))
    )
    (num_groups,) = groups
    return _FIXED | dict(
        attention_head_dim=heads[0],
        attn_norm_num_groups=num_groups,
        block_out_channels=list(widths),
        down_block_types=down,
        downsample_type=resampling,
        dropout=network.dropout,
        in_channels=network.images_seen * network.in_channels,
        layers_per_block=network.num_res_blocks,
        norm_num_groups=num_groups,
        num_class_embeds=network.label_emb.num_embeddings if network.num_classes else None,
        num_train_timesteps=None,
        out_channels=network.out_channels,
        resnet_time_scale_shift='scale_shift' if network.use_scale_shift_norm else 'default',
        sample_size=network.image_size,
        time_embedding_type='positional',
        up_block_types=up,
        upsample_type=resampling,
    )


def _unet(theirs: Mapping[str, Any]) -> dict[str, Any]:
    """The U-Net that is likeliest; :func:`from_unet_2d` compares it with all that was said."""
    widths, size = theirs['block_out_channels'], theirs['sample_size']
    kinds = theirs['down_block_types']
    return dict(
        type='ADMUNet',
        image_size=size,
        in_channels=theirs['in_channels'],
        model_channels=widths[0],
        out_channels=theirs['out_channels'],
        num_res_blocks=theirs['layers_per_block'],
        attention_resolutions=tuple(
            size >> level for level, kind in enumerate(kinds) if kind.startswith('Attn')
        ),
        channel_mult=tuple(
            width // widths[0] if width % widths[0] == 0 else width / widths[0] for width in widths
        ),
        num_classes=theirs['num_class_embeds'],
        dropout=theirs['dropout'],
        num_head_channels=theirs['attention_head_dim'] or widths[-1],
        use_scale_shift_norm=theirs['resnet_time_scale_shift'] == 'scale_shift',
        resblock_updown=theirs['downsample_type'] == 'resnet',
        use_new_attention_order=True,
    )


def _layers(network: Any) -> dict[str, str]:
    """Their name of each layer, by ours."""
    names = dict(_AROUND)

    def put(ours: str, theirs: str, kinds: Mapping[str, str]) -> None:
        names.update({f'{ours}.{k}': f'{theirs}.{name}' for k, name in kinds.items()})

    for way, their_way in ('input', 'down'), ('output', 'up'):
        # The first stage on the way down is no block, so that each level begins after a resampler.
        begin = way == 'input'
        for n, stage in enumerate(list(getattr(network, f'{way}_blocks'))[begin:]):
            level, place = divmod(n, network.num_res_blocks + 1)
            block = f'{their_way}_blocks.{level}'
            for layer, ours in _named(stage, f'{way}_blocks.{n + begin}'):
                if isinstance(layer, AttentionBlock):
                    put(ours, f'{block}.attentions.{place}', _ATTENTION)
                elif not isinstance(layer, ResidualBlock):
                    put(ours, f'{block}.{their_way}samplers.0', dict(op='conv', conv='conv'))
                elif isinstance(layer.resize, nn.Identity):
                    put(ours, f'{block}.resnets.{place}', _RESIDUAL)
                else:
                    put(ours, f'{block}.{their_way}samplers.0', _RESIDUAL)
    put('middle_block.0', 'mid_block.resnets.0', _RESIDUAL)
    put('middle_block.1', 'mid_block.attentions.0', _ATTENTION)
    put('middle_block.2', 'mid_block.resnets.1', _RESIDUAL)
    return names


def _named(stage: nn.Sequential, name: str) -> Iterator[tuple[nn.Module, str]]:
    return ((layer, f'{name}.{i}') for i, layer in enumerate(stage))


def _there(
    key: str, tensor: Tensor, network: Any, names: Mapping[str, str]
) -> list[tuple[str, Tensor]]:
    """One of our tensors, as one or three of theirs."""
    layer, _, kind = key.rpartition('.')
    if not layer.endswith('.qkv'):
        # A convolution of pixels in a row, against a matrix.
        is_row = layer.endswith('.proj_out') and kind == 'weight'
        return [(f'{names[layer]}.{kind}', tensor.squeeze(-1) if is_row else tensor)]
    place = names[layer.replace('.qkv', '.norm')].removesuffix('.group_norm')
    heads = network.get_submodule(layer.removesuffix('.qkv')).num_heads
    if network.use_new_attention_order:
        parts = tensor.unflatten(0, (3, -1))
    else:
        # (q, k, v) of one head after another.
        parts = tensor.unflatten(0, (heads, 3, -1)).transpose(0, 1).flatten(1, 2)
    parts = parts.squeeze(-1) if kind == 'weight' else parts
    return [(f'{place}.{name}.{kind}', part) for name, part in zip(_QKV, parts, strict=True)]


def _back(key: str, tensors: list[Tensor], network: Any) -> Tensor:
    """The same backwards."""
    layer, _, kind = key.rpartition('.')
    if not layer.endswith(('.qkv', '.proj_out')):
        return tensors[0]
    tensor = torch.stack(tensors)
    if layer.endswith('.qkv') and not network.use_new_attention_order:
        heads = network.get_submodule(layer.removesuffix('.qkv')).num_heads
        tensor = tensor.unflatten(1, (heads, -1)).transpose(0, 1).flatten(0, 1)
    tensor = tensor.flatten(0, 1)
    return tensor.unsqueeze(-1) if kind == 'weight' else tensor


def _table(steps: int, channels: int) -> Tensor:
    return timestep_embedding(torch.arange(steps) * (1000 / steps), channels)
