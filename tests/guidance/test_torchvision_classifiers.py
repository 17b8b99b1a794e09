"""torchvision's classifiers by name."""

import pytest
import torch
import torchvision

from mmagic_adm.guidance import TorchvisionClassifier
from mmagic_adm.guidance.torchvision_classifiers import IMAGENET_MEAN, IMAGENET_STD, Preprocess
from tests.reference import fill_by_name

NAME = 'shufflenet_v2_x0_5'  # the smallest


@pytest.fixture(scope='module')
def trained():
    return fill_by_name(torchvision.models.get_model(NAME, num_classes=7)).eval()


@pytest.fixture(scope='module')
def weights(trained, tmp_path_factory):
    path = tmp_path_factory.mktemp('weights') / 'own.pth'
    torch.save(trained.state_dict(), path)
    return path


def test_weights_come_from_a_file(trained, weights):
    classifier = TorchvisionClassifier(NAME, weights, num_classes=7).eval()
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(classifier(images), trained(images))
    assert classifier.out_channels == 7
    assert classifier.image_size is None


def test_a_vision_transformer_takes_one_size():
    with torch.device('meta'):
        assert TorchvisionClassifier('vit_b_32', weights=None).image_size == 224


class TestPreprocess:
    def test_images_are_normalised_as_imagenets(self):
        white = Preprocess()(torch.ones(1, 3, 2, 2))[0, :, 0, 0]
        expected = (1 - torch.tensor(IMAGENET_MEAN)) / torch.tensor(IMAGENET_STD)
        torch.testing.assert_close(white, expected)

    def test_images_are_resized(self):
        resized = Preprocess(size=8, normalize=False)(torch.full((2, 3, 4, 4), 0.25))
        torch.testing.assert_close(resized, torch.full((2, 3, 8, 8), 0.25))

    def test_or_left_as_they_are(self):
        images = torch.randn(1, 3, 4, 4)
        assert Preprocess(normalize=False)(images) is images


def test_in_half_precision_it_says_about_the_same():
    torch.manual_seed(0)
    classifier = TorchvisionClassifier('resnet18', weights=None).eval()
    images = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        expected = classifier(images)
        classifier.compute_in(torch.bfloat16)
        classifier.lay_out_channels_last()
        found = classifier(images)
    assert not torch.equal(found, expected)
    torch.testing.assert_close(found.float(), expected, atol=0.05, rtol=0.05)
