"""The metrics: each file is one idea, from its formula to what a config names."""

from mmagic_adm.evaluation.metrics.accuracy import ClassifierAccuracy, NoisyAccuracy
from mmagic_adm.evaluation.metrics.base import FeatureMetric, SampleMetric
from mmagic_adm.evaluation.metrics.fidelity import LPIPS, Fidelity, psnr, ssim
from mmagic_adm.evaluation.metrics.frechet import (
    ClassFrechetDistance,
    ExtrapolatedFrechetDistance,
    FrechetDINOv2Distance,
    FrechetInceptionDistance,
    SpatialFrechetInceptionDistance,
    frechet_distance,
)
from mmagic_adm.evaluation.metrics.kernels import (
    CLIPMaximumMeanDiscrepancy,
    KernelInceptionDistance,
    gaussian_mmd,
    polynomial_mmd,
)
from mmagic_adm.evaluation.metrics.likelihood import BitsPerDim
from mmagic_adm.evaluation.metrics.nearest import Authenticity
from mmagic_adm.evaluation.metrics.neighbours import (
    PRDC,
    PrecisionRecall,
    prdc,
    precision_recall,
)
from mmagic_adm.evaluation.metrics.score import InceptionScore, inception_score

__all__ = [
    'LPIPS',
    'PRDC',
    'Authenticity',
    'BitsPerDim',
    'CLIPMaximumMeanDiscrepancy',
    'ClassFrechetDistance',
    'ClassifierAccuracy',
    'ExtrapolatedFrechetDistance',
    'FeatureMetric',
    'Fidelity',
    'FrechetDINOv2Distance',
    'FrechetInceptionDistance',
    'InceptionScore',
    'KernelInceptionDistance',
    'NoisyAccuracy',
    'PrecisionRecall',
    'SampleMetric',
    'SpatialFrechetInceptionDistance',
    'frechet_distance',
    'gaussian_mmd',
    'inception_score',
    'polynomial_mmd',
    'prdc',
    'precision_recall',
    'psnr',
    'ssim',
]
