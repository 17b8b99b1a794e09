"""Reading a network's architecture off the names and shapes of its tensors."""

import itertools
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from mmagic_adm.checkpoints.other_architectures import read_other
from mmagic_adm.checkpoints.parts import Shapes, kind_of
from mmagic_adm.networks import CHANNEL_MULT

# A tensor that each kind of layer has, and no other.
_LAYERS = {
    'in_layers.0.weight': 'residual',
    'qkv.weight': 'attention',
    'op.weight': 'down',
    'conv.weight': 'up',
}
# Input channels that look like an image beside a small one: grey and grey, colour and colour.
_PAIRED_CHANNELS = (2, 6)


@dataclass(frozen=True)
class Architecture:
    """What a network's names and shapes tell.

    Args:
        fields: The constructor arguments that they settle, and the type.
        ambiguous: Those of the fields that another value would fit too.
        level_channels: Width of each of ADM's levels, finest first.
        attending: Which of them have attention, counted from the finest, 0.
    """

    fields: dict[str, Any]
    ambiguous: tuple[str, ...] = ()
    level_channels: tuple[int, ...] = ()
    attending: tuple[int, ...] = ()

    @property
    def num_levels(self) -> int:
        """How many levels the network has."""
        return len(self.level_channels)

    def attention_resolutions(self, image_size: int) -> tuple[int, ...]:
        """The feature-map sizes at which the network attends, given images of a size."""
        return tuple(image_size >> level for level in self.attending)


class _Stage(NamedTuple):
    """An entry of ``input_blocks``: its kinds of layers, and how many channels come out."""

    layers: tuple[str, ...]
    channels: int

    @property
    def attends(self) -> bool:
        return 'attention' in self.layers


# The stages of each level, finest first. The first of them leads into the level.
_Levels = list[list[_Stage]]


def read_architecture(shapes: Shapes) -> Architecture:
    """Reads the architecture of a network: a U-Net, an upsampler, a classifier, or another.

    Args:
        shapes: Shape of each tensor, in OpenAI's names.

    Raises:
        LookupError: A tensor is missing that every such network has.
        ValueError: The tensors do not fall into levels.
    """
    if other := read_other(shapes):
        # A size without a name tells width and blocks, not heads.
        return Architecture(other, ('size',) if isinstance(other.get('size'), tuple) else ())
    is_unet = kind_of(shapes) == 'unet'
    stages = _read_stages(shapes)
    # A stage without tensors is one that pools.
    num_plain = sum('down' in stage.layers or not stage.layers for stage in stages[1:])
    num_doubled = sum(
        layers.count('residual') == 2 for layers in _layers_of(shapes, 'output_blocks')
    )
    is_settled = num_plain or is_unet
    counts = [(num_plain or num_doubled) + 1] if is_settled else range(len(stages), 0, -1)
    plans = [levels for count in counts if (levels := _cut(stages, count))]
    if not plans:
        raise ValueError(f'its {len(stages)} input blocks do not fall into levels')
    width = shapes['time_embed.0.weight'][1]
    family = [plan for plan in plans if _multipliers(plan, width) in CHANNEL_MULT.values()]
    levels = (family or plans)[0]

    channels = tuple(level[1].channels for level in levels)
    fields: dict[str, Any] = dict(
        model_channels=width,
        num_res_blocks=len(levels[0]) - 1,
        channel_mult=_multipliers(levels, width),
        use_scale_shift_norm=(shapes['input_blocks.1.0.emb_layers.1.weight'][0] == 2 * channels[0]),
    )
    if num_plain:
        convolves = any('down' in stage.layers for stage in stages)
        fields |= dict(resblock_updown=False, conv_resample=convolves)
    elif num_doubled or not is_unet:
        fields |= dict(resblock_updown=True)
    ambiguous: tuple[str, ...] = ('num_res_blocks', 'channel_mult') if len(plans) > 1 else ()
    fields |= _read_unet(shapes) if is_unet else _read_classifier(shapes, len(levels))
    if fields['type'] == 'ADMSuperResolutionUNet':
        ambiguous += ('type', 'in_channels')
    attending = tuple(n for n, level in enumerate(levels) if level[1].attends)
    return Architecture(fields, ambiguous, channels, attending)


def _read_stages(shapes: Shapes) -> list[_Stage]:
    stages = [_Stage((), shapes['input_blocks.0.0.weight'][0])]
    for n, layers in enumerate(_layers_of(shapes, 'input_blocks')[1:], start=1):
        channels = stages[-1].channels
        if 'residual' in layers:
            channels = shapes[f'input_blocks.{n}.0.out_layers.3.weight'][0]
        stages.append(_Stage(layers, channels))
    return stages


def _layers_of(shapes: Shapes, blocks: str) -> list[tuple[str, ...]]:
    """The kinds of layers in each stage of ``input_blocks`` or ``output_blocks``, in order."""
    found: dict[int, dict[int, str]] = {}
    for key in shapes:
        match = re.fullmatch(rf'{blocks}\.(\d+)\.(\d+)\.(.+)', key)
        if match and match[3] in _LAYERS:
            found.setdefault(int(match[1]), {})[int(match[2])] = _LAYERS[match[3]]
    return [tuple(found.get(n, {}).values()) for n in range(max(found, default=-1) + 1)]


def _cut(stages: Sequence[_Stage], count: int) -> _Levels | None:
    """So many levels of as many stages each, if each is uniform and what goes down only does so."""
    length, rest = divmod(len(stages), count)
    if rest or length < 2:
        return None
    levels = [list(stages[n : n + length]) for n in range(0, len(stages), length)]
    are_uniform = all(len({(s.channels, s.attends) for s in level[1:]}) == 1 for level in levels)
    only_go_down = all(
        not level[0].attends and level[0].channels == before[-1].channels
        for before, level in itertools.pairwise(levels)
    )
    return levels if are_uniform and only_go_down else None


def _multipliers(levels: _Levels, width: int) -> tuple[float, ...]:
    each = [level[1].channels for level in levels]
    return tuple(n // width if n % width == 0 else n / width for n in each)


def _read_unet(shapes: Shapes) -> dict[str, Any]:
    seen = shapes['input_blocks.0.0.weight'][1]
    given = shapes['out.2.weight'][0]
    enlarges = seen in _PAIRED_CHANNELS and given in (seen // 2, seen)
    return dict(
        type='ADMSuperResolutionUNet' if enlarges else 'ADMUNet',
        in_channels=seen // 2 if enlarges else seen,
        out_channels=given,
        num_classes=shapes['label_emb.weight'][0] if 'label_emb.weight' in shapes else None,
    )


def _read_classifier(shapes: Shapes, num_levels: int) -> dict[str, Any]:
    fields: dict[str, Any] = dict(
        type='ADMClassifier', in_channels=shapes['input_blocks.0.0.weight'][1]
    )
    if 'out.2.positional_embedding' in shapes:
        # One position for each pixel of the last feature map, and one for their mean.
        last_size = math.isqrt(shapes['out.2.positional_embedding'][1] - 1)
        out_channels = shapes['out.2.c_proj.weight'][0]
        return fields | dict(
            pool='attention', out_channels=out_channels, image_size=last_size << (num_levels - 1)
        )
    if 'out.2.weight' in shapes:
        return fields | dict(pool='spatial', out_channels=shapes['out.2.weight'][0])
    pool = 'spatial_v2' if 'out.1.weight' in shapes else 'adaptive'
    return fields | dict(pool=pool, out_channels=shapes['out.3.weight'][0])
