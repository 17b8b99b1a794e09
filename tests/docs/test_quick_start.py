"""The quick start of configs/guided_diffusion/README.md runs as printed.

The configs are the real ones with their networks made small, and the addresses lead to local files
in the layout of the released ones.
"""

from collections import OrderedDict

import pytest
import torch
from mmengine.registry import DefaultScope

from mmagic_adm.apis import imagenet_class_names
from mmagic_adm.checkpoints import load_network, write_checkpoint
from tests.docs.snippets import code_blocks
from tests.reference import REPOSITORY, fill_by_name
from tests.tiny import CLASSIFIER, UNET, build_model

FOLDER = REPOSITORY / 'configs' / 'guided_diffusion'
CLASSES = 1000


@pytest.fixture(scope='module')
def files(tmp_path_factory):
    """A guided and a plain checkpoint of small networks, in MMagic's layout."""
    folder = tmp_path_factory.mktemp('weights')
    model = build_model(
        unet=dict(num_classes=CLASSES), classifier={**CLASSIFIER, 'out_channels': CLASSES}
    )
    guided, plain = folder / 'guided.pth', folder / 'plain.pth'
    write_checkpoint(model.state_dict(), guided, 'mmagic')
    unet = {f'unet.{key}': value for key, value in model.unet.state_dict().items()}
    write_checkpoint(unet, plain, 'mmagic')
    return guided, plain


@pytest.fixture
def small_world(tmp_path, monkeypatch, files):
    """A working directory with small versions of the configs, and no need for a GPU."""
    configs = tmp_path / 'configs' / 'guided_diffusion'
    configs.mkdir(parents=True)
    unet = {key: value for key, value in UNET.items() if key not in ('type', 'num_classes')}
    classifier = {k: v for k, v in CLASSIFIER.items() if k not in ('type', 'out_channels')}
    for name, changes in (
        ('adm_ddim250_8xb32_imagenet-64x64', dict(unet=unet)),
        ('adm-g_ddim25_8xb32_imagenet-64x64', dict(unet=unet, classifier=classifier)),
    ):
        original = FOLDER / f'{name}.py'
        body = f'_base_ = [{str(original)!r}]\nmodel = {changes!r}\n'
        (configs / original.name).write_text(body)
    monkeypatch.chdir(tmp_path)
    if not torch.cuda.is_available():
        monkeypatch.setattr('mmagic_adm.models.AblatedDiffusionModel.cuda', lambda self: self)
    # As in a new process; what a snippet sets is gone after it.
    monkeypatch.setattr(DefaultScope, '_instance_dict', OrderedDict())


def with_local_files(code, files):
    guided, plain = files
    base = 'https://download.openmmlab.com/mmediting/guided_diffusion/'
    code = code.replace(f'{base}adm-g_8xb32_imagenet-64x64-2c0fbeda.pth', str(guided))
    code = code.replace(f'{base}adm-u-cvt-rgb_8xb32_imagenet-64x64-7ff0080b.pth', str(plain))
    assert 'https://' not in code
    return code


def unet_arguments():
    return {k: v for k, v in {**UNET, 'num_classes': CLASSES}.items() if k != 'type'} | dict(
        use_new_attention_order=True
    )


@pytest.mark.usefixtures('small_world')
def test_both_snippets_run_line_for_line(files):
    code = with_local_files(code_blocks(FOLDER / 'README.md')[0], files)
    code = code.replace('num_inference_steps=250', 'num_inference_steps=5')
    first, second = code.split('# sampling without classifier guidance')
    names: dict = {}
    exec(first, names)
    hamsters = names['samples']
    assert hamsters.shape == (4, 3, 8, 8)
    assert names['model'].num_inference_steps == 25
    weights = fill_by_name(type(names['model'].unet)(**unet_arguments())).state_dict()
    for key, value in names['model'].unet.state_dict().items():
        torch.testing.assert_close(value.cpu(), weights[key])

    exec(second, names)
    assert names['samples'].shape == (4, 3, 8, 8)
    assert names['model'].classifier is None
    assert names['samples'].abs().max() <= 1


def test_the_label_in_it_is_the_hamster():
    assert imagenet_class_names()[333] == 'hamster'


@pytest.mark.usefixtures('small_world')
def test_the_short_version_runs(files, monkeypatch):
    # The zoo's addresses, replaced; everything behind them is real.
    guided, _ = files

    monkeypatch.setattr('mmagic_adm.checkpoints.zoo.ZooEntry.weights', lambda self: str(guided))
    code = code_blocks(FOLDER / 'README.md')[1].replace(
        "'adm-g_ddim25_8xb32_imagenet-64x64'",
        "'configs/guided_diffusion/adm-g_ddim25_8xb32_imagenet-64x64.py'",
    )
    monkeypatch.setattr('mmagic_adm.models.adm.load_network', load_part)
    names: dict = {}
    exec(code, names)
    assert names['samples'].shape == (8, 3, 8, 8)


def load_part(network, path):
    """The zoo has a file for each network; here one file stands for both."""
    load_network(network, path, prefix='classifier' if hasattr(network, 'pool') else 'unet')
