"""Every message in docs/troubleshooting.md is provoked, and is as the page says."""

import contextlib
import copy
import importlib
import io
import re
import shutil
import sys
import types

import numpy as np
import pytest
import torch
from mmengine import MODELS, Config

from mmagic_adm.apis import find_label, imagenet_class_names, init_model
from mmagic_adm.apis.sample_folder import SampleFolder
from mmagic_adm.apis.sampling import resolve_labels, sample_in_batches, scheduler_config
from mmagic_adm.checkpoints import load_network, write_checkpoint
from mmagic_adm.checkpoints.zoo import zoo_entries
from mmagic_adm.commands._manners import in_one_line
from mmagic_adm.datasets import LSUN, ImageFolder, check_labels
from mmagic_adm.engine import checkpoint_to_resume
from mmagic_adm.engine.sample_shards import SampleShards, Shard
from mmagic_adm.evaluation import (
    InceptionFeatures,
    PrecisionRecall,
    Reference,
    evaluate,
    open_images,
    precision_recall,
)
from mmagic_adm.evaluation.reference import features_file
from mmagic_adm.files.alone import claimed
from mmagic_adm.files.download import fetch
from mmagic_adm.files.pictures import as_pictures
from mmagic_adm.guidance import ScoreGuidance
from mmagic_adm.schedulers import DDIMScheduler, DiffusersScheduler
from tests.commands.running import fail, run_here
from tests.engine.training import resume as resume_training
from tests.engine.training import train as run_training
from tests.engine.training import training_config
from tests.evaluation.tiny import TINY, TinyFeatures, blocky_images
from tests.reference import REPOSITORY, load_manifest
from tests.tiny import CLASSIFIER, build_latent_model, build_model, model_config

PAGE = REPOSITORY / 'docs' / 'troubleshooting.md'
ENTRIES = dict(re.findall(r'^### `([^\n]+)`\n\n(.+?)(?=\n\n#|\Z)', PAGE.read_text(), re.M | re.S))
DIGITS = 'adm-g_ddim25_digits-16x16'

PROVOCATIONS = {}


def provokes(message):
    """Marks what provokes a message: it raises, or gives what is printed."""

    def mark(function):
        assert message not in PROVOCATIONS
        PROVOCATIONS[message] = function
        return function

    return mark


def said_by(provocation, folder, monkeypatch):
    """The error as a tool shows it, or what is printed."""
    try:
        printed = provocation(folder, monkeypatch)
    except Exception as error:
        return in_one_line(error)
    assert printed, 'nothing happened'
    return printed


def test_every_message_has_its_provocation_and_no_provocation_is_for_nothing():
    assert list(PROVOCATIONS) == list(ENTRIES)
    assert len(ENTRIES) == PAGE.read_text().count('\n### `')
    assert ENTRIES.keys() >= set(SLOW)


# Trainings, whose messages the tests of the engine meet as well.
SLOW = (
    'the training to resume had its data in another order (…): choose',
    'the loss is nan at iteration …',
)


@pytest.mark.parametrize(
    'message',
    [pytest.param(each, marks=[pytest.mark.slow] * (each in SLOW)) for each in ENTRIES],
)
def test_the_message_is_what_one_meets(message, tmp_path, monkeypatch):
    said = said_by(PROVOCATIONS[message], tmp_path, monkeypatch)
    pattern = '.+'.join(map(re.escape, message.split('…')))
    assert re.search(pattern, said), said


@pytest.mark.parametrize('message', ENTRIES)
def test_the_page_says_more_than_the_message(message):
    assert len(ENTRIES[message].split()) >= 10


# ---- Installing


@provokes(
    'mmagic_adm needs …, which is not installed. If you have none of the toolbox yet: pip install'
)
def no_toolbox(folder, monkeypatch):
    monkeypatch.delitem(sys.modules, 'mmagic')
    monkeypatch.setattr(sys, 'path', [])
    monkeypatch.setattr(sys, 'path_importer_cache', {})
    importlib.import_module('mmagic')


@provokes("… is a solver of diffusers, which is not installed: pip install 'mmagic-adm[solvers]'")
def no_diffusers(folder, monkeypatch):
    monkeypatch.setattr('importlib.util.find_spec', lambda name: None)
    DiffusersScheduler('UniPCMultistepScheduler')


@provokes('the Inception network is torch-fidelity\'s: pip install "mmagic-adm[evaluation]"')
def no_torch_fidelity(folder, monkeypatch):
    monkeypatch.setattr('importlib.util.find_spec', lambda name: None)
    InceptionFeatures()


@provokes('… is not installed; pip install')
def no_lmdb(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, 'lmdb', None)
    LSUN(data_root=str(folder), pipeline=[])


# ---- Weights and checkpoints


def load_into_small(path):
    load_network(build_model().unet, path)


def file_with(folder, content, name='net.pt'):
    (folder / name).write_bytes(content)
    return folder / name


@provokes('… does not exist; give the path or the URL of a checkpoint')
def missing_file(folder, monkeypatch):
    load_into_small(folder / 'none.pt')


@provokes('no weights are known for the … of this config')
def config_without_weights(folder, monkeypatch):
    init_model(Config(dict(model=model_config())))


@provokes('no weights were released for …')
def unreleased_weights(folder, monkeypatch):
    next(entry for entry in zoo_entries() if not (entry.url or entry.page)).weights()


@provokes('… does not fit this …: …; the file fits the network of configs/…')
def file_of_another_network(folder, monkeypatch):
    shapes = load_manifest('64x64_diffusion')['state_dict_shapes']
    state = {key: torch.zeros(1).expand(shape) for key, shape in shapes.items()}
    torch.save(state, folder / 'released.pt')
    load_into_small(folder / 'released.pt')


@provokes('no released network has these tensors; config_from_checkpoint() says what they make up')
def file_of_someone_else(folder, monkeypatch):
    write_checkpoint(build_model(unet=dict(num_classes=7)).unet.state_dict(), folder / 'net.pt')
    load_into_small(folder / 'net.pt')


@provokes('… cannot be reached (…); check the address and the network')
def no_network(folder, monkeypatch):
    monkeypatch.setenv('MMAGIC_ADM_CACHE', str(folder))
    monkeypatch.setenv('NO_PROXY', '*')
    fetch('http://127.0.0.1:9/net.pt')


@provokes('… is a web page, not a checkpoint')
def web_page(folder, monkeypatch):
    load_into_small(file_with(folder, b'<!DOCTYPE html><html>'))


@provokes('… is a git-lfs pointer, not a checkpoint')
def pointer(folder, monkeypatch):
    load_into_small(file_with(folder, b'version https://git-lfs.github.com/spec/v1\n'))


@provokes('… is truncated or damaged')
def half_a_file(folder, monkeypatch):
    write_checkpoint(build_model().unet.state_dict(), folder / 'whole.pt')
    content = (folder / 'whole.pt').read_bytes()
    load_into_small(file_with(folder, content[: len(content) // 2]))


@provokes('… is damaged: its name says that its SHA-256 begins with …')
def wrong_hash(folder, monkeypatch):
    load_into_small(file_with(folder, b'PK', 'net-7ff0080b.pth'))


class Harmful:
    def __reduce__(self):
        return print, ('this must not be run',)


@provokes('… was refused, and nothing of it was run')
def harmful_file(folder, monkeypatch):
    torch.save(dict(state_dict={}, extra=Harmful()), folder / 'harmful.pth')
    load_into_small(folder / 'harmful.pth')


@provokes('… exists; choose another name, or ask to overwrite it')
def file_that_is_there(folder, monkeypatch):
    write_checkpoint(build_model().unet.state_dict(), file_with(folder, b'mine'))


@provokes('… the disk is full')
def full_disk(folder, monkeypatch):
    monkeypatch.setattr(shutil, 'disk_usage', lambda path: types.SimpleNamespace(free=100))
    write_checkpoint(build_model().unet.state_dict(), folder / 'net.pt')


# ---- Configs and options


@provokes("there is no config called '…'; did you mean …")
def unknown_config(folder, monkeypatch):
    init_model('adm-g_ddim25_digits')


@provokes('there is no config file …')
def missing_config_file(folder, monkeypatch):
    init_model(folder / 'none.py')


def sample_with(*options):
    return run_here('sample', DIGITS, '--cfg-options', *options).stderr


@provokes('every change is KEY=VALUE, with its brackets closed')
def no_pair(folder, monkeypatch):
    return sample_with('model.guidance')


@provokes("…: nothing would come of it, as '…' is no part of …")
def option_without_effect(folder, monkeypatch):
    return sample_with('max_iters=10')


@provokes("…: … takes no '…'; it takes …")
def option_for_no_argument(folder, monkeypatch):
    return sample_with('model.guidence.scale=2')


@provokes('… has no guidance whose … could be changed')
def option_for_no_guidance(folder, monkeypatch):
    change = ['--cfg-options', 'model.guidance.scale=2']
    return run_here('sample', 'adm_ddim25_digits-16x16', *change).stderr


@provokes("there is no type '…' in the registry of …")
def unknown_type(folder, monkeypatch):
    MODELS.build(model_config(guidance=dict(type='MyGuidance')))


@provokes(
    'attention_resolutions … match no level; this network has feature maps of … pixels',
)
def attention_nowhere(folder, monkeypatch):
    build_model(unet=dict(attention_resolutions=(2, 3)))


# ---- Sampling


@provokes("no class is called '…'; did you mean …")
def unknown_class(folder, monkeypatch):
    find_label('hamstr', imagenet_class_names())


@provokes("several classes are called '…'; give the number")
def ambiguous_class(folder, monkeypatch):
    find_label('cardigan', imagenet_class_names())


@provokes('label … is out of range: the classes are 0 to …')
def label_too_large(folder, monkeypatch):
    resolve_labels(build_model(), [10])


@provokes('labels were given, but this model has no classes')
def label_for_no_class(folder, monkeypatch):
    resolve_labels(build_model(unet=dict(num_classes=None)), [1])


@provokes("no scheduler is called '…'; there are …")
def unknown_scheduler(folder, monkeypatch):
    scheduler_config('ddimm')


@provokes("'…' does not exist: no whole stride keeps … of … timesteps")
def uneven_steps(folder, monkeypatch):
    DDIMScheduler().set_timesteps('ddim60')


@provokes('… is not empty and not a folder of samples; choose another')
def folder_of_something_else(folder, monkeypatch):
    file_with(folder, b'', 'thesis.tex')
    SampleFolder(folder, {})


def upsampler_config():
    unet = dict(type='ADMSuperResolutionUNet')
    return {**model_config(unet=unet), 'type': 'AblatedUpsamplingModel', 'low_res_size': 4}


@provokes('… enlarges images: give them with --base-samples')
def nothing_to_enlarge(folder, monkeypatch):
    Config(dict(model=upsampler_config())).dump(folder / 'small.py')
    write_checkpoint(MODELS.build(upsampler_config()).unet.state_dict(), folder / 'small.pt')
    return fail('sample', folder / 'small.py', '--checkpoint', folder / 'small.pt')


@provokes('low_res holds images of … pixels; this model enlarges …')
def size_to_enlarge(folder, monkeypatch):
    MODELS.build(upsampler_config()).infer(torch.zeros(1, 3, 5, 5))


@provokes('an upsampler of this cascade is conditional on … classes, and its base knows none')
def class_to_be_guessed(folder, monkeypatch):
    base = model_config(unet=dict(image_size=4, attention_resolutions=(2,), num_classes=None))
    MODELS.build(
        dict(
            type='CascadedDiffusionModel',
            _scope_='mmagic_adm',
            base=base,
            upsamplers=[upsampler_config()],
        )
    ).infer()


@provokes('The model output at … holds NaN or infinity')
def overflow(folder, monkeypatch):
    model = build_model()
    torch.nn.init.constant_(model.unet.time_embed[0].weight, float('inf'))
    model.infer(labels=[1])


# ---- Guidance


@provokes('a guidance scale of … was given, but this model has neither classifier nor guidance')
def nothing_to_scale(folder, monkeypatch):
    build_model().infer(labels=[1], classifier_scale=2.0)


@provokes('the guidance takes the classifier of the model, and the model has none')
def no_classifier(folder, monkeypatch):
    build_model(guidance=dict(type='ClassifierGuidance'))


@provokes('the classifier of … tells … classes apart, the network has …')
def other_classes(folder, monkeypatch):
    build_model(classifier=dict(CLASSIFIER, out_channels=5))


@provokes('the classifier of … is for images of … pixels, the network for …')
def other_size(folder, monkeypatch):
    build_model(classifier=dict(CLASSIFIER, image_size=16, channel_mult=(1, 1, 2)))


@provokes('the autoencoder has latents of … channels, and the … is of …')
def other_autoencoder(folder, monkeypatch):
    build_latent_model(unet=dict(in_channels=3))


@provokes('images of … pixels have latents of …, and the … is of …')
def other_latents(folder, monkeypatch):
    build_latent_model(unet=dict(image_size=16))


@provokes('… clips what it predicts to [-1, 1], and latents go beyond: clip_sample=False')
def clipped_latents(folder, monkeypatch):
    build_latent_model(diffusion_scheduler=dict(clip_sample=True))


@provokes('ClassifierFreeGuidance needs a network that was trained with label dropout')
def no_null_label(folder, monkeypatch):
    build_model(guidance=dict(type='ClassifierFreeGuidance'))


@provokes('… settles a stochastic step, which … has no place for; it takes guidance that …')
def undefined_pair(folder, monkeypatch):
    rule = dict(type='PixelAsParamGuidance', variant='clsden')
    build_model(classifier=CLASSIFIER, guidance=rule)


@provokes('… pushes the sample before the denoiser sees it, which … has no place for')
def pushed_sample(folder, monkeypatch):
    source = dict(type='ClassifierGuidance')
    build_model(classifier=CLASSIFIER, guidance=dict(type='SampleGuidance', source=source))


@provokes('the model has a classifier that its … does not use')
def idle_classifier(folder, monkeypatch):
    guidance = dict(type='ClassifierFreeGuidance')
    build_model(unet=dict(class_dropout_prob=0.1), classifier=CLASSIFIER, guidance=guidance)


@provokes('interval=… holds none of the … timesteps from … to …')
def interval_between_steps(folder, monkeypatch):
    guidance = dict(type='ClassifierGuidance', interval=(10, 20))
    build_model(classifier=CLASSIFIER, guidance=guidance).infer(labels=[1])


def guided_by(score):
    build_model(guidance=ScoreGuidance(score)).infer(labels=[1, 2])


@provokes('… gave scores of shape … for … samples; guidance needs one number per sample')
def score_over_the_batch(folder, monkeypatch):
    guided_by(lambda images: images.mean())


@provokes('the score of … does not depend on the image, so it has no gradient to guide by')
def score_without_gradient(folder, monkeypatch):
    guided_by(lambda images: (images > 0).float().mean(dim=(1, 2, 3)))


# ---- Evaluation


def batch_in(folder, images, name='samples.npz'):
    np.savez(folder / name, images)
    return folder / name


@provokes('…: arr_0 is …, but images in a batch are uint8 from 0 to 255')
def images_as_floats(folder, monkeypatch):
    open_images(batch_in(folder, np.zeros((4, 8, 8, 3))))


@provokes('figures compare images of one size: take the reference batch of that size')
def sizes_apart(folder, monkeypatch):
    small = batch_in(folder, blocky_images(4, size=8))
    evaluate(batch_in(folder, blocky_images(4, size=16), 'reference.npz'), small, TINY)


@provokes('there is no metric …')
def no_such_metric(folder, monkeypatch):
    evaluate(batch_in(folder, blocky_images(4)), folder / 'samples.npz', TINY, metrics=['fdd'])


@provokes('… has features of another network than …')
def features_of_another_network(folder, monkeypatch):
    first, second = TinyFeatures(), TinyFeatures(dim=5)
    made = features_file(open_images(batch_in(folder, blocky_images(4))), first)
    Reference(made).rows(second)


@provokes('… has no images, but …: a figure that was asked for takes more')
def statistics_alone(folder, monkeypatch):
    np.savez(folder / 'statistics.npz', mu=np.zeros(4), sigma=np.eye(4))
    PrecisionRecall(folder / 'statistics.npz', TINY)


@provokes('the …-th neighbour takes at least … samples')
def few_samples(folder, monkeypatch):
    precision_recall(torch.randn(3, 4), torch.randn(3, 4))


@provokes('… names no reference batch: give one by --reference')
def no_reference(folder, monkeypatch):
    Config(dict(model=model_config())).dump(folder / 'small.py')
    arguments = ['--scales', '0,1', '--out', folder / 'sweep']
    return fail('sweep', folder / 'small.py', *arguments)


@provokes('… has no evaluation: test_dataloader, test_evaluator')
def nothing_to_test(folder, monkeypatch):
    return fail('test', 'judge_1xb64_digits-16x16')


def shards_in(folder, made_from):
    shards = SampleShards(folder / 'samples')
    shards.claim(made_from, resume=False)
    images = np.zeros((1, 8, 8, 3), np.uint8)
    shards.write(Shard(images, np.array([0]), np.array([0]), None))


@provokes('… holds … batches of samples of an earlier run; go on with them by --resume')
def an_earlier_run(folder, monkeypatch):
    for _ in range(2):
        shards_in(folder, dict(weights='a'))


@provokes('… belongs to another run (…); nothing was changed')
def another_run(folder, monkeypatch):
    for weights in 'ab':
        shards_in(folder, dict(weights=weights))


@provokes('… is in use by another run (…): wait for its end, or choose another folder')
def a_run_at_work(folder, monkeypatch):
    with claimed(folder), claimed(folder):
        pass


# ---- Training and data


def config_in(folder):
    config = training_config(folder / 'work')
    config.dump(folder / 'small.py')
    return folder / 'small.py'


@provokes('… has a training that got to …: resume it (--resume), or choose another')
def training_that_is_there(folder, monkeypatch):
    config = config_in(folder)
    (folder / 'work').mkdir()
    checkpoint = file_with(folder / 'work', b'', 'iter_2.pth')
    (folder / 'work' / 'last_checkpoint').write_text(str(checkpoint))
    return fail('train', config, '--work-dir', folder / 'work')


@provokes('there is nothing to resume in …: no checkpoint yet')
def nothing_to_resume(folder, monkeypatch):
    return fail('train', config_in(folder), '--work-dir', folder / 'work', '--resume')


@provokes('… is truncated or damaged; delete it, and --resume goes on from …, which is sound')
def a_damaged_training(folder, monkeypatch):
    torch.save({}, folder / 'iter_2.pth')
    file_with(folder, (folder / 'iter_2.pth').read_bytes()[:-9], 'iter_4.pth')
    checkpoint_to_resume(folder)


@provokes('the training to resume had its data in another order (…): choose')
def another_order(folder, monkeypatch):
    config = training_config(folder / 'work', max_iters=2)
    run_training(config)
    config.train_dataloader.batch_size = 2
    resume_training(config, folder / 'work' / 'iter_2.pth')


@provokes('the training to resume is of another model: …')
def training_of_another_model(folder, monkeypatch):
    config = training_config(folder / 'work', max_iters=2)
    run_training(config)
    changed = Config(copy.deepcopy(config.to_dict()))
    changed.model.unet.dropout = 0.3
    resume_training(changed, folder / 'work' / 'iter_2.pth')


@provokes('… are of DiffusionLoss, and the loss is …')
def settings_of_another_loss(folder, monkeypatch):
    build_model(loss=dict(type='EDMLoss'), loss_type='mse', timestep_sampler='uniform')


@provokes('there are no images in …')
def empty_folder(folder, monkeypatch):
    ImageFolder(data_root=str(folder), pipeline=[])


def picture_in(folder):
    folder.mkdir(exist_ok=True)
    as_pictures(torch.zeros(1, 3, 8, 8))[0].save(folder / '0.png')


@provokes('… has the label …, but the model num_classes=…')
def too_many_classes(folder, monkeypatch):
    for name in 'abc':
        picture_in(folder / name)
    check_labels(ImageFolder(data_root=str(folder)), num_classes=2)


@provokes('… lies in … itself and so in no class')
def image_of_no_class(folder, monkeypatch):
    picture_in(folder)
    ImageFolder(data_root=str(folder))


@provokes('the loss is nan at iteration …')
def diverging_training(folder, monkeypatch):
    optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=float('nan')))
    run_training(training_config(folder, optim_wrapper=optim_wrapper))


# ---- Memory and speed


@provokes('A batch of … does not fit into memory; going on with …')
def large_batch(folder, monkeypatch):
    model = build_model()
    infer = model.infer

    def infer_little(seeds, **options):
        if len(seeds) > 1:
            raise torch.OutOfMemoryError('CUDA out of memory.')
        return infer(seeds=seeds, **options)

    monkeypatch.setattr(model, 'infer', infer_little)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        list(sample_in_batches(model, range(2), seeds=range(2)))
    return printed.getvalue()


@provokes("Take fewer images at a time: --batch-size, or batch_size of the config's data loader")
def no_memory_at_all(folder, monkeypatch):
    raise torch.OutOfMemoryError('CUDA out of memory. Tried to allocate 2.00 GiB.')
