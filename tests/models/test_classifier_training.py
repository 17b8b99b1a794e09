"""Classifiers learn from images as noisy as those they will judge."""

import math

import pytest
import torch
from mmagic.structures import DataSample
from mmengine.logging import MessageHub

from mmagic_adm.models.classifier_training import ClassifierTraining, hits
from mmagic_adm.models.quarter_log import ITERATIONS
from mmagic_adm.networks import ADMClassifier
from mmagic_adm.networks.plain_classifier import PlainClassifier
from tests.models.on_its_way import OnItsWay
from tests.reference import fill_by_name
from tests.tiny import CLASSIFIER

SCHEDULER = dict(type='DDIMScheduler', beta_schedule='cosine')


class Watched(torch.nn.Module):
    """A classifier that keeps what it is given and sees class 1 in everything."""

    out_channels = 4

    def forward(self, x, timesteps):
        self.x, self.timesteps = x, timesteps
        return torch.tensor([0.0, 5.0, 0.0, 0.0]) + 0 * x.flatten(1)[:, :1]


def labelled(*labels):
    samples = [DataSample() for _ in labels]
    for sample, label in zip(samples, labels, strict=True):
        sample.set_gt_label(label)
    return samples


def test_the_loss_is_the_cross_entropy_on_noised_images():
    watched = Watched()
    model = ClassifierTraining(watched, SCHEDULER)
    t, noise = torch.tensor([10, 900]), torch.randn(2, 1, 8, 8)
    model.draw = lambda images: (t, noise)
    images = torch.rand(2, 1, 8, 8)
    loss = model(images, labelled(1, 0), mode='loss')['loss']
    assert torch.equal(watched.x, model.process.add_noise(images, t, noise))
    assert torch.equal(watched.timesteps, t)
    right = math.log(math.exp(5) + 3) - 5
    assert loss.item() == pytest.approx(right + 5 / 2, rel=1e-5)


def test_accuracy_is_logged_by_quarter_of_the_noise_range():
    hub = MessageHub.get_instance('test_accuracy_by_quarter')
    model = ClassifierTraining(Watched(), SCHEDULER)
    t = torch.tensor([0, 249, 250, 999])
    model.draw = lambda images: (t, torch.zeros_like(images))
    for labels in ((1, 0, 1, 0), (1, 1, 0, 0)) * (ITERATIONS // 2):
        model(torch.zeros(4, 1, 8, 8), labelled(*labels), mode='loss')
    assert MessageHub.get_current_instance() is hub
    logged = {key: hub.get_scalar(f'train/{key}').mean() for key in ('top1_q0', 'top1_q1')}
    assert logged == {'top1_q0': 0.75, 'top1_q1': 0.5}
    assert hub.get_scalar('train/top1_q3').mean() == 0
    assert 'train/top1_q2' not in hub.log_scalars


@pytest.mark.parametrize('scheduler', [SCHEDULER, None])
def test_no_result_is_waited_for(scheduler):
    hub = MessageHub.get_instance(f'test_no_wait_{scheduler}')
    model = ClassifierTraining(PlainClassifier() if scheduler is None else Watched(), scheduler)
    images = torch.rand(4, 1, 8, 8).as_subclass(OnItsWay)
    for _ in range(ITERATIONS - 1):
        model(images, labelled(1, 1, 1, 0), mode='loss')
    assert not hub.log_scalars
    with pytest.raises(AssertionError, match='tolist waits'):
        model(images, labelled(1, 1, 1, 0), mode='loss')


def test_validation_looks_at_each_quarter_and_always_at_the_same_noise():
    watched = Watched()
    model = ClassifierTraining(watched, SCHEDULER)
    images = torch.rand(3, 1, 8, 8)
    samples = model(images, labelled(0, 1, 2), mode='predict')
    assert samples[0].logits.shape == (4, 4)
    assert (watched.timesteps >= 750).all()
    seen = watched.x
    torch.rand(3)
    model(images, labelled(0, 1, 2), mode='predict')
    assert torch.equal(watched.x, seen)


def test_a_classifier_of_clean_images_is_given_them_as_they_are():
    model = ClassifierTraining(PlainClassifier().eval(), label_smoothing=0.1)
    images, samples = torch.rand(2, 1, 16, 16), labelled(3, 4)
    expected = torch.nn.functional.cross_entropy(
        model.classifier(images), torch.tensor([3, 4]), label_smoothing=0.1
    )
    torch.testing.assert_close(model(images, samples, mode='loss')['loss'], expected)
    assert model(images, samples, mode='predict')[0].logits.shape == (1, 10)


def test_top_five_of_four_classes_is_always_right():
    logits = torch.tensor([[4.0, 3, 2, 1], [1, 2, 3, 4]])
    found = hits(logits, torch.tensor([0, 0]))
    assert found['top1'].tolist() == [1, 0]
    assert found['top5'].tolist() == [1, 1]


class TestDiscriminator:
    DISCRIMINATOR = dict(
        type='ADMDiscriminator',
        classifier=CLASSIFIER,
        num_classes=10,
        model_channels=32,
        num_head_channels=32,
    )

    @staticmethod
    def judged(*kinds):
        samples = labelled(*kinds)
        for sample in samples:
            sample.set_field(torch.tensor([3]), 'shown')
        return samples

    def test_only_its_head_learns_and_what_images_are_to_show_is_told(self):
        model = ClassifierTraining(self.DISCRIMINATOR, SCHEDULER).train()
        fill_by_name(model.classifier)
        model(torch.rand(4, 3, 8, 8), self.judged(0, 1, 0, 1), mode='loss')['loss'].backward()
        learning = {name for name, weight in model.named_parameters() if weight.grad is not None}
        assert learning == {
            name
            for name, _ in model.named_parameters()
            if not name.startswith('classifier.classifier')
        }
        assert model.classifier.head.label_emb.weight.grad[3].abs().sum() > 0
        assert not model.classifier.classifier.training

    def test_images_that_do_not_say_what_they_show_are_refused(self):
        model = ClassifierTraining(self.DISCRIMINATOR, SCHEDULER)
        with pytest.raises(ValueError, match='ADMDiscriminator is told of 10 classes'):
            model(torch.rand(2, 3, 8, 8), labelled(0, 1), mode='loss')

    def test_weights_of_what_it_looks_through_are_loaded_when_it_is_built(self, tmp_path):
        seen = fill_by_name(ADMClassifier(**{k: v for k, v in CLASSIFIER.items() if k != 'type'}))
        torch.save(seen.state_dict(), tmp_path / 'classifier.pt')
        weights = dict(classifier=str(tmp_path / 'classifier.pt'))
        model = ClassifierTraining(self.DISCRIMINATOR, SCHEDULER, weights=weights)
        found = model.classifier.classifier.out[2].c_proj.weight
        assert torch.equal(found, seen.out[2].c_proj.weight)


def test_noise_may_be_drawn_evenly_in_the_logarithm_of_sigma():
    model = ClassifierTraining(Watched(), SCHEDULER, evenly_in='log_sigma')
    torch.manual_seed(0)
    t, _ = model.draw(torch.zeros(4000, 1, 1, 1))
    log_sigma = torch.as_tensor(model.process.train_sigmas).log()
    share = (log_sigma[t] - log_sigma[0]) / (log_sigma[-1] - log_sigma[0])
    quarters = torch.histc(share.float(), 4, 0, 1) / len(t)
    torch.testing.assert_close(quarters, torch.full((4,), 0.25), rtol=0, atol=0.03)
    with pytest.raises(ValueError, match="evenly_in is 'timesteps' or 'log_sigma'"):
        ClassifierTraining(Watched(), SCHEDULER, evenly_in='sigma')
