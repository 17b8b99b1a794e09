"""Convolutions whose weights can be laid out for the CPU once, instead of in every call.

oneDNN, which computes torch's convolutions on CPUs, wants weights in blocks of its own. For a
small batch, putting them into blocks in every call takes longer than the arithmetic of the inner
levels; and a network that only samples has the same weights in every call.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd


class Packed(NamedTuple):
    """A kernel in oneDNN's blocks, and the state of the parameter that it was made from."""

    blocks: Tensor
    made_from: tuple[Any, ...]


class PackedLayer(_ConvNd):
    """Base of layers that convolve with stride 1, by a packed kernel where ``packs`` is set.

    The packed kernel stands beside the parameter, and is made anew where the parameter has
    changed. It serves on a CPU, and where no gradient of the parameter is wanted.
    """

    packs: bool = False
    _packed: Packed | None = None
    _packed_turned: Packed | None = None

    @property
    def kernel(self) -> Tensor:
        """The parameter as a kernel of two dimensions, (out, in, height, width)."""
        return self.weight

    def uses_pack(self, x: Tensor) -> bool:
        """Whether the packed kernel serves for an input."""
        return (
            self.packs
            and x.device.type == 'cpu'
            and x.dtype == self.weight.dtype
            and not (self.weight.requires_grad and torch.is_grad_enabled())
            and not torch.compiler.is_compiling()
        )

    def convolve_packed(self, x: Tensor) -> Tensor:
        """The convolution of (N, C, H, W), which keeps the image's size."""
        if torch.is_grad_enabled() and x.requires_grad:
            return _ConvolvePacked.apply(x, self)
        return self.forwards(x)

    def forwards(self, x: Tensor) -> Tensor:
        """The convolution."""
        if self._packed is None or self._packed.made_from != self._state():
            self._packed = self._pack(self.kernel, x)
        return self._convolve(x, self._packed, self.bias)

    def backwards(self, gradient: Tensor) -> Tensor:
        """The gradient of the input: a convolution by the kernel turned round."""
        if self._packed_turned is None or self._packed_turned.made_from != self._state():
            turned = self.kernel.transpose(0, 1).flip(2, 3)
            self._packed_turned = self._pack(turned, gradient)
        return self._convolve(gradient, self._packed_turned, None)

    def __getstate__(self) -> dict[str, Any]:
        """What copies and pickles hold: all but the packed kernels."""
        return {k: value for k, value in self.__dict__.items() if not isinstance(value, Packed)}

    def _state(self) -> tuple[Any, ...]:
        return self.weight.data_ptr(), self.weight.dtype, self.weight._version

    def _padding(self) -> list[int]:
        return [size // 2 for size in self.kernel.shape[2:]]

    def _pack(self, kernel: Tensor, x: Tensor) -> Packed:
        kernel = kernel.detach().contiguous(memory_format=torch.channels_last)
        blocks = torch.ops.mkldnn._reorder_convolution_weight(
            kernel, self._padding(), [1, 1], [1, 1], 1, list(x.shape)
        )
        return Packed(blocks, self._state())

    def _convolve(self, x: Tensor, packed: Packed, bias: Tensor | None) -> Tensor:
        return torch.ops.mkldnn._convolution_pointwise(
            x, packed.blocks, bias, self._padding(), [1, 1], [1, 1], 1, 'none', [], ''
        )


class _ConvolvePacked(torch.autograd.Function):
    """The packed convolution, differentiable by its input."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, layer: PackedLayer) -> Tensor:
        ctx.layer = layer
        return layer.forwards(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return ctx.layer.backwards(gradient), None


class Convolution(PackedLayer, nn.Conv2d):
    """A convolution of odd kernel size that keeps the size of the image."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int) -> None:
        super().__init__(in_channels, out_channels, kernel_size, padding=kernel_size // 2)

    def forward(self, x: Tensor) -> Tensor:
        """Convolves (N, C, H, W)."""
        return self.convolve_packed(x) if self.uses_pack(x) else super().forward(x)


class PixelwiseLinear(PackedLayer, nn.Conv1d):
    """A linear map of every pixel's channels, (N, T, C) to (N, T, C').

    Its parameters have the shapes of a convolution of width 1, as in the released checkpoints.
    Pixels come first because fused attention wants a head's channels side by side in memory; in
    channels-last tensors, they lie that way already.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, kernel_size=1)

    @property
    def kernel(self) -> Tensor:
        """The parameter as a kernel of two dimensions."""
        return self.weight.unsqueeze(3)

    def forward(self, tokens: Tensor) -> Tensor:
        """Applies the map."""
        if not self.uses_pack(tokens):
            return F.linear(tokens, self.weight.squeeze(2), self.bias)
        image = tokens.transpose(1, 2).unsqueeze(3)
        return self.convolve_packed(image).squeeze(3).transpose(1, 2)


def pack(network: nn.Module, packs: bool = True) -> nn.Module:
    """Makes a network's layers keep packed kernels, or forget them."""
    for module in network.modules():
        if isinstance(module, PackedLayer):
            module.packs = packs
            module._packed = module._packed_turned = None
    return network


@functools.cache
def why_not_packing() -> str | None:
    """Why kernels cannot be packed here; None where they can."""
    layer = Convolution(16, 16, 3).requires_grad_(False)
    x = torch.linspace(-1, 1, 16 * 8 * 8).view(1, 16, 8, 8)
    try:
        error = (layer.forwards(x) - layer(x)).abs().max()
    except (RuntimeError, AttributeError) as unsupported:
        # The operators are torch's compiler's own, and not every build has them.
        return f'this build of torch has no packed convolutions ({unsupported})'.splitlines()[0]
    return None if error < 1e-4 else f'packed convolutions are off by {error:.1e} on this machine'
