"""MMEngine models that tie networks, schedulers and guidance together."""

from mmagic_adm.models.adm import AblatedDiffusionModel
from mmagic_adm.models.cascade import CascadedDiffusionModel
from mmagic_adm.models.classifier_training import ClassifierTraining
from mmagic_adm.models.consistency import ConsistencyLoss, ProgressiveDistillationLoss
from mmagic_adm.models.edm2_loss import EDM2Loss
from mmagic_adm.models.losses import EDMLoss
from mmagic_adm.models.lpips import LPIPS
from mmagic_adm.models.runner_data import DiffusionDataPreprocessor
from mmagic_adm.models.upsampling import AblatedUpsamplingModel, UpsamplerTraining

__all__ = [
    'LPIPS',
    'AblatedDiffusionModel',
    'AblatedUpsamplingModel',
    'CascadedDiffusionModel',
    'ClassifierTraining',
    'ConsistencyLoss',
    'DiffusionDataPreprocessor',
    'EDM2Loss',
    'EDMLoss',
    'ProgressiveDistillationLoss',
    'UpsamplerTraining',
]
