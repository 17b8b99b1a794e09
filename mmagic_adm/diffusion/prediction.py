"""What a network says about a noisy image, in one form whatever it was trained to say."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor

from mmagic_adm.diffusion.noise_level import NoiseLevel


@dataclass(frozen=True)
class LearnedVariance:
    """What a network says about the variance of a step back.

    Args:
        output: Its channels for that.
        is_logarithm: Whether they are the variance's logarithm ('learned'), or tell from -1 to 1
            where it lies between the two fixed ones ('learned_range').
    """

    output: Tensor
    is_logarithm: bool


@dataclass(frozen=True)
class Prediction:
    """Which image is in x_t, and which noise.

    Args:
        x_0: The image.
        eps: The noise, as the network itself has it: not changed when the image is clipped.
        variance: What the network says about the variance of a step back, where it learned one.
        previous: x_{t-1}, where that is what the network predicts.
        uncorrected: What was predicted before a measurement corrected it, where one did.
    """

    x_0: Tensor
    eps: Tensor
    variance: LearnedVariance | None = None
    previous: Tensor | None = None
    uncorrected: Prediction | None = None

    def clipped(self) -> Prediction:
        """The same with the image kept within [-1, 1]."""
        return replace(self, x_0=self.x_0.clamp(-1, 1))

    def corrected(self, x_0: Tensor, x_t: Tensor, level: NoiseLevel) -> Prediction:
        """Another image in x_t, with the noise that is left beside it."""
        return Prediction(x_0, level.eps(x_t, x_0), self.variance, uncorrected=self)

    def detached(self) -> Prediction:
        """The same without the graph it came by."""
        variance, previous = self.variance, self.previous
        return Prediction(
            self.x_0.detach(),
            self.eps.detach(),
            variance and replace(variance, output=variance.output.detach()),
            None if previous is None else previous.detach(),
        )

    def split(self, count: int) -> tuple[Prediction, Prediction]:
        """The predictions of the first so many samples, and of the others."""
        return self.of(slice(None, count)), self.of(slice(count, None))

    def away_from(
        self, other: Prediction, by: Tensor | float, rows: Tensor | None = None
    ) -> Prediction:
        """This prediction and ``by`` times what sets it apart from another; the variance stays.

        Args:
            other: The other prediction.
            by: A number, or a factor for each of its samples.
            rows: Which of these samples the other is about; None is all.
        """

        def moved(own: Tensor, others: Tensor) -> Tensor:
            if rows is None:
                return own + by * (own - others)
            return own.index_add(0, rows, (by * (own[rows] - others)).to(own.dtype))

        previous = self.previous
        if previous is not None and other.previous is not None:
            previous = moved(previous, other.previous)
        return replace(
            self, x_0=moved(self.x_0, other.x_0), eps=moved(self.eps, other.eps), previous=previous
        )

    def of(self, rows: slice | Tensor) -> Prediction:
        """The prediction of some samples."""
        variance, previous = self.variance, self.previous
        return Prediction(
            self.x_0[rows],
            self.eps[rows],
            variance and replace(variance, output=variance.output[rows]),
            None if previous is None else previous[rows],
        )
