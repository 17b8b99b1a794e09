"""What the runner needs beyond MMEngine's own hooks and loops."""

from mmagic_adm.engine.evaluation_runner import EvaluationRunner
from mmagic_adm.engine.evaluation_summary import EvaluationSummary
from mmagic_adm.engine.flexible_training_runner import FlexibleTrainingRunner
from mmagic_adm.engine.likelihood_loop import LikelihoodLoop
from mmagic_adm.engine.moving_averages import MovingAverages
from mmagic_adm.engine.sample_shards import SampleShards, Shard
from mmagic_adm.engine.sample_sheet import SampleSheet
from mmagic_adm.engine.sampling_loop import SamplingLoop
from mmagic_adm.engine.sharded_strategy import FullyShardedStrategy
from mmagic_adm.engine.stop_on_nan import StopOnNaN
from mmagic_adm.engine.training_loop import TrainingLoop
from mmagic_adm.engine.training_runner import TrainingRunner
from mmagic_adm.engine.training_state import TrainingState
from mmagic_adm.engine.whole_checkpoints import WholeCheckpoints, last_checkpoint

__all__ = [
    'EvaluationRunner',
    'EvaluationSummary',
    'FlexibleTrainingRunner',
    'FullyShardedStrategy',
    'LikelihoodLoop',
    'MovingAverages',
    'SampleShards',
    'SampleSheet',
    'SamplingLoop',
    'Shard',
    'StopOnNaN',
    'TrainingLoop',
    'TrainingRunner',
    'TrainingState',
    'WholeCheckpoints',
    'last_checkpoint',
]
