"""Features of classifiers; those of the Inception network have a file of their own."""

import re

import numpy as np
import pytest
import torch
import torchvision
from mmengine import MODELS

from mmagic_adm.checkpoints import CheckpointError
from mmagic_adm.evaluation import ClassifierFeatures, TorchvisionFeatures
from mmagic_adm.files.download import BUNDLED, fetch
from mmagic_adm.networks import ADMClassifier
from tests.evaluation.tiny import blocky_images
from tests.reference import fill_by_name


def images(count=2, size=32):
    return torch.from_numpy(blocky_images(count, size=size)).permute(0, 3, 1, 2)


def saved(network, path):
    torch.save(network.state_dict(), path)
    return path


class TestClassifierFeatures:
    CLASSIFIER = dict(
        image_size=16,
        model_channels=32,
        out_channels=7,
        num_res_blocks=1,
        attention_resolutions=(8,),
        channel_mult=(1, 2),
        num_head_channels=32,
    )

    @pytest.fixture
    def classifier(self):
        return fill_by_name(ADMClassifier(**self.CLASSIFIER)).eval()

    @pytest.fixture
    def weights(self, classifier, tmp_path):
        return saved(classifier, tmp_path / 'classifier.pt')

    def extractor(self, weights, **kwargs):
        config = dict(type='ADMClassifier', **self.CLASSIFIER)
        return ClassifierFeatures(config, weights, **kwargs)

    def test_the_classifier_is_asked_about_images_without_noise(self, classifier, weights):
        features = self.extractor(weights)(images(size=16))
        with torch.no_grad():
            expected = classifier(images(size=16) / 127.5 - 1, torch.zeros(2))
        torch.testing.assert_close(features['logits'], expected)
        assert features['pool'].shape == (2, 64)

    def test_another_layer_can_be_compared(self, weights):
        extractor = self.extractor(weights, layer='input_blocks.0')
        assert extractor(images(size=16))['pool'].shape == (2, 32)
        assert extractor.identity() != self.extractor(weights).identity()
        assert extractor.identity() == self.extractor(weights, layer='input_blocks.0').identity()

    def test_images_of_another_size_are_resized(self, weights):
        assert self.extractor(weights)(images(size=32))['logits'].shape == (2, 7)

    def test_weights_that_do_not_fit_are_refused(self, weights):
        other = dict(type='ADMClassifier', **{**self.CLASSIFIER, 'out_channels': 9})
        with pytest.raises(CheckpointError, match='does not fit this ADMClassifier'):
            ClassifierFeatures(other, weights)


class TestPlainClassifierFeatures:
    JUDGE = dict(
        type='PlainClassifierFeatures',
        _scope_='mmagic_adm',
        classifier=dict(type='PlainClassifier'),
        weights='bundled://digits-16x16_judge.safetensors',
    )

    def test_the_judge_knows_the_scans_it_was_trained_on(self):
        # The scans that ship as the reference of the bundled digits.
        with np.load(fetch('bundled://digits-16x16_held-out.npz')) as file:
            scans = torch.from_numpy(file['arr_0']).permute(0, 3, 1, 2)
            labels = torch.from_numpy(file['arr_1'])
        features = MODELS.build(self.JUDGE).extract(scans)
        assert features['pool'].shape == (599, 64)
        assert (features['logits'].argmax(dim=1) == labels).float().mean() > 0.99

    def test_a_file_that_comes_with_the_package_is_found_by_name(self):
        assert fetch('bundled://MODEL_CARD.md').parent == BUNDLED

    def test_one_that_does_not_is_named(self):
        with pytest.raises(RuntimeError, match=r'nothing\.npz does not exist'):
            fetch('bundled://nothing.npz')


class TestTorchvisionFeatures:
    @pytest.fixture
    def weights(self, tmp_path):
        network = fill_by_name(torchvision.models.squeezenet1_1())
        return saved(network, tmp_path / 'squeezenet.pth')

    def test_features_are_the_named_layers_of_the_normalised_image(self, weights):
        extractor = TorchvisionFeatures('squeezenet1_1', 'features', weights, image_size=32)
        features = extractor(images())

        network = torchvision.models.squeezenet1_1().eval()
        network.load_state_dict(torch.load(weights))
        normalise = torchvision.transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
        x = normalise(images() / 255)
        with torch.no_grad():
            torch.testing.assert_close(features['pool'], network.features(x).mean((2, 3)))
            torch.testing.assert_close(features['logits'], network(x))

    def test_images_are_resized_to_what_the_network_knows(self, weights):
        extractor = TorchvisionFeatures('squeezenet1_1', 'features', weights, image_size=64)
        assert extractor(images(size=32))['pool'].shape == (2, 512)
        assert extractor.predicts_labels
        assert not extractor.published_as

    def test_features_of_another_layer_or_size_are_others(self, weights):
        settings = [('features', 64), ('features.0', 64), ('features', 32)]
        extractors = [
            TorchvisionFeatures('squeezenet1_1', layer, weights, size) for layer, size in settings
        ]
        assert len({extractor.identity() for extractor in extractors}) == 3

    def test_torchvisions_own_weights_go_by_their_names(self, weights, monkeypatch):
        asked = []

        def fetch(source):
            asked.append(source)
            return weights

        monkeypatch.setattr('mmagic_adm.checkpoints.torchvision.fetch', fetch)
        TorchvisionFeatures('squeezenet1_1', 'features', 'IMAGENET1K_V1')
        TorchvisionFeatures('squeezenet1_1', 'features')
        assert asked == [torchvision.models.SqueezeNet1_1_Weights.DEFAULT.url] * 2

    def test_densenets_are_loaded_as_they_were_released(self, tmp_path):
        state = torchvision.models.densenet121().state_dict()
        names = {key: re.sub(r'(denselayer\d+\.\w+?)(\d)\.', r'\1.\2.', key) for key in state}
        assert 'features.denseblock1.denselayer1.norm.1.weight' in names.values()
        torch.save({names[key]: state[key] for key in state}, tmp_path / 'densenet.pth')
        loaded = TorchvisionFeatures('densenet121', 'features', tmp_path / 'densenet.pth')
        found = loaded.network.state_dict()
        assert all(torch.equal(found[key].cpu(), state[key]) for key in state)

    def test_googlenet_is_told_of_the_images_normalisation(self, tmp_path):
        network = torchvision.models.googlenet(init_weights=False)
        path = saved(network, tmp_path / 'googlenet.pth')
        assert TorchvisionFeatures('googlenet', 'avgpool', path).network.transform_input

    def test_a_network_that_torchvision_does_not_have_is_refused(self):
        with pytest.raises(ValueError, match="no classifier called 'resnet5000'; did you mean"):
            TorchvisionFeatures('resnet5000', 'avgpool')

    def test_weights_of_another_network_are_refused(self, weights):
        with pytest.raises(CheckpointError, match='does not hold the weights of a squeezenet1_0'):
            TorchvisionFeatures('squeezenet1_0', 'features', weights)
