"""The released checkpoints by name, with the networks in them."""

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from mmengine import Config
from mmengine.logging import print_log
from torch import nn

from mmagic_adm.checkpoints.flag_config import config_from_flags
from mmagic_adm.checkpoints.parts import Shapes, shapes_of
from mmagic_adm.checkpoints.sampling_models import sampling_model
from mmagic_adm.configs import config_directory, nearest
from mmagic_adm.files.download import cached_path
from mmagic_adm.files.whole import CheckpointError
from mmagic_adm.model_index import index_of_models
from mmagic_adm.registry import MODELS, SCOPE

# Licences that let everyone do anything with the weights.
_FREE = ('MIT', 'Apache-2.0')

_NETWORKS = 'guided_diffusion/_base_/models'

# Networks of the family without released weights: each is that of the class-conditional entry
# named first, without its classes.
_UNRELEASED = {
    f'{size}x{size}_diffusion': f'ADM_diffusion_{size}_unconditioned' for size in (64, 128, 512)
}


@dataclass(frozen=True)
class ZooEntry:
    """A checkpoint that was released, or a network of the paper that was not.

    Args:
        name: What it is called.
        url: Where its weights are; None if they were not released.
        network: File of the network's config, below :func:`config_directory`.
        classifier_network: The same for a classifier in the same file.
        config: File of a config that samples from it, below :func:`config_directory`.
        flags: What the original project's scripts are called with to build the network.
        classifier: Name of the entry whose classifier guides it.
        classifier_scale: How strongly it does.
        base_model: Name of the entry whose samples it enlarges.
        project: Whose flags those are.
        parameters: How many numbers are in the file.
        licence: That of the weights.
        sha256: That of the file, where it was published.
        page: Where the file is had by hand, if it has no address of its own.
        note: What else to know before using it.
        aliases: Other names that it is found by.
        overrides: What differs from the config in the network's file.
        preconditioning: Arguments of the ``EDMPrecond`` that the network was trained in; None if it
            is told timesteps.
        scales: Noise levels that a consistency model was trained on.
        results: Published figures, as in the model index.
    """

    name: str
    url: str | None = None
    network: str | None = None
    classifier_network: str | None = None
    config: str | None = None
    flags: str | None = None
    project: str = 'guided-diffusion'
    classifier: str | None = None
    classifier_scale: float | None = None
    base_model: str | None = None
    parameters: int | None = None
    licence: str | None = None
    sha256: str | None = None
    page: str | None = None
    note: str | None = None
    aliases: tuple[str, ...] = ()
    overrides: Mapping[str, Any] = field(default_factory=dict)
    preconditioning: Mapping[str, Any] | None = None
    scales: int = 40
    results: tuple[Mapping[str, Any], ...] = ()

    @property
    def file_name(self) -> str:
        """The name that the file was released under."""
        return self.url.rpartition('/')[2] if self.url else f'{self.name}.pt'

    def weights(self) -> str:
        """The URL of the weights; says first what is about to be downloaded, and its licence.

        Raises:
            CheckpointError: None were released, or by hand alone.
        """
        if self.page is not None:
            self.say_terms()
            raise CheckpointError(
                f'the weights of {self.name} are had by hand: download {self.file_name} from '
                f'{self.page}, and give its path (weights=, --checkpoint)'
            )
        if self.url is None:
            raise CheckpointError(
                f'no weights were released for {self.name}; its network builds, to be trained or '
                'to load weights of your own'
            )
        source = f'{self.url}#sha256={self.sha256}' if self.sha256 else self.url
        if not cached_path(source).is_file() or not self.is_free:
            self.say_terms()
        return source

    @property
    def is_free(self) -> bool:
        """Whether the licence lets everyone do anything with the weights."""
        return self.licence in _FREE

    def say_terms(self) -> None:
        """Says how large the weights are and under which licence they come, once."""
        size = f'{4 * self.parameters / 1e9:.1f} GB' if self.parameters else 'size unknown'
        forbids = ': no commercial use' if '-NC' in (self.licence or '') else ''
        note = f'; {self.note}' if self.note else ''
        _say_once(f'the weights of {self.name} ({size}) come under {self.licence}{forbids}{note}')

    def network_configs(self) -> dict[str, dict[str, Any]]:
        """Config of each network in the file: 'unet', 'classifier', or both.

        Raises:
            CheckpointError: No network of this package is in the file.
        """
        if self.network is None:
            raise CheckpointError(f'{self.name} holds no network that this package has a config of')
        configs = _read_networks(self.network)
        configs = {kind: {**config, **self.overrides} for kind, config in configs.items()}
        if self.classifier_network is not None:
            configs |= _read_networks(self.classifier_network)
        return configs

    def model_config(self) -> dict[str, Any]:
        """Config of a model that samples from it, where :attr:`config` names none."""
        parts: dict[str, Any] = self.network_configs()
        if self.preconditioning is not None:
            parts['preconditioning'] = dict(type='EDMPrecond', **self.preconditioning)
        return sampling_model(parts | dict(diffusion_scheduler=self.scheduler_config()))

    def scheduler_config(self) -> dict[str, Any] | None:
        """Config of the scheduler that its U-Net was made for; None if nothing says."""
        if self.preconditioning is not None:
            if 'sigma_min' in self.preconditioning:
                return dict(type='ConsistencyScheduler', num_scales=self.scales)
            return dict(type='EDMHeunScheduler')
        if self.flags is None:
            return None
        return config_from_flags(self.flags, self.project).get('diffusion_scheduler')


def zoo_names() -> list[str]:
    """Every name that :func:`find` knows, those of the files first."""
    return list(dict.fromkeys([*(entry.name for entry in zoo_entries()), *_by_name()]))


def find(name: str) -> ZooEntry:
    """The entry of a name.

    Raises:
        ValueError: There is none; the message has the nearest names.
    """
    entries = _by_name()
    if name not in entries:
        hint = nearest(name, entries, 'see zoo_names() for what is there')
        raise ValueError(f'no checkpoint is called {name!r}; {hint}')
    return entries[name]


def source_of(weights: str | Path) -> str:
    """The path or URL of weights, which may be given by name.

    Args:
        weights: A path, a URL, or a name of the zoo. What is not there, and has neither a folder
            nor an ending, is taken for a name.

    Raises:
        ValueError: No checkpoint has this name.
        CheckpointError: The weights of this name were not released.
    """
    path = Path(weights)
    looks_like_a_name = path.name == str(weights) and not path.suffix and not path.exists()
    is_name = looks_like_a_name or (str(weights) in _by_name() and not path.is_file())
    return find(path.name).weights() if is_name else str(weights)


def entries_that_fit(shapes: Shapes) -> list[ZooEntry]:
    """The zoo's entries of one network that has exactly these tensors, in the zoo's order."""
    count = sum(map(math.prod, shapes.values()))
    return [
        entry
        for entry in zoo_entries()
        if entry.network is not None
        and entry.classifier_network is None
        and entry.parameters in (count, None)
        and _network_shapes(entry.name) == shapes
    ]


def build_without_weights(config: Mapping[str, Any]) -> nn.Module:
    """Builds a network that has names and shapes, but no memory for its weights."""
    with torch.device('meta'):
        return MODELS.build({'_scope_': SCOPE, **config})


@functools.cache
def _say_once(line: str) -> None:
    print_log(line, 'current')


@functools.cache
def _network_shapes(name: str) -> Shapes:
    (config,) = find(name).network_configs().values()
    return shapes_of(build_without_weights(config).state_dict())


@functools.cache
def zoo_entries() -> tuple[ZooEntry, ...]:
    """The entries, in the order of the model index; those without weights come last."""
    released = [_entry(model) for model in index_of_models().values()]
    return (*released, *(_unconditional(entry) for entry in released if entry.name in _UNRELEASED))


@functools.cache
def _by_name() -> dict[str, ZooEntry]:
    names = {entry.name: entry for entry in zoo_entries()}
    return names | {alias: entry for entry in zoo_entries() for alias in entry.aliases}


def _read_networks(file: str) -> dict[str, dict[str, Any]]:
    config = Config.fromfile(config_directory() / file)
    return {kind: config[kind].to_dict() for kind in ('unet', 'classifier') if kind in config}


def _entry(model: Mapping[str, Any]) -> ZooEntry:
    fields = {key.lower().replace(' ', '_'): value for key, value in model['Metadata'].items()}
    del fields['training_data']
    for name in ('network', 'classifier_network'):
        if name in fields:
            fields[name] = f'{_NETWORKS}/{fields[name]}'
    if 'Config' in model:
        fields['config'] = model['Config'].removeprefix('configs/')
    return ZooEntry(
        name=model['Name'],
        url=model.get('Weights'),
        aliases=tuple(fields.pop('aliases', ())),
        results=tuple(model.get('Results', ())),
        **fields,
    )


def _unconditional(entry: ZooEntry) -> ZooEntry:
    assert entry.flags is not None
    return ZooEntry(
        name=_UNRELEASED[entry.name],
        network=entry.network,
        flags=entry.flags.replace('--class_cond True', '--class_cond False'),
        classifier=entry.classifier,
        overrides={'num_classes': None},
    )
