"""What the runner needs beyond MMEngine's own hooks and loops."""

from mmagic_adm.engine.learning_rates import InverseSqrtLR
from mmagic_adm.engine.likelihood_loop import LikelihoodLoop
from mmagic_adm.engine.moving_averages import MovingAverages
from mmagic_adm.engine.posthoc_averages import posthoc_average
from mmagic_adm.engine.runners import EvaluationRunner, FlexibleTrainingRunner, TrainingRunner
from mmagic_adm.engine.sample_shards import SampleShards, Shard
from mmagic_adm.engine.sampling_loop import SamplingLoop
from mmagic_adm.engine.sharding import FullyShardedStrategy
from mmagic_adm.engine.summaries import EvaluationSummary, SampleSheet, TrainingProgress
from mmagic_adm.engine.training_checkpoints import (
    StopOnNaN,
    TrainingState,
    WholeCheckpoints,
    checkpoint_to_resume,
    last_checkpoint,
)
from mmagic_adm.engine.training_loop import TrainingLoop

__all__ = [
    'EvaluationRunner',
    'EvaluationSummary',
    'FlexibleTrainingRunner',
    'FullyShardedStrategy',
    'InverseSqrtLR',
    'LikelihoodLoop',
    'MovingAverages',
    'SampleShards',
    'SampleSheet',
    'SamplingLoop',
    'Shard',
    'StopOnNaN',
    'TrainingLoop',
    'TrainingProgress',
    'TrainingRunner',
    'TrainingState',
    'WholeCheckpoints',
    'checkpoint_to_resume',
    'last_checkpoint',
    'posthoc_average',
]
