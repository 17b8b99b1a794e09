"""Training a network to say at once where the flow ends, from data or a teacher."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmagic_adm.denoisers import Denoiser, EDMPrecond
from mmagic_adm.diffusion import NoiseLevel
from mmagic_adm.diffusion.consistency import LevelPairs, LogNormalLevels, Scales, Weight, weights
from mmagic_adm.diffusion.losses import mean_of_sample
from mmagic_adm.guidance import Form, Guide, Path
from mmagic_adm.models.losses import PreconditionedLoss
from mmagic_adm.networks.network import move
from mmagic_adm.registry import MODELS, build_part
from mmagic_adm.schedulers import look

Norm = Literal['l1', 'l2', 'l2-32', 'huber']
PAIRS = dict(Scales=Scales, LogNormalLevels=LogNormalLevels)


class DistillationLoss(PreconditionedLoss):
    """Base of losses in which a network is compared with what another says, or itself before.

    Args:
        norm: The distance of two images: 'l1' and 'l2', means over their pixels; 'l2-32', that of
            the images at 32 pixels; 'huber', √(sum of squares + c²) - c; or the config of a module
            that is given both.
        weight: How much it counts at each level; see
            :func:`mmagic_adm.diffusion.consistency.weights`.
        c: Of 'huber'.

    Attributes:
        target: An average of the trained network, or the network as it was; None without either.
        step: Steps of the training so far; None before it.
    """

    def __init__(self, norm: Norm | dict | nn.Module, weight: Weight, c: float) -> None:
        if isinstance(norm, str) and norm not in get_args(Norm):
            raise ValueError(f'norm is {", ".join(get_args(Norm))} or a module, not {norm!r}')
        if weight not in get_args(Weight):
            raise ValueError(f'weight is one of {", ".join(get_args(Weight))}, not {weight!r}')
        self.norm: Any = norm if isinstance(norm, str) else build_part(MODELS, norm)
        self.weight: Weight = weight
        self.c = c
        self.target: nn.Module | None = None
        self.step: int | None = None

    def __deepcopy__(self, _: dict) -> DistillationLoss:
        return self  # An average of a model needs no second teacher.

    @property
    def steps(self) -> int:
        """Steps of the training so far, which somebody counts."""
        if self.step is None:
            raise ValueError(
                f'{type(self).__name__} goes by the steps of the training: '
                "custom_hooks=[dict(type='TrainingState'), ...] counts them"
            )
        return self.step

    @property
    def keeps_copy(self) -> bool:
        """Whether the network is compared with a copy."""
        return True

    def prepare(self, network: nn.Module) -> Sequence[nn.Module]:
        """Begins to count, and copies the network if need be."""
        self.step = 0
        if not self.keeps_copy:
            return []
        self.target = copy.deepcopy(network).requires_grad_(False).train()
        return [self.target]

    def state_dict(self) -> dict[str, Any]:
        """The step, and the network to compare with."""
        target = {} if self.target is None else self.target.state_dict()
        return dict(step=self.step, target=dict(target))

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on from there."""
        self.step = state['step']
        if self.target is not None:
            self.target.load_state_dict(state['target'])

    def distance(self, said: Tensor, target: Tensor) -> Tensor:
        """How far two images are from each other, (N,)."""
        if not isinstance(self.norm, str):
            return self.norm.to(said.device)(said, target).flatten()
        if self.norm == 'l2-32':
            said, target = (F.interpolate(x, size=32, mode='bilinear') for x in (said, target))
        error = said - target
        if self.norm == 'huber':
            return (error.square().flatten(1).sum(1) + self.c**2).sqrt() - self.c
        return mean_of_sample(error.abs() if self.norm == 'l1' else error.square())

    def loss(
        self, network: EDMPrecond, said: Tensor, target: Tensor, t: Tensor, r: Tensor
    ) -> dict[str, Tensor]:
        """The mean over the batch."""
        weight = weights(self.weight, t.flatten(), r.flatten(), network.sigma_data)
        return dict(loss=(weight * self.distance(said, target)).mean())


@MODELS.register_module()
class ConsistencyLoss(DistillationLoss):
    """Lets a network say at level t what it, or an average of it, says at r on the same way down.

    Without a teacher the way is straight, with the same noise at both levels: consistency training
    (Consistency Models, algorithm 3), or easy consistency tuning with :class:`LogNormalLevels` and
    no average. With one it is a step of Heun's method: consistency distillation (algorithm 2). What
    is dropped is dropped at both levels.

    Args:
        pairs: Config of the levels' pairs, ``dict(type='Scales')`` or ``'LogNormalLevels'`` and its
            arguments; see :mod:`mmagic_adm.diffusion.consistency`.
        teacher: Config of the model whose way is followed, of any kind, with its guidance, whose
            scale the trained network has from then on. None follows the data.
        solver: 'heun', or 'euler' for one call of the teacher.
        norm: See :class:`DistillationLoss`.
        weight: Likewise.
        c: Likewise.
    """

    def __init__(
        self,
        pairs: dict | LevelPairs,
        teacher: dict | nn.Module | None = None,
        solver: Literal['heun', 'euler'] = 'heun',
        norm: Norm | dict | nn.Module = 'l2',
        weight: Weight = 'uniform',
        c: float = 0.0,
    ) -> None:
        super().__init__(norm, weight, c)
        if solver not in ('heun', 'euler'):
            raise ValueError(f'solver is heun or euler, not {solver!r}')
        self.pairs = pairs if isinstance(pairs, LevelPairs) else _pairs(dict(pairs))
        self.teacher = None if teacher is None else Teacher(teacher)
        self.solver = solver

    def check_fits(self, network: nn.Module) -> None:
        """Refuses a teacher that is of other images."""
        super().check_fits(network)
        if self.teacher is not None:
            self.teacher.check_fits(network)

    @property
    def keeps_copy(self) -> bool:
        """Whether an average answers, and not the network itself."""
        return self.pairs.rate(0) > 0

    def __call__(
        self, network: EDMPrecond, images: Tensor, inputs: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        """See :class:`~mmagic_adm.models.losses.TrainingLoss`."""
        t, r = self.pairs.draw(len(images), self.steps, images.device)
        t, r = t.view(-1, 1, 1, 1), r.view(-1, 1, 1, 1)
        noise = torch.randn_like(images)
        x_t = images + t * noise
        with torch.no_grad():
            x_r = images + r * noise
            if self.teacher is not None:
                x_r = self.teacher.follow(x_t, t, r, inputs, self.solver)
            target = self._target(network, x_r, r, inputs)
        return self.loss(network, network(x_t, t.flatten(), **inputs), target, t, r)

    def after_step(self, network: nn.Module) -> None:
        """Takes the average a step further: θ⁻ ← μ θ⁻ + (1 - μ) θ."""
        if self.target is not None:
            move(self.target, network, 1 - self.pairs.rate(self.steps))
        self.step = self.steps + 1

    def _target(
        self, network: nn.Module, x_r: Tensor, r: Tensor, inputs: dict[str, Tensor]
    ) -> Tensor:
        """What is said at r: without noise, what is there."""
        answers = network if self.target is None else self.target.to(x_r.device)
        devices = [x_r.device] if x_r.device.type == 'cuda' else []
        with torch.random.fork_rng(devices):  # the draws of dropout come a second time
            said = answers(x_r, r.clamp(min=1e-8).flatten(), **inputs)
        return torch.where(r > 0, said, x_r)


@MODELS.register_module()
class ProgressiveDistillationLoss(DistillationLoss):
    """Lets a network do in one of N steps what it did in two (Salimans and Ho 2022, algorithm 2).

    It starts as its own teacher, so from weights that denoise, and becomes that again as often as N
    halves.

    Args:
        scales: Arguments of :class:`Scales`, of which ``start`` and ``period`` say N.
        norm: See :class:`DistillationLoss`.
        weight: Likewise.
        c: Likewise.
    """

    def __init__(
        self,
        scales: dict | Scales,
        norm: Norm | dict | nn.Module = 'l2',
        weight: Weight = 'truncated-snr',
        c: float = 0.0,
    ) -> None:
        super().__init__(norm, weight, c)
        self.scales = (
            scales if isinstance(scales, Scales) else Scales(**{'growth': 'halving', **scales})
        )

    def __call__(
        self, network: EDMPrecond, images: Tensor, inputs: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        """See :class:`~mmagic_adm.models.losses.TrainingLoss`."""
        steps = self.scales.count(self.steps)
        place = torch.randint(steps, (len(images), 1, 1, 1), device=images.device)
        t, middle, r = (self.scales.sigma((place + part) / steps) for part in (0, 0.5, 1))
        x_t = images + t * torch.randn_like(images)
        with torch.no_grad():
            teacher = self.target.to(images.device).eval()  # type: ignore[union-attr]
            # Two steps of Euler's, and the image to which one would lead as far.
            x = x_t
            for here, there in ((t, middle), (middle, r)):
                x = x + (there - here) * (x - teacher(x, here.flatten(), **inputs)) / here
            target = x_t - t * (x - x_t) / (r - t)
        return self.loss(network, network(x_t, t.flatten(), **inputs), target, t, r)

    def after_step(self, network: nn.Module) -> None:
        """Makes a teacher of the network where N halves next."""
        before, self.step = self.scales.count(self.steps), self.steps + 1
        if self.scales.count(self.step) != before:
            move(self.target, network, 1.0)  # type: ignore[arg-type]


class Teacher:
    """A model that is followed, frozen, on its way from noise to an image.

    Args:
        model: Config of it, or the model.
    """

    def __init__(self, model: dict | nn.Module) -> None:
        self.model = build_part(MODELS, model).requires_grad_(False).eval()
        guidance = self.model.guidance
        if guidance is not None and not (
            guidance.pace.is_even and guidance.forms <= {Form.DENOISER, Form.GRADIENT}
        ):
            raise ValueError(
                'a teacher is guided alike at all noise levels, around its denoiser or by a '
                f'gradient, which {type(guidance).__name__} here does not'
            )

    def check_fits(self, network: Any) -> None:
        """Refuses to teach a network that is of other images."""
        for quality in ('image_size', 'in_channels', 'num_classes'):
            ours, theirs = (getattr(one, quality) for one in (self.model.unet, network))
            if ours != theirs:
                raise ValueError(
                    f'the teacher has {quality}={ours}, and the network that it teaches {theirs}'
                )

    def follow(
        self, x_t: Tensor, t: Tensor, r: Tensor, inputs: Mapping[str, Tensor], solver: str
    ) -> Tensor:
        """The sample at level r, after a step from t."""
        denoiser, guide = self._guided(x_t.device, inputs)
        _, slope = look(denoiser, x_t, NoiseLevel(1.0, t), guide)
        x_r = x_t + (r - t) * slope
        if solver == 'euler':
            return x_r
        # There is no second slope where no noise is left.
        again = r.clamp(min=1e-3)
        _, other = look(denoiser, x_r, NoiseLevel(1.0, again), guide)
        return torch.where(r > 0, x_t + (r - t) * (slope + other) / 2, x_r)

    def _guided(
        self, device: torch.device, inputs: Mapping[str, Tensor]
    ) -> tuple[Denoiser, Guide | None]:
        model = self.model.to(device)
        guide = None
        if model.guidance is not None:
            path = Path((), model.diffusion_scheduler.full_process, model.codec)
            guide = model.guidance.bind(path, inputs.get('labels'), device=device)
        return model.denoiser(guide=guide, **inputs), guide and guide.in_step


def _pairs(config: dict[str, Any]) -> LevelPairs:
    name = config.pop('type', None)
    if name not in PAIRS:
        raise ValueError(f'pairs are {" or ".join(PAIRS)}, not {name!r}')
    return PAIRS[name](**config)
