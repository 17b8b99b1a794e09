"""Group normalisation that computes in float32 whatever type the network runs in."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

NUM_GROUPS = 32


def count_groups(channels: int, min_group_channels: int) -> int:
    """Groups that channels are normalised in: 32, or fewer where they would get too thin."""
    return min(NUM_GROUPS, channels // min_group_channels)


class GroupNorm32(nn.GroupNorm):
    """Group norm over 32 groups, or over fewer where groups would get too thin.

    Args:
        num_channels: Channels of the input.
        min_group_channels: Channels a group has at least. 1 gives the 32 groups of the original.
    """

    def __init__(self, num_channels: int, min_group_channels: int = 1) -> None:
        super().__init__(count_groups(num_channels, min_group_channels), num_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Normalises in float32 and gives the input's type back."""
        # On a CPU the kernel itself computes in float32 if the parameters are of that type.
        computes_in_float32 = x.dtype == torch.float32 or x.device.type == 'cpu'
        if self.weight.dtype == torch.float32 and computes_in_float32:
            return F.group_norm(x, self.num_groups, self.weight, self.bias, self.eps)
        normalized = F.group_norm(
            x.float(), self.num_groups, self.weight.float(), self.bias.float(), self.eps
        )
        return normalized.to(x.dtype)
