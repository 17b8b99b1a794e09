"""The shape of an ADM network: its table of channel multipliers, and what makes a shape valid."""

from collections.abc import Sequence

from mmagic_adm.networks.blocks import count_groups

CHANNEL_MULT: dict[int, tuple[float, ...]] = {
    32: (1, 2, 2, 2),
    64: (1, 2, 3, 4),
    128: (1, 1, 2, 3, 4),
    256: (1, 1, 2, 2, 4, 4),
    512: (0.5, 1, 1, 2, 2, 4, 4),
}


def resolve_channel_mult(image_size: int, given: Sequence[float] | None) -> Sequence[float]:
    """The multipliers given, or the family's own for this image size."""
    if given is None and image_size not in CHANNEL_MULT:
        raise ValueError(
            f'no channel_mult is known for image_size {image_size} (known: '
            f'{", ".join(map(str, CHANNEL_MULT))}); give channel_mult, one multiplier per level'
        )
    channel_mult = CHANNEL_MULT[image_size] if given is None else given
    if not channel_mult:
        raise ValueError('channel_mult is empty; give one multiplier per level')
    return channel_mult


def level_sizes(image_size: int, num_levels: int) -> list[int]:
    """Feature-map size of each level, finest first; refuses a size that does not halve."""
    halvings = num_levels - 1
    if image_size % 2**halvings:
        raise ValueError(
            f'image_size {image_size} does not halve {halvings} times, as {num_levels} levels '
            f'need; use a multiple of {2**halvings} or a shorter channel_mult'
        )
    return [image_size >> level for level in range(num_levels)]


def count_heads(channels: int, num_heads: int, num_head_channels: int) -> int:
    """Attention heads for a width: ``num_heads``, or as many as ``num_head_channels`` fit."""
    fixed = num_head_channels == -1
    name, divisor = ('num_heads', num_heads) if fixed else ('num_head_channels', num_head_channels)
    if divisor < 1 or channels % divisor:
        raise ValueError(f'{channels} channels do not divide into heads by {name}={divisor}')
    return num_heads if fixed else channels // num_head_channels


def check_attention_resolutions(resolutions: Sequence[int], sizes: Sequence[int]) -> frozenset[int]:
    """The sizes at which to attend; refuses one that no level has."""
    if strangers := sorted(set(resolutions) - set(sizes)):
        raise ValueError(
            f'attention_resolutions {strangers} match no level; this network has feature maps of '
            f'{", ".join(map(str, sizes))} pixels'
        )
    return frozenset(resolutions)


def check_group_norm(widths: Sequence[int], min_group_channels: int) -> None:
    """Refuses widths that the group normalisation cannot divide."""
    for width in widths:
        groups = count_groups(width, min_group_channels)
        if groups < 1 or width % groups:
            raise ValueError(
                f'a level of {width} channels does not divide into {max(groups, 1)} groups for '
                'group normalisation; change model_channels or channel_mult (channels of every '
                f'level: {", ".join(map(str, widths))})'
            )
