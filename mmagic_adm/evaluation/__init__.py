"""How good samples are: features, figures, and the references they are compared with."""

from mmagic_adm.evaluation.extractors import (
    ClassifierFeatures,
    InceptionFeatures,
    PlainClassifierFeatures,
    TorchvisionFeatures,
)
from mmagic_adm.evaluation.features import FeatureExtractor
from mmagic_adm.evaluation.figures import SampleEvaluator, evaluate, report_on
from mmagic_adm.evaluation.image_sets import Resize, open_images
from mmagic_adm.evaluation.kept import Rows, RunningStatistics
from mmagic_adm.evaluation.metrics import (
    LPIPS,
    PRDC,
    Authenticity,
    BitsPerDim,
    ClassFrechetDistance,
    ClassifierAccuracy,
    CLIPMaximumMeanDiscrepancy,
    ExtrapolatedFrechetDistance,
    FeatureMetric,
    Fidelity,
    FrechetDINOv2Distance,
    FrechetInceptionDistance,
    InceptionScore,
    KernelInceptionDistance,
    NoisyAccuracy,
    PrecisionRecall,
    SpatialFrechetInceptionDistance,
    frechet_distance,
    gaussian_mmd,
    inception_score,
    polynomial_mmd,
    prdc,
    precision_recall,
    psnr,
    ssim,
)
from mmagic_adm.evaluation.reference import Reference
from mmagic_adm.evaluation.report import Report
from mmagic_adm.evaluation.vision_transformers import CLIPFeatures, DINOv2Features
from mmagic_adm.files.npz import write_batch

__all__ = [
    'LPIPS',
    'PRDC',
    'Authenticity',
    'BitsPerDim',
    'CLIPFeatures',
    'CLIPMaximumMeanDiscrepancy',
    'ClassFrechetDistance',
    'ClassifierAccuracy',
    'ClassifierFeatures',
    'DINOv2Features',
    'ExtrapolatedFrechetDistance',
    'FeatureExtractor',
    'FeatureMetric',
    'Fidelity',
    'FrechetDINOv2Distance',
    'FrechetInceptionDistance',
    'InceptionFeatures',
    'InceptionScore',
    'KernelInceptionDistance',
    'NoisyAccuracy',
    'PlainClassifierFeatures',
    'PrecisionRecall',
    'Reference',
    'Report',
    'Resize',
    'Rows',
    'RunningStatistics',
    'SampleEvaluator',
    'SpatialFrechetInceptionDistance',
    'TorchvisionFeatures',
    'evaluate',
    'frechet_distance',
    'gaussian_mmd',
    'inception_score',
    'open_images',
    'polynomial_mmd',
    'prdc',
    'precision_recall',
    'psnr',
    'report_on',
    'ssim',
    'write_batch',
]
