"""A sound file of every format that is read, for :mod:`tests.files.fuzzing` to damage."""

import functools
import json

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from PIL import Image

from mmagic_adm.apis.sample_folder import SampleFolder
from mmagic_adm.checkpoints import CheckpointError, read_checkpoint, write_checkpoint
from mmagic_adm.checkpoints.loading import load_from_mmagic_adm
from mmagic_adm.checkpoints.parts import digest
from mmagic_adm.engine.sample_shards import SampleShards, Shard
from mmagic_adm.evaluation import Reference, open_images
from mmagic_adm.files.npz import read_images, write_batch
from tests.checkpoints.edm_files import snapshot, write_edm
from tests.evaluation.tiny import TinyFeatures, blocky_images
from tests.files.fuzzing import Kind

STATE = {
    f'{place}.{kind}': torch.arange(24.0).view(4, 6) / (1 + number)
    for number, place in enumerate(
        ('time_embed.0', 'time_embed.2', 'output_blocks.0.0.in_layers.0')
    )
    for kind in ('weight', 'bias')
}
LEGACY = dict(_use_new_zipfile_serialization=False)
SETTINGS = dict(model='digits', seed=3, labels=[1, 2, 3], options=dict(scale=0.5))


def _saved(folder, content, **options):
    path = folder / 'net.pth'
    torch.save(content, path, **options)
    return path


def _training():
    history = HistoryBuffer([1.0, 2.0], [1, 1])
    optimizer = dict(
        state={0: dict(step=torch.tensor(1.0), exp_avg=torch.ones(3))},
        param_groups=[dict(params=[0], lr=1e-4, betas=(0.9, 0.999))],
    )
    return dict(
        state_dict=STATE,
        meta=dict(epoch=1, cfg='model = dict(unet=dict(dropout=0.1))'),
        optimizer=optimizer,
        message_hub=dict(log_scalars={'train/loss': history}, scores=np.arange(3)),
        ema_state_dict={f'module.{key}': tensor for key, tensor in STATE.items()},
    )


EDM = {
    f'model.{place}.{kind}': torch.arange(24.0).view(4, 6)
    for place in ('map_layer0', 'enc.16x16_conv', 'enc.16x16_block0.norm0', 'out_norm')
    for kind in ('weight', 'bias')
}


def _images(folder, save=np.savez):
    save(folder / 'batch.npz', blocky_images(6), np.arange(6))
    return folder / 'batch.npz'


def _statistics(folder):
    arrays = dict(mu=np.arange(6.0), sigma=np.eye(6), network=np.array('another'))
    write_batch(folder / 'reference.npz', [blocky_images(4)], 4, arrays)
    return folder / 'reference.npz'


def _shard(folder):
    numbers = np.arange(4)
    return SampleShards(folder).write(Shard(blocky_images(4), numbers, numbers + 9, numbers))


def _picture(folder, ending):
    Image.fromarray(blocky_images(1, size=32)[0]).save(folder / f'a.{ending}')
    return folder / f'a.{ending}'


def _text(folder, name):
    (folder / name).write_text(json.dumps(SETTINGS, indent=2))
    return folder / name


def _tensors(path):
    checkpoint = read_checkpoint(path)
    return digest(checkpoint.state_dict), checkpoint.metadata


def _all(path):
    content = load_from_mmagic_adm(str(path))
    history = content['message_hub']['log_scalars']['train/loss']
    return digest(content['state_dict']), str(content['optimizer']), str(history.data)


def _statistics_of(path):
    return [part.tolist() for part in Reference(path).statistics('pool', TinyFeatures())]


def _sample_shard(path):
    shard = SampleShards(path.parent).read(path)
    return shard and shard.checksum()


def _image_folder(path):
    return [batch.tolist() for batch in open_images(path.parent).batches(2)]


def _samples(path):
    return SampleFolder(path.parent, SETTINGS).missing(3)


def _run(path):
    return SampleShards(path.parent).claim(SETTINGS, resume=True)


ERRORS = (CheckpointError, ValueError)
KINDS = {
    'openai': Kind(lambda f: _saved(f, STATE), _tensors, True),
    'legacy': Kind(lambda f: _saved(f, STATE, **LEGACY), _tensors),
    'training': Kind(lambda f: _saved(f, _training()), _all, True),
    'training, legacy': Kind(lambda f: _saved(f, _training(), **LEGACY), _all),
    'safetensors': Kind(
        lambda f: write_checkpoint(STATE, f / 'net.safetensors', 'safetensors'), _tensors, True
    ),
    'edm': Kind(lambda f: write_edm(f / 'net.pkl', snapshot(EDM)), _tensors),
    'images': Kind(_images, lambda path: [str(part) for part in read_images(path)], True),
    'images, packed': Kind(
        lambda f: _images(f, np.savez_compressed),
        lambda path: [str(part) for part in read_images(path)],
        True,
    ),
    'statistics': Kind(_statistics, _statistics_of, True),
    'shard': Kind(_shard, _sample_shard),
    **{
        ending: Kind(functools.partial(_picture, ending=ending), _image_folder)
        for ending in ('png', 'jpg', 'bmp', 'webp', 'tiff', 'ppm')
    },
    'settings': Kind(functools.partial(_text, name='settings.json'), _samples),
    'run': Kind(functools.partial(_text, name='run.json'), _run),
}
