"""Reading a network's architecture off the names and shapes of its tensors."""

import math
import re
from dataclasses import dataclass
from typing import Any

from mmagic_adm.checkpoints.formats import Shapes, kind_of
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
        level_channels: Width of each level, finest first.
        attending: Which levels have attention, counted from the finest, 0.
    """

    fields: dict[str, Any]
    ambiguous: tuple[str, ...]
    level_channels: tuple[int, ...]
    attending: tuple[int, ...]

    @property
    def num_levels(self) -> int:
        """How many levels the network has."""
        return len(self.level_channels)

    def attention_resolutions(self, image_size: int) -> tuple[int, ...]:
        """The feature-map sizes at which the network attends, given images of a size."""
        return tuple(image_size >> level for level in self.attending)


def read_architecture(shapes: Shapes) -> Architecture:
    """Reads the architecture of a U-Net, an upsampler or a classifier.

    Args:
        shapes: Shape of each tensor, in OpenAI's names.

    Raises:
        LookupError: A tensor is missing that every such network has.
        ValueError: The tensors do not fall into levels.
    """
    encoder = _Encoder(shapes)
    plans = [plan for plan in encoder.possible_plans() if encoder.suits(plan)]
    if not plans:
        raise ValueError(f'its {len(encoder.stages)} input blocks do not fall into levels')
    width = shapes['time_embed.0.weight'][1]
    family = [plan for plan in plans if encoder.multipliers(plan, width) in CHANNEL_MULT.values()]
    plan = (family or plans)[0]

    channels = encoder.channels_of_levels(plan)
    fields: dict[str, Any] = dict(
        model_channels=width,
        num_res_blocks=plan.num_blocks,
        channel_mult=encoder.multipliers(plan, width),
        use_scale_shift_norm=(shapes['input_blocks.1.0.emb_layers.1.weight'][0] == 2 * channels[0]),
        **encoder.resampling(),
    )
    ambiguous: tuple[str, ...] = ('num_res_blocks', 'channel_mult') if len(plans) > 1 else ()
    if kind_of(shapes) == 'classifier':
        fields |= _read_classifier(shapes, plan.num_levels)
    else:
        fields |= _read_unet(shapes)
    if fields['type'] == 'ADMSuperResolutionUNet':
        ambiguous += ('type', 'in_channels')
    return Architecture(fields, ambiguous, channels, encoder.attending(plan))


@dataclass(frozen=True)
class _Plan:
    """Levels of so many residual blocks each, and a stage that goes down between two."""

    num_levels: int
    num_blocks: int

    def blocks_of(self, level: int) -> range:
        """The stages of a level's residual blocks; stage 0 is the convolution at the start."""
        first = 1 + level * (self.num_blocks + 1)
        return range(first, first + self.num_blocks)


class _Encoder:
    """The stages of ``input_blocks``, as layers and widths.

    Args:
        shapes: Shape of each tensor of the network.
    """

    def __init__(self, shapes: Shapes) -> None:
        self.stages = _stages(shapes, 'input_blocks')
        self.is_unet = kind_of(shapes) == 'unet'
        self.num_doubled = sum(
            stage.count('residual') == 2 for stage in _stages(shapes, 'output_blocks')
        )
        # A stage without tensors is one that pools.
        self.num_plain = sum('down' in stage or not stage for stage in self.stages[1:])
        self.channels = [shapes['input_blocks.0.0.weight'][0]]
        for n, stage in enumerate(self.stages[1:], start=1):
            is_residual = 'residual' in stage
            self.channels.append(
                shapes[f'input_blocks.{n}.0.out_layers.3.weight'][0]
                if is_residual
                else self.channels[-1]
            )

    def possible_plans(self) -> list[_Plan]:
        """The ways to cut the stages into levels; one, where something tells their number."""
        total = len(self.stages)
        if self.num_plain:
            counts = [self.num_plain + 1]
        elif self.is_unet:
            counts = [self.num_doubled + 1]
        else:
            counts = list(range(total, 0, -1))
        return [_Plan(n, total // n - 1) for n in counts if total % n == 0 and total // n > 1]

    def suits(self, plan: _Plan) -> bool:
        """Whether each level is uniform, and what goes down only goes down."""
        for level in range(plan.num_levels):
            blocks = plan.blocks_of(level)
            if len({(self.channels[n], 'attention' in self.stages[n]) for n in blocks}) > 1:
                return False
            down = blocks.stop
            if down < len(self.stages) and (
                'attention' in self.stages[down] or self.channels[down] != self.channels[down - 1]
            ):
                return False
        return True

    def channels_of_levels(self, plan: _Plan) -> tuple[int, ...]:
        return tuple(self.channels[plan.blocks_of(n)[0]] for n in range(plan.num_levels))

    def multipliers(self, plan: _Plan, width: int) -> tuple[float, ...]:
        return tuple(
            channels // width if channels % width == 0 else channels / width
            for channels in self.channels_of_levels(plan)
        )

    def attending(self, plan: _Plan) -> tuple[int, ...]:
        return tuple(
            level
            for level in range(plan.num_levels)
            if 'attention' in self.stages[plan.blocks_of(level)[0]]
        )

    def resampling(self) -> dict[str, bool]:
        """What changes the size; nothing is known of it where nothing does."""
        if self.num_plain:
            convolves = any('down' in stage for stage in self.stages)
            return dict(resblock_updown=False, conv_resample=convolves)
        return dict(resblock_updown=True) if self.num_doubled or not self.is_unet else {}


def _stages(shapes: Shapes, blocks: str) -> list[list[str]]:
    """The kinds of layers in each stage of ``input_blocks`` or ``output_blocks``, in order."""
    found: dict[int, dict[int, str]] = {}
    for key in shapes:
        match = re.fullmatch(rf'{blocks}\.(\d+)\.(\d+)\.(.+)', key)
        if match and match[3] in _LAYERS:
            found.setdefault(int(match[1]), {})[int(match[2])] = _LAYERS[match[3]]
    return [list(found.get(n, {}).values()) for n in range(max(found, default=-1) + 1)]


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
