"""How good samples are: features, figures, and the references they are compared with."""

from mmagic_adm.evaluation.extractors import (
    ClassifierFeatures,
    InceptionFeatures,
    PlainClassifierFeatures,
    TorchvisionFeatures,
)
from mmagic_adm.evaluation.features import FeatureExtractor
from mmagic_adm.evaluation.fidelity import LPIPS, Fidelity, psnr, ssim
from mmagic_adm.evaluation.figures import SampleEvaluator, evaluate
from mmagic_adm.evaluation.frechet import RunningStatistics, frechet_distance
from mmagic_adm.evaluation.image_sets import open_images
from mmagic_adm.evaluation.manifolds import precision_recall
from mmagic_adm.evaluation.metrics import (
    BitsPerDim,
    ClassifierAccuracy,
    FrechetInceptionDistance,
    InceptionScore,
    NoisyAccuracy,
    PrecisionRecall,
    SpatialFrechetInceptionDistance,
)
from mmagic_adm.evaluation.reference import Reference
from mmagic_adm.evaluation.score import inception_score
from mmagic_adm.files.npz import write_batch

__all__ = [
    'LPIPS',
    'BitsPerDim',
    'ClassifierAccuracy',
    'ClassifierFeatures',
    'FeatureExtractor',
    'Fidelity',
    'FrechetInceptionDistance',
    'InceptionFeatures',
    'InceptionScore',
    'NoisyAccuracy',
    'PlainClassifierFeatures',
    'PrecisionRecall',
    'Reference',
    'RunningStatistics',
    'SampleEvaluator',
    'SpatialFrechetInceptionDistance',
    'TorchvisionFeatures',
    'evaluate',
    'frechet_distance',
    'inception_score',
    'open_images',
    'precision_recall',
    'psnr',
    'ssim',
    'write_batch',
]
