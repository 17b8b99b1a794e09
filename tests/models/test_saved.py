"""Models that are saved whole, and come back from a folder or from the Hub."""

import json

import huggingface_hub.constants
import pytest
import torch
from mmengine import MODELS

from mmagic_adm.apis import init_model
from mmagic_adm.apis.models import model_config
from mmagic_adm.checkpoints import CheckpointError, hub
from mmagic_adm.checkpoints.diffusers_folder import write_pipeline
from mmagic_adm.models import AblatedDiffusionModel
from mmagic_adm.models.configs import find_config
from tests.checkpoints.hub_server import COMMIT, NAME, Hub
from tests.tiny import CLASSIFIER, UNET, build_model
from tests.tiny import model_config as tiny_config
from tests.toolbox import newer_hub

GUIDED = dict(classifier=CLASSIFIER, classifier_scale=2.0)


@pytest.fixture(scope='module')
def saved(tmp_path_factory):
    """A guided model, and the folder that it was saved to."""
    model = build_model(**GUIDED)
    folder = tmp_path_factory.mktemp('saved') / 'tiny'
    model.save_pretrained(folder, figures={'FID': 3.14}, seeds='0-49999', licence='MIT')
    return model, folder


@pytest.fixture
def server(saved, monkeypatch, tmp_path):
    """The same folder as a repository of a Hub."""
    served = Hub(saved[1])
    constants = huggingface_hub.constants
    monkeypatch.setattr(constants, 'ENDPOINT', served.url)
    template = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace('https://huggingface.co', served.url)
    monkeypatch.setattr(constants, 'HUGGINGFACE_CO_URL_TEMPLATE', template)
    monkeypatch.setattr(constants, 'HF_HUB_CACHE', str(tmp_path / 'cache'))
    yield served
    served.server.shutdown()
    served.server.server_close()


def samples_of(model):
    return model.infer(labels=[1, 2], seeds=[3, 4], num_inference_steps=2)['samples']


def test_a_model_comes_back_from_its_folder(saved):
    model, folder = saved
    expected = samples_of(model)
    for again in (init_model(folder), AblatedDiffusionModel.from_pretrained(folder)):
        assert torch.equal(samples_of(again), expected)
    # What is changed on the way, and what is saved of what was loaded.
    changed = init_model(folder, classifier_scale=0.0)
    assert changed.classifier_scale == 0.0
    card = (folder / 'README.md').read_text()
    for line in ('license: mit', '| FID | 3.14 |', '| steps | 4 |', '0-49999', '| classes | 10 |'):
        assert line in card
    # What commands write down of a model.
    assert model_config(find_config(folder))['unet']['image_size'] == 8
    with pytest.raises(CheckpointError, match='exists; choose another name'):
        again.save_pretrained(folder)


def test_what_a_config_cannot_say_is_not_saved(tmp_path):
    model = MODELS.build(tiny_config())
    other = AblatedDiffusionModel(model.unet, dict(type='DDIMScheduler'))
    with pytest.raises(CheckpointError, match='a part already built'):
        other.save_pretrained(tmp_path / 'out')
    assert not list(tmp_path.iterdir())


def test_a_folder_with_other_things_in_it_is_not_replaced(tmp_path):
    model = MODELS.build(tiny_config())
    folder = model.save_pretrained(tmp_path / 'out')
    model.save_pretrained(folder, overwrite=True)
    (folder / 'thesis.txt').write_text('precious')
    with pytest.raises(CheckpointError, match=r'holds thesis\.txt too'):
        model.save_pretrained(folder, overwrite=True)
    assert (folder / 'thesis.txt').read_text() == 'precious'
    assert [path.name for path in tmp_path.iterdir()] == ['out']


@pytest.mark.parametrize('stranger', ['os.system', 'ToyModel', 'builtins.eval'])
def test_a_config_that_names_other_classes_is_refused(tmp_path, stranger):
    folder = MODELS.build(tiny_config()).save_pretrained(tmp_path / 'out')
    file = folder / 'config.json'
    config = json.loads(file.read_text())
    for whole in ({**config, 'type': stranger}, {**config, 'unet': {'type': stranger}}):
        file.write_text(json.dumps(whole))
        with pytest.raises(CheckpointError, match=f'was run: it asks for {stranger!r}'):
            init_model(folder)


@newer_hub
def test_a_repository_is_used_by_its_address_and_pinned(saved, server, monkeypatch):
    said = []
    monkeypatch.setattr(hub, 'print_log', lambda text, *_: said.append(text))
    model = init_model(f'hf://{NAME}')
    assert torch.equal(samples_of(model), samples_of(saved[0]))
    assert f'hf://{NAME}@{COMMIT} now' in said[0]
    init_model(f'hf://{NAME}@{COMMIT}')
    assert len(said) == 1
    # Once it is there, it is there without the Hub, and a damaged file is noticed.
    monkeypatch.setattr(huggingface_hub.constants, 'HF_HUB_OFFLINE', True)
    asked = len(server.asked)
    init_model(f'hf://{NAME}')
    assert len(server.asked) == asked
    snapshot = hub.local_path(f'hf://{NAME}')
    file = (snapshot / 'model.safetensors').resolve()
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(CheckpointError, match=r'model.safetensors of hf://.* damaged in the cache'):
        init_model(f'hf://{NAME}')


@newer_hub
@pytest.mark.parametrize(
    ('refusal', 'complaint'),
    [
        ((403, 'GatedRepo'), 'has to be accepted: do so on https://huggingface.co/someone/digits'),
        ((401, 'RepoNotFound'), 'is missing or private: see if the name is right, or log in'),
        ((404, 'RevisionNotFound'), 'has no such revision'),
    ],
)
def test_what_the_hub_refuses_is_one_line(server, refusal, complaint):
    server.refusal = refusal
    with pytest.raises(CheckpointError, match=complaint) as caught:
        init_model(f'hf://{NAME}@v1')
    assert '\n' not in str(caught.value)


def test_what_the_network_refuses_is_one_line(monkeypatch):
    def refuse(*_, **__):
        raise ConnectionError('no way there\nafter 5 tries')

    monkeypatch.setattr(huggingface_hub, 'snapshot_download', refuse)
    with pytest.raises(CheckpointError, match=f'^hf://{NAME}: no way there$'):
        init_model(f'hf://{NAME}')


@newer_hub
def test_what_is_not_in_the_cache_is_not_there_offline(server, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, 'HF_HUB_OFFLINE', True)
    with pytest.raises(CheckpointError, match='is not in the cache, and the Hub cannot be reached'):
        init_model(f'hf://{NAME}')
    assert not server.asked


def test_an_address_is_a_user_and_a_name():
    with pytest.raises(CheckpointError, match='no address of the Hub'):
        init_model('hf://digits')


@newer_hub
def test_a_model_is_put_on_the_hub_with_its_card(monkeypatch):
    made, files = [], {}

    class Api:
        def create_repo(self, name, private, exist_ok):
            made.append((name, private, exist_ok))

        def upload_folder(self, repo_id, folder_path, commit_message):
            files.update({path.name: path.read_bytes() for path in folder_path.iterdir()})

        def model_info(self, name):
            return huggingface_hub.ModelInfo(id=name, sha=COMMIT)

    monkeypatch.setattr(huggingface_hub, 'HfApi', Api)
    model = MODELS.build(tiny_config())
    address = model.push_to_hub(NAME, private=True, figures={'FID': 1})
    assert address == f'hf://{NAME}@{COMMIT}'
    assert made == [(NAME, True, True)]
    assert files.keys() == {'config.json', 'model.safetensors', 'README.md'}
    assert b'# digits' in files['README.md']
    assert b'| FID | 1 |' in files['README.md']


def test_networks_of_diffusers_become_models(tmp_path):
    model = build_model(diffusion_scheduler=dict(type='DDPMScheduler'))
    parts = dict(unet=UNET, diffusion_scheduler=dict(type='DDPMScheduler'))
    folder = write_pipeline(tmp_path / 'out', parts, model.unet.state_dict())
    again = init_model(folder)
    assert torch.equal(samples_of(again), samples_of(model))
    assert again.num_inference_steps == 250
