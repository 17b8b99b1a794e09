"""How good samples are: features, figures, and the references they are compared with."""

from mmagic_adm.evaluation.classifier_features import ClassifierFeatures
from mmagic_adm.evaluation.feature_extractor import FeatureExtractor
from mmagic_adm.evaluation.figures import evaluate
from mmagic_adm.evaluation.frechet import frechet_distance
from mmagic_adm.evaluation.image_sets import open_images
from mmagic_adm.evaluation.inception import InceptionFeatures
from mmagic_adm.evaluation.manifolds import precision_recall
from mmagic_adm.evaluation.metrics import (
    BitsPerDim,
    ClassifierAccuracy,
    FrechetInceptionDistance,
    InceptionScore,
    PrecisionRecall,
    SpatialFrechetInceptionDistance,
)
from mmagic_adm.evaluation.noisy_accuracy import NoisyAccuracy
from mmagic_adm.evaluation.plain_features import PlainClassifierFeatures
from mmagic_adm.evaluation.reference import Reference
from mmagic_adm.evaluation.running_statistics import RunningStatistics
from mmagic_adm.evaluation.sample_evaluator import SampleEvaluator
from mmagic_adm.evaluation.score import inception_score
from mmagic_adm.evaluation.torchvision_features import TorchvisionFeatures
from mmagic_adm.files.npz import write_batch

__all__ = [
    'BitsPerDim',
    'ClassifierAccuracy',
    'ClassifierFeatures',
    'FeatureExtractor',
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
    'write_batch',
]
