"""The config of a network, from nothing but its checkpoint."""

import inspect
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmagic_adm.checkpoints.architecture import Architecture, read_architecture
from mmagic_adm.checkpoints.checkpoint import read_checkpoint
from mmagic_adm.checkpoints.flag_config import config_from_flags
from mmagic_adm.checkpoints.flags import PROJECTS
from mmagic_adm.checkpoints.loading import compare
from mmagic_adm.checkpoints.parts import Shapes, kind_of, shapes_of
from mmagic_adm.checkpoints.zoo import ZooEntry, build_without_weights, entries_that_fit
from mmagic_adm.files.whole import CheckpointError
from mmagic_adm.registry import MODELS

# Where a value is from.
READ = 'read from the shapes'
GIVEN = 'given by the caller'
RECORDED = 'recorded in the file'
DEFAULT = 'default'
AMBIGUOUS = 'from the shapes, which leave room for other values'

# Arguments that are no question to tensors: this is found by itself, and that changes nothing.
_NO_QUESTION = ('attention_resolutions', 'use_checkpoint')

# Of Stable Diffusion's autoencoder, which halves the image three times.
_LATENT_CHANNELS = 4

# Most networks of the family halve the image down to so many pixels.
_LAST_FEATURE_MAP = 8

# Each argument's value, and where it is from.
Fields = dict[str, tuple[Any, str]]


@dataclass(frozen=True)
class Inspection:
    """A config that was read off a checkpoint, and how much of it is certain.

    Args:
        source: The path or URL.
        layout: How the file is laid out.
        config: ``unet`` and ``diffusion_scheduler``, or ``classifier``, or all three, as they are
            built from; and ``preconditioning`` and ``codec``, where the U-Net is in them.
        origins: Where each value is from, by its place in the config: 'unet.image_size'.
        fits: Names of the zoo's entries that have exactly a network's tensors, by its place.
    """

    source: str
    layout: str
    config: dict[str, Any]
    origins: dict[str, str]
    fits: dict[str, tuple[str, ...]]

    @property
    def read(self) -> tuple[str, ...]:
        """What the tensors settle."""
        return tuple(place for place, origin in self.origins.items() if origin == READ)

    @property
    def guessed(self) -> dict[str, str]:
        """What nobody said for certain, and where it is from."""
        certain = (READ, GIVEN, RECORDED)
        return {place: origin for place, origin in self.origins.items() if origin not in certain}

    def __str__(self) -> str:
        lines = [f'{self.source}: layout {self.layout}']
        for part, arguments in self.config.items():
            fits = ', '.join(self.fits.get(part, ()))
            lines.append(f'{part}: the tensors of {fits}' if fits else part)
            lines += [
                f'  {name} = {value!r}'.ljust(46) + f'  {self.origins[f"{part}.{name}"]}'
                for name, value in arguments.items()
            ]
        return '\n'.join(lines)


def config_from_checkpoint(
    source: str | Path,
    prefix: str | None = None,
    unet: Mapping[str, Any] | None = None,
    classifier: Mapping[str, Any] | None = None,
    diffusion_scheduler: Mapping[str, Any] | None = None,
    project: str | None = None,
) -> Inspection:
    """Finds out which networks a checkpoint is of, and says what was read and what was guessed.

    Names and shapes settle most of it. The rest (heads, attention order, image size, dropout,
    noise schedule) is what the file says of itself, else what the zoo knows of networks of these
    shapes, else a default.

    Args:
        source: A path, a URL, or a name of the zoo.
        prefix: What the file calls the network to look at; None looks at all.
        unet: Arguments of the U-Net that the caller knows better.
        classifier: The same of the classifier.
        diffusion_scheduler: The same of the scheduler.
        project: Whose defaults hold where nobody says: 'guided-diffusion' or 'improved-diffusion';
            see :func:`config_from_flags`.

    Raises:
        CheckpointError: The file cannot be read, or is of no network that can be built here with
            the arguments given.
    """
    checkpoint = read_checkpoint(source, prefix)
    recorded = checkpoint.configs
    given = {'unet': unet or {}, 'classifier': classifier or {}}

    found: dict[str, Fields] = {}
    fits: dict[str, tuple[str, ...]] = {}
    for part, state in checkpoint.networks().items():
        kind = kind_of(state)
        if kind in found:
            raise CheckpointError(f'{source} holds more than one {kind}; choose one with prefix=')
        shapes = shapes_of(state)
        entries = entries_that_fit(shapes)
        named = [entry for entry in entries if entry.file_name == checkpoint.file_name]
        entries = named or entries
        fits[kind] = tuple(entry.name for entry in entries)
        said = recorded.get(part or kind, {})
        try:
            found[kind] = _network(shapes, given[kind], said, entries)
        except ValueError as error:
            raise CheckpointError(f'{source}: {error}') from error
        if kind == 'unet':
            unet_fields, said = found[kind], recorded.get('diffusion_scheduler', {})
            around = _preconditioning(
                unet_fields, checkpoint.metadata.get('preconditioning'), entries
            )
            codec = _codec(unet_fields, recorded.get('codec', {}))
            scheduler = _scheduler(
                unet_fields, around, codec, diffusion_scheduler or {}, said, entries, project
            )
            parts = dict(preconditioning=around, codec=codec, diffusion_scheduler=scheduler)
            found |= {part: fields for part, fields in parts.items() if fields}
    values = {
        part: {name: value for name, (value, _) in fields.items()} for part, fields in found.items()
    }
    origins = {
        f'{part}.{name}': origin
        for part, fields in found.items()
        for name, (_, origin) in fields.items()
    }
    return Inspection(str(source), checkpoint.layout, values, origins, fits)


def _network(
    shapes: Shapes,
    given: Mapping[str, Any],
    recorded: Mapping[str, Any],
    entries: Sequence[ZooEntry],
) -> Fields:
    """The config of the network with these tensors, which the zoo's entries have too."""
    try:
        architecture = read_architecture(shapes)
    except LookupError as error:
        raise ValueError(f'the tensors are of no ADM network: there is no {error}') from error
    type_ = given.get('type', architecture.fields['type'])
    is_adm = type_.startswith('ADM')
    if not str(recorded.get('type', type_)).startswith('ADM' if is_adm else type_):
        # The config of another toolbox, which calls its arguments otherwise.
        recorded = {}
    defaults = _constructor_defaults(type_)
    for name in given:
        if name != 'type' and name not in defaults:
            raise ValueError(f'{type_} has no argument {name!r}; it has {", ".join(defaults)}')
    ambiguous = {name: architecture.fields[name] for name in architecture.ambiguous}
    traceless = [name for name in defaults if name not in {*architecture.fields, *_NO_QUESTION}]
    left_open = (*traceless, *ambiguous)

    # Who comes later knows better.
    fields = (
        _from(defaults, DEFAULT, traceless)
        | _from(_family_defaults(architecture) if is_adm else {}, DEFAULT)
        | _from(ambiguous, AMBIGUOUS)
        | _zoo_fields(entries, defaults, left_open)
        | _from(recorded, RECORDED, left_open)
        | _from({k: v for k, v in architecture.fields.items() if k not in ambiguous}, READ)
        | _from(given, GIVEN)
    )
    if is_adm and 'attention_resolutions' not in fields:
        # The levels that attend are read; their size is not, where that of the image is not.
        size, origin = fields['image_size']
        if origin != READ:
            origin = f'read as levels; their sizes are those of image_size = {size}'
        fields['attention_resolutions'] = (architecture.attention_resolutions(size), origin)
    if fields.get('class_dropout_prob', (0.0,))[0] > 0 and fields['num_classes'][1] == READ:
        # A network that drops labels has a null class, which is not counted.
        with_null = fields['num_classes'][0]
        fields['num_classes'] = (with_null and with_null - 1, READ)
    _check(shapes, {name: value for name, (value, _) in fields.items()})
    return {name: fields[name] for name in ('type', *defaults) if name in fields}


def _preconditioning(unet: Fields, recorded: Any, entries: Sequence[ZooEntry]) -> Fields:
    """What is around a U-Net that is told sigma, as the file or the zoo says: it has no tensors."""
    if isinstance(recorded, Mapping):
        return _from(recorded, RECORDED)
    around = {entry.name: entry.preconditioning for entry in entries}
    known = {name: dict(type='EDMPrecond', **p) for name, p in around.items() if p is not None}
    if not known:
        # These are told nothing else.
        told_sigma = unet['type'][0] in ('SongUNet', 'EDM2UNet')
        return _from(dict(type='EDMPrecond'), DEFAULT) if told_sigma else {}
    first, arguments = next(iter(known.items()))
    others = [name for name in around if known.get(name) != arguments]
    doubt = f', unlike {", ".join(others)}, which fits too: the name tells' if others else ''
    return _from(arguments, f'the zoo: {first}{doubt}')


def _codec(unet: Fields, recorded: Mapping[str, Any]) -> Fields:
    """What makes images of what the network diffuses: nothing, but for latents of 4 channels."""
    kind, channels, size = (unet[name][0] for name in ('type', 'in_channels', 'image_size'))
    if channels != _LATENT_CHANNELS or kind.startswith('ADM'):
        return {}
    weights, scaling = (
        ('sd-vae-ft-mse', 'edm2') if kind == 'EDM2UNet' else ('sd-vae-ft-ema', 'stable_diffusion')
    )
    default = dict(type='AutoencoderCodec', image_size=8 * size, weights=weights, scaling=scaling)
    return _from(default, DEFAULT) | _from(recorded, RECORDED)


def _scheduler(
    unet: Fields,
    around: Fields,
    codec: Fields,
    given: Mapping[str, Any],
    recorded: Mapping[str, Any],
    entries: Sequence[ZooEntry],
    project: str | None,
) -> Fields:
    """The config of the scheduler of a U-Net, from the same."""
    known = {entry.name: entry.scheduler_config() or {} for entry in entries}
    known = {name: config for name, config in known.items() if config}
    fields = _agreed(known, list(next(iter(known.values()), ())))
    if around:
        kind = 'ConsistencyScheduler' if 'sigma_min' in around else 'EDMHeunScheduler'
        if fields.get('type', ('',))[0] != kind:
            fields = _from(dict(type=kind), around['type'][1])
        return fields | _from(recorded, RECORDED) | _from(given, GIVEN)
    if not known:
        # Networks of both projects may change the size by layers of their own.
        open_ = project is None and unet.get('resblock_updown') == (False, READ)
        origin = f'{DEFAULT} of {PROJECTS[0]}; project={PROJECTS[1]!r} has others'
        default = config_from_flags('', project or PROJECTS[0])['diffusion_scheduler']
        fields = _from(default, origin if open_ else DEFAULT)
        if codec:
            fields['clip_sample'] = (False, f'{DEFAULT}, as latents have no bounds')
    if unet['out_channels'][0] == 2 * unet['in_channels'][0]:
        fields['variance_type'] = ('learned_range', READ)
    return fields | _from(recorded, RECORDED, list(fields)) | _from(given, GIVEN)


def _from(values: Mapping[str, Any], origin: str, names: Collection[str] | None = None) -> Fields:
    """Those of the values that have one of the names, or all."""
    wanted = values if names is None else [name for name in names if name in values]
    return {name: (values[name], origin) for name in wanted}


def _constructor_defaults(type_: str) -> dict[str, Any]:
    """The arguments of a network's class, all of which but image_size have a default."""
    parameters = inspect.signature(MODELS.get(type_)).parameters.values()
    return {parameter.name: parameter.default for parameter in parameters}


def _family_defaults(architecture: Architecture) -> dict[str, Any]:
    """What is likeliest for a network of this family."""
    attended = [architecture.level_channels[level] for level in (*architecture.attending, -1)]
    head_channels = next(
        width for width in (64, 32, 16, 8, 4, 2, 1) if all(n % width == 0 for n in attended)
    )
    size = dict(image_size=_LAST_FEATURE_MAP << (architecture.num_levels - 1))
    if architecture.fields.get('resblock_updown') is False and head_channels % 4 == 0:
        # As in improved diffusion, and by default in ADM's scripts.
        return size | dict(num_heads=4, num_head_channels=-1)
    return size | dict(num_head_channels=head_channels)


def _zoo_fields(
    entries: Sequence[ZooEntry], defaults: Mapping[str, Any], names: Sequence[str]
) -> Fields:
    """What the zoo's entries say of a network."""
    configs = {e.name: {**defaults, **next(iter(e.network_configs().values()))} for e in entries}
    return _agreed(configs, names)


def _agreed(configs: Mapping[str, Mapping[str, Any]], names: Collection[str]) -> Fields:
    """What entries' configs say; where they differ, what the first says, and who disagrees."""
    fields: Fields = {}
    for name in names if configs else ():
        first, *_ = configs
        value = configs[first][name]
        others = [entry for entry, config in configs.items() if config.get(name) != value]
        doubt = f', unlike {", ".join(others)}, which fits too' if others else ''
        fields[name] = (value, f'the zoo: {first}{doubt}')
    return fields


def _check(shapes: Shapes, config: Mapping[str, Any]) -> None:
    try:
        network = build_without_weights(config)
    except TypeError as error:
        raise ValueError(str(error)) from error
    mismatch = compare(shapes, shapes_of(network.state_dict()))
    if mismatch:
        raise ValueError(f'the tensors are not those of the nearest {config["type"]}: {mismatch}')
