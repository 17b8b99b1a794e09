"""What is given by mistake is refused in one line, which says what it is and what it could be."""

import math

import numpy as np
import pytest
import torch
from mmengine import Config

from mmagic_adm.apis import init_model, sample
from mmagic_adm.engine import TrainingRunner
from mmagic_adm.guidance import ClassifierGuidance, SumGuidance
from tests.engine.training import training_config
from tests.tiny import CLASSIFIER, UNET, build_model

INF, NAN = math.inf, math.nan
GUIDED = dict(classifier=CLASSIFIER)
FREE = dict(unet=dict(class_dropout_prob=0.1))


def refused(what, *words):
    """Calls something that is to be refused in a line with these words."""
    with pytest.raises(ValueError) as error:  # noqa: PT011
        what()
    for word in words:
        assert word in str(error.value)


@pytest.mark.parametrize(
    ('changes', 'words'),
    [
        (dict(guidance={}), ['the config of a model has a type', 'nothing']),
        (dict(guidance=dict(scale=2.0)), ['has a type', 'scale']),
        (dict(guidance='none'), ["no guidance is called 'none'", 'cfg, classifier']),
        (dict(guidance=True), ['guidance is a name', 'not True']),
        (dict(guidance=[]), ['guidance is a name', 'not []']),
        (dict(guidance=UNET), ['guidance is', 'not ADMUNet']),
        (dict(guidance=dict(type='ClasifierFreeGuidance')), ['mean ClassifierFreeGuidance']),
        (
            dict(**FREE, guidance=dict(type='ClassifierFreeGuidance', scal=2.0)),
            ["ClassifierFreeGuidance takes no 'scal'", 'did you mean scale'],
        ),
        (
            dict(**GUIDED, guidance=dict(type='ClassifierGuidance', intervall=(0, 9))),
            ["ClassifierGuidance takes no 'intervall'", 'did you mean interval'],
        ),
        (
            dict(**GUIDED, guidance=dict(type='ClassifierGuidance', scale=INF)),
            ['scale of ClassifierGuidance is a finite number, not inf'],
        ),
        (
            dict(**GUIDED, guidance=dict(type='ClassifierGuidance', every=True)),
            ['every=k', 'not True'],
        ),
        (
            dict(**GUIDED, guidance=dict(type='ClassifierGuidance', interval=('a', 'b'))),
            ['interval is (t_low, t_high)'],
        ),
        (
            dict(**GUIDED, guidance=dict(type='ClassifierGuidance', schedule=3)),
            ["'linear'", 'or a function, not 3'],
        ),
        (dict(**GUIDED, classifier_scale=NAN), ['classifier_scale is a finite number, not nan']),
        (dict(**GUIDED, classifier_scale=INF), ['classifier_scale is a finite number, not inf']),
        (dict(**GUIDED, classifier_scale='4'), ["classifier_scale is a finite number, not '4'"]),
        (dict(**GUIDED, classifier_scale=True), ['classifier_scale', 'not True']),
        (dict(unet=dict(num_classes=0)), ['num_classes is', 'not 0']),
        (dict(unet=dict(num_classes=True)), ['num_classes is', 'not True']),
        (dict(unet=dict(in_channels=0)), ['in_channels of ADMUNet', 'not 0']),
        (dict(unet=dict(out_channels=0)), ['out_channels of ADMUNet', 'not 0']),
        (dict(unet=dict(model_channels=32.0)), ['model_channels of ADMUNet', 'not 32.0']),
        (dict(unet=dict(image_size=-8)), ['image_size of ADMUNet', 'not -8']),
        (dict(unet=dict(num_res_blocks='2')), ['num_res_blocks of ADMUNet', "not '2'"]),
        (dict(classifier={**CLASSIFIER, 'out_channels': 0}), ['out_channels of ADMClassifier']),
        (dict(unet=dict(type='ADMUnet')), ["no type 'ADMUnet'", 'did you mean ADMUNet']),
        (dict(diffusion_scheduler=dict(type='DDIMSchedular')), ['did you mean DDIMScheduler']),
        (dict(diffusion_scheduler={}), ['has a type']),
        (
            dict(diffusion_scheduler=dict(type='DDIMScheduler', num_train_timesteps=0)),
            ['num_train_timesteps', 'not 0'],
        ),
        (
            dict(diffusion_scheduler=dict(type='EDMHeunScheduler', sigma_max=INF)),
            ['EDMHeunScheduler', 'finite, not inf'],
        ),
        (dict(reuse_every=0), ['every k-th step', 'not 0']),
        (dict(num_inference_steps=0), ['Cannot read 0']),
    ],
)
def test_a_model_of_nonsense_is_not_built(changes, words):
    refused(lambda: build_model(**changes), *words)


@pytest.fixture(scope='module')
def model():
    return build_model(classifier=CLASSIFIER)


@pytest.mark.parametrize(
    ('arguments', 'words'),
    [
        (dict(labels=[True]), ['a label is the number of a class, not True']),
        (dict(labels=True), ['a label is the number of a class, not True']),
        (dict(labels=[1.5]), ['a label is the number of a class, not 1.5']),
        (dict(labels=1.5), ['a label is the number of a class, not 1.5']),
        (dict(labels=torch.tensor([1.0])), ['a label is the number of a class, not 1.0']),
        (dict(labels=[[1, 2]]), ['a label is the number of a class, not [1, 2]']),
        (dict(labels=[10]), ['label 10 is out of range', '0 to 9']),
        (dict(labels=[-1]), ['label -1 is out of range', '0 to 9']),
        (dict(seeds=[1.5]), ['a seed is a whole number', 'not 1.5']),
        (dict(seeds=True), ['a seed is a whole number', 'not True']),
        (dict(seeds='7'), ['a seed is a whole number', "not '7'"]),
        (dict(seeds=2**32), ['a seed is a whole number', f'not {2**32}']),
        (dict(batch_size=0), ['batch_size is the number of samples, not 0']),
        (dict(batch_size=True), ['batch_size is the number of samples, not True']),
        (dict(batch_size=2.0), ['batch_size is the number of samples, not 2.0']),
        (dict(labels=1, classifier_scale=INF), ['scale of guidance is a finite number', 'inf']),
        (dict(labels=[1, 2], classifier_scale=[1, NAN]), ['finite number', 'nan']),
        (dict(labels=1, classifier_scale='strong'), ['finite number', "'strong'"]),
        (dict(labels=1, classifier_scale=True), ['finite number', 'True']),
        (dict(labels=1, classifier_scale=1e39), ['finite number', '1e+39']),
        (dict(num_inference_steps=0), ['Cannot read 0']),
        (dict(num_inference_steps=True), ['Cannot read', 'True']),
        (dict(num_inference_steps=2.5), ['Cannot read 2.5']),
        (dict(num_inference_steps='fast'), ["Cannot read 'fast'"]),
        (dict(num_inference_steps=[]), ['Cannot read []']),
        (dict(num_inference_steps=10**9), ['1000000000 steps']),
        (dict(return_trajectory=0), ['a trajectory keeps', 'not 0']),
        (dict(return_trajectory=1.5), ['a trajectory keeps', 'not 1.5']),
        (dict(skip_steps=-1), ['skip_steps', 'not -1']),
        (dict(skip_steps=0.5), ['skip_steps', 'not 0.5']),
        (dict(reuse_every=0), ['every k-th step', 'not 0']),
        (dict(scheduler_kwargs=dict(type='DDIM')), ["no type 'DDIM'", 'DDIMScheduler']),
    ],
)
def test_nonsense_is_not_sampled(model, arguments, words, monkeypatch):
    monkeypatch.setattr(model.unet, 'forward', None)  # before the first step
    refused(lambda: model.infer(**arguments), *words)


@pytest.mark.parametrize(
    ('arguments', 'words'),
    [
        (dict(labels=True), ['a label is the number of a class, not True']),
        (dict(labels=['3', 1.5]), ['a label is the number of a class, not 1.5']),
        (dict(labels=[[3]]), ['a label is the number of a class, not [3]']),
        (dict(labels=''), ["no class is called ''"]),
        (dict(labels=[]), ['labels is empty']),
        (dict(num_samples=0), ['num_samples is how many samples to make, not 0']),
        (dict(num_samples=True), ['num_samples', 'not True']),
        (dict(num_samples='8'), ['num_samples', "not '8'"]),
        (dict(num_samples=10**12, seed=0), ['seeds go up to', 'take fewer']),
        (dict(batch_size=0.5), ['batch_size', 'not 0.5']),
        (dict(scheduler='dimm'), ["no scheduler is called 'dimm'"]),
    ],
)
def test_nonsense_is_not_sampled_in_batches(model, arguments, words, monkeypatch):
    monkeypatch.setattr(model.unet, 'forward', None)
    refused(lambda: sample(model, **arguments), *words)


def test_a_weight_of_a_sum_is_finite():
    parts = [ClassifierGuidance(lambda x, t: x)]
    refused(lambda: SumGuidance(parts, weights=[NAN]), 'a weight of SumGuidance', 'not nan')


def test_numbers_of_numpy_are_numbers(model):
    asked = dict(labels=np.array([1, 2]), seeds=np.array([3, 4]), classifier_scale=np.float32(0))
    assert model.infer(batch_size=np.int64(2), **asked)['seeds'] == [3, 4]


@pytest.mark.parametrize(
    ('text', 'words'),
    [
        ('model = dict(\n', ['config.py, line 1: SyntaxError', 'never closed']),
        ("_base_ = ['base.py']\n", ['base.py, line 2: SyntaxError']),
        ("_base_ = ['nowhere.py']\n", ['nowhere.py']),
        ('\nmodel = dict(type=ADM)\n', ["config.py, line 2: NameError: name 'ADM'"]),
        ('labels = 3\n', ['config.py has no model', 'model=dict(type=...)']),
        ("model = 'adm'\n", ['config.py has no model']),
        ("custom_imports = dict(imports=['nowhere_to_be'])\n", ['config.py', 'nowhere_to_be']),
    ],
)
def test_a_config_that_cannot_be_read_is_named(tmp_path, text, words):
    (tmp_path / 'base.py').write_text('x = 1\ny = (\n')
    (tmp_path / 'config.py').write_text(text)
    refused(lambda: init_model(tmp_path / 'config.py'), *words)


def test_a_config_without_a_model_says_so():
    refused(lambda: init_model(Config(dict(labels=3))), 'has no model')


@pytest.mark.parametrize(
    ('place', 'value', 'words'),
    [
        ('train_cfg.max_iters', 0, ['max_iters is in iterations, from 1 on, not 0']),
        ('train_cfg.max_iters', '9', ['max_iters', "not '9'"]),
        ('train_cfg.val_interval', 0, ['val_interval is in iterations, from 1 on, not 0']),
        ('train_cfg.type', 'TrainLoop', ["no type 'TrainLoop'", 'mean TrainingLoop']),
        ('default_hooks.checkpoint.interval', 0, ['interval of checkpoints', 'not 0']),
        ('default_hooks.checkpoint.interval', 0.5, ['interval of checkpoints', 'not 0.5']),
        ('default_hooks.checkpoint.type', 'WholeCheckpoint', ['did you mean WholeCheckpoints']),
        ('custom_hooks.0.type', 'StopOnNan', ['did you mean StopOnNaN']),
        ('optim_wrapper.optimizer.type', 'AdmaW', ["no type 'AdmaW'", 'mean AdamW']),
        ('optim_wrapper.type', 'OptimWraper', ['did you mean OptimWrapper']),
        ('param_scheduler.type', 'CosineAnealingLR', ['did you mean CosineAnnealingLR']),
        ('model.type', 'AblatedDifusionModel', ['did you mean AblatedDiffusionModel']),
        ('model.timestep_sampler.type', 'loss_second', ['loss_second']),
        ('train_dataloader.dataset.dataset.type', 'HandwritenDigits', ['HandwrittenDigits']),
        ('train_dataloader.sampler.type', 'StreamSampeler', ['did you mean StreamSampler']),
    ],
)
def test_a_training_of_nonsense_does_not_begin(tmp_path, place, value, words):
    config = training_config(tmp_path)
    config.merge_from_dict({place: value})
    refused(lambda: TrainingRunner.from_cfg(config).train(), *words)
