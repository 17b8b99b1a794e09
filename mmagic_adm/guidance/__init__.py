"""Guidance: around the denoiser, as a gradient, or as a rule that settles a step."""

from mmagic_adm.guidance.base import (
    Batch,
    Draw,
    Form,
    Guidance,
    Guide,
    Mixture,
    Moment,
    Need,
    Path,
    StochasticStep,
)
from mmagic_adm.guidance.classifier import ClassifierGuidance
from mmagic_adm.guidance.classifier_free import Autoguidance, ClassifierFreeGuidance
from mmagic_adm.guidance.combination import SumGuidance
from mmagic_adm.guidance.discriminator import DiscriminatorGuidance
from mmagic_adm.guidance.off_the_shelf import OffTheShelfGuidance
from mmagic_adm.guidance.perturbed_attention import PerturbedAttentionGuidance
from mmagic_adm.guidance.pixel_as_param import PixelAsParamGuidance
from mmagic_adm.guidance.sample import SampleGuidance
from mmagic_adm.guidance.score import ScoreGuidance
from mmagic_adm.guidance.self_attention import SelfAttentionGuidance
from mmagic_adm.guidance.source import Gradient, GradientSource, as_guide, named_guidance
from mmagic_adm.guidance.torchvision_classifiers import TorchvisionClassifier

__all__ = [
    'Autoguidance',
    'Batch',
    'ClassifierFreeGuidance',
    'ClassifierGuidance',
    'DiscriminatorGuidance',
    'Draw',
    'Form',
    'Gradient',
    'GradientSource',
    'Guidance',
    'Guide',
    'Mixture',
    'Moment',
    'Need',
    'OffTheShelfGuidance',
    'Path',
    'PerturbedAttentionGuidance',
    'PixelAsParamGuidance',
    'SampleGuidance',
    'ScoreGuidance',
    'SelfAttentionGuidance',
    'StochasticStep',
    'SumGuidance',
    'TorchvisionClassifier',
    'as_guide',
    'named_guidance',
]
