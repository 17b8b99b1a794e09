"""Many samples from a model."""

import io
from types import SimpleNamespace

import pytest
import torch
from tqdm import tqdm

from mmagic_adm.apis import sample
from mmagic_adm.apis.sampling import (
    _counting,
    resolve_labels,
    sample_in_batches,
    scheduler_config,
)
from mmagic_adm.registry import DIFFUSION_SCHEDULERS
from mmagic_adm.schedulers import DDIMScheduler
from tests.tiny import build_model

CLOSE = dict(atol=1e-5, rtol=1e-4)


@pytest.fixture(scope='module')
def model():
    return build_model(num_inference_steps=2)


def test_one_sample_for_each_label(model):
    result = sample(model, labels=[3, '7'], seed=5)
    assert result['labels'].tolist() == [3, 7]
    assert result['seeds'] == [5, 6]
    torch.testing.assert_close(
        result['samples'], model.infer(labels=[3, 7], seeds=5)['samples'], **CLOSE
    )


def test_labels_repeat_over_more_samples(model):
    assert sample(model, labels=[3, 7], num_samples=5)['labels'].tolist() == [3, 7, 3, 7, 3]


@pytest.mark.parametrize('batch_size', [1, 2, 5])
def test_the_batch_size_changes_nothing(model, batch_size):
    whole = sample(model, num_samples=5, seed=1, batch_size=8)
    parts = sample(model, num_samples=5, seed=1, batch_size=batch_size)
    assert torch.equal(whole['labels'], parts['labels'])
    torch.testing.assert_close(whole['samples'], parts['samples'], **CLOSE)


def test_names_are_imagenets_where_there_are_a_thousand_classes():
    big = build_model(unet=dict(num_classes=1000))
    assert resolve_labels(big, ['hamster', 207, '1']) == [333, 207, 1]


class TestMemory:
    @pytest.fixture
    def small_memory(self, monkeypatch, model):
        """A model that fails on more than two samples, as the allocators do."""
        sizes, infer = [], type(model).infer

        def limited(self, *args, seeds, **kwargs):
            sizes.append(len(seeds))
            if len(seeds) > 2:
                raise torch.OutOfMemoryError('CUDA out of memory.')
            return infer(self, *args, seeds=seeds, **kwargs)

        monkeypatch.setattr(type(model), 'infer', limited)
        return sizes

    def test_a_batch_that_does_not_fit_is_halved_with_a_word(self, model, small_memory, capsys):
        batches = list(sample_in_batches(model, range(6), seeds=range(6), batch_size=6))
        assert small_memory == [6, 3, 1, 1, 1, 1, 1, 1]
        assert [i for indices, _ in batches for i in indices] == list(range(6))
        assert capsys.readouterr().out.splitlines() == [
            'A batch of 6 does not fit into memory; going on with 3',
            'A batch of 3 does not fit into memory; going on with 1',
        ]

    def test_a_single_sample_that_does_not_fit_is_an_error(self, model, monkeypatch):
        def fails(self, **kwargs):
            raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")

        monkeypatch.setattr(type(model), 'infer', fails)
        with pytest.raises(RuntimeError, match='allocate memory'):
            list(sample_in_batches(model, range(3), seeds=range(3), batch_size=2))

    def test_other_errors_are_not_retried(self, model, monkeypatch):
        def fails(self, **kwargs):
            raise RuntimeError('something else')

        monkeypatch.setattr(type(model), 'infer', fails)
        with pytest.raises(RuntimeError, match='something else'):
            list(sample_in_batches(model, range(4), seeds=range(4)))


def test_schedulers_have_short_names():
    assert scheduler_config('DDPM')['type'] == 'DDPMScheduler'
    assert scheduler_config('dpmsolver++')['type_'] == 'DPMSolverMultistepScheduler'
    assert scheduler_config('KDPM2DiscreteScheduler')['type_'] == 'KDPM2DiscreteScheduler'
    assert scheduler_config(None) is None


class TestBadInput:
    @pytest.mark.parametrize(
        ('arguments', 'message'),
        [
            (dict(labels=['cat']), "no class is called 'cat'"),
            (dict(labels=[10]), 'label 10 is out of range'),
            (dict(labels=[]), 'labels is empty'),
            (dict(num_samples=0), 'num_samples .* not 0'),
            (dict(num_samples=1, batch_size=0), 'batch_size .* not 0'),
            (dict(num_samples=1, scheduler='dddim'), "no scheduler is called 'dddim'"),
        ],
    )
    def test_arguments(self, model, arguments, message):
        with pytest.raises(ValueError, match=message):
            sample(model, **arguments)

    def test_labels_without_classes(self):
        with pytest.raises(ValueError, match='no classes'):
            sample(build_model(unet=dict(num_classes=None)), labels=[1])


class TestSchedulersByName:
    def test_ours_come_before_diffusers_of_the_same_name(self):
        assert scheduler_config('DDIMScheduler') == dict(type='DDIMScheduler')
        assert scheduler_config('DDPMScheduler') == dict(type='DDPMScheduler')
        assert scheduler_config('EDMHeunScheduler') == dict(type='EDMHeunScheduler')

    def test_one_of_ones_own_is_found(self):
        @DIFFUSION_SCHEDULERS.register_module(force=True)
        class PatientScheduler(DDIMScheduler):
            """Somebody's own."""

        try:
            assert scheduler_config('PatientScheduler') == dict(type='PatientScheduler')
        finally:
            DIFFUSION_SCHEDULERS.module_dict.pop('PatientScheduler')

    def test_others_are_diffusers(self):
        expected = dict(type='DiffusersScheduler', type_='KDPM2DiscreteScheduler')
        assert scheduler_config('KDPM2DiscreteScheduler') == expected

    def test_edms_by_its_short_name_samples_a_model_of_timesteps(self, model):
        samples = sample(model, labels=3, seed=1, steps=3, scheduler='edm')['samples']
        assert samples.isfinite().all()


@pytest.mark.parametrize('images', [1, 3, 8])
def test_a_bar_is_never_past_its_end_for_all_that_is_rounded(images):
    for total in range(1, 60):
        bar = tqdm(total=images, file=io.StringIO())
        watch = _counting(bar, images, None)
        for _ in range(total):
            watch(SimpleNamespace(total=total))
        assert images - 1e-9 < bar.n <= images
