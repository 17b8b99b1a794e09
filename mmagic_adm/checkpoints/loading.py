"""Loading weights, by hand or by MMEngine's runner: all that a network has, or none."""

import functools
from collections import OrderedDict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.logging import print_log
from mmengine.runner import CheckpointLoader
from torch import nn

from mmagic_adm.checkpoints.checkpoint import read_checkpoint, read_document, weights_file
from mmagic_adm.checkpoints.parts import (
    Shapes,
    StateDict,
    kind_of,
    network_prefixes,
    prefixes_of,
    shapes_of,
    sort_into_parts,
)
from mmagic_adm.checkpoints.zoo import ZooEntry, entries_that_fit, source_of
from mmagic_adm.files.whole import CheckpointError

# The tensors of each network of a model, by its prefix.
_Places = Mapping[str, StateDict]


@dataclass(frozen=True)
class LoadReport:
    """What :func:`load_network` did.

    Args:
        network: The network's class.
        source: The path or URL.
        layout: How the file was laid out.
        loaded: How many tensors the network was given.
        kept: Those of the network that were left as they were.
        left_out: Those of the file that the network was not given.
    """

    network: str
    source: str
    layout: str
    loaded: int
    kept: tuple[str, ...]
    left_out: tuple[str, ...]

    def __str__(self) -> str:
        said = f'{self.network}: {self.loaded} tensors loaded from {self.source}'
        if self.kept:
            said += f'; {len(self.kept)} kept as they were ({_shortened(self.kept)})'
        if self.left_out:
            said += f'; {len(self.left_out)} of the file left out ({_shortened(self.left_out)})'
        return said


def load_network(
    network: nn.Module,
    source: str | Path,
    prefix: str | None = None,
    ignore: Sequence[str] = (),
    ema: bool = True,
) -> LoadReport:
    """Gives a network the weights in a file, whose tensors must be exactly the network's.

    Args:
        network: A network, of ADM's or any other.
        source: A path, a URL or a name; see :func:`read_checkpoint`.
        prefix: What the file calls the network, where it holds several.
        ignore: Tensors, or modules, to leave as they are in the network, whether or not the file
            has them: ``['label_emb']`` to train on other classes.
        ema: Whether to take the averaged weights, where the file holds them beside those that
            were trained.

    Returns:
        What was loaded, and what was not.

    Raises:
        CheckpointError: The file cannot be read, or its tensors are not the network's.
    """
    if isinstance(ignore, str):
        raise TypeError(f'ignore is a list of names: [{ignore!r}]')
    own = network.state_dict()
    checkpoint = read_checkpoint(source, prefix, ema, like=own)
    if len(checkpoint.parts) > 1:
        parts = ', '.join(checkpoint.parts)
        raise CheckpointError(f'{source} holds {parts}: choose one with prefix=')

    given = checkpoint.state_dict
    for name in ignore:
        if not any(is_under(key, [name]) for key in (*own, *given)):
            raise ValueError(f'ignore names {name!r}, which neither {source} nor the network has')
    state = fitted(given, network, source, ignore)
    kept = {key: tensor for key, tensor in own.items() if is_under(key, ignore)}
    network.load_state_dict({**state, **kept})
    report = LoadReport(
        network=type(network).__name__,
        source=str(source),
        layout=checkpoint.layout,
        loaded=len(state),
        kept=tuple(kept),
        left_out=(*(key for key in given if key not in state), *checkpoint.left_out),
    )
    print_log(str(report), logger='current')
    return report


def recognise_on_load(model: nn.Module, optional: Sequence[str] = ()) -> None:
    """Makes ``model.load_state_dict``, and so a runner, know every layout and refuse a misfit.

    A runner loads with ``strict=False``: given the wrong file it would leave the model as it was
    initialised, and its images and figures would be silently wrong. From now on the tensors must
    be exactly the model's, whatever ``strict`` says, under any names that are known here. A file
    of one network goes to the model's ``unet`` or ``classifier``, by its kind. Networks in the
    file that the model has no place for are left out, and named. The file itself a runner reads as
    :func:`use_safe_loader` has it.

    Args:
        model: A model with networks called ``unet``, ``classifier``, or both; or a network.
        optional: Networks of the model that a file may lack, such as one with a file of its own.
    """
    # The public method has this name without the underscore, but only since torch 2.5. What it
    # keeps is picklable, so that the model stays so.
    model._register_load_state_dict_pre_hook(
        functools.partial(_recognise, optional=tuple(optional)), with_module=True
    )


def use_safe_loader() -> None:
    """Makes MMEngine's runners in this process read files as they are read here.

    That is in every layout, downloaded into the cache, and with nothing of a file run.
    """
    CheckpointLoader.register_scheme(
        ['', 'http://', 'https://', 'file://'], load_from_mmagic_adm, force=True
    )


def load_from_mmagic_adm(
    filename: str, map_location: Any = 'cpu', mmap: bool = False
) -> dict[str, Any]:
    """Loader for MMEngine: a file of any layout in the form of a runner's checkpoint.

    Args:
        filename: A path, a URL, or a name of the zoo.
        map_location: MMEngine's wish, which changes nothing: a file is read to the CPU, and what
            is loaded goes to where the model or optimiser has it.
        mmap: Whether to map the tensors from the file, which must then stay as it is while they
            are in use. A runner may overwrite the file that it resumed from.
    """
    document = read_document(weights_file(source_of(filename)), mmap)
    state_dict = OrderedDict(document.state_dict)
    metadata = dict(getattr(document.state_dict, '_metadata', {}))
    # What travels here reaches the hook, which can then name the file.
    metadata[''] = {**metadata.get('', {}), 'source': filename}
    state_dict._metadata = metadata  # type: ignore[attr-defined]
    # A resuming runner would run this one as Python.
    meta = {key: value for key, value in document.meta.items() if key != 'config'}
    return {**document.others, 'state_dict': state_dict, 'meta': meta}


def fitted(
    given: StateDict, network: nn.Module, source: str | Path, ignore: Sequence[str] = ()
) -> StateDict:
    """Those of a file's tensors that a network takes; refuses what is not exactly the network's.

    Args:
        given: The tensors, under the network's names.
        network: The network, or a model of several.
        source: What to call the file.
        ignore: Tensors, or modules, that are looked for in neither.
    """
    state, wanted = (
        {key: tensor for key, tensor in tensors.items() if not is_under(key, ignore)}
        for tensors in (given, network.state_dict())
    )
    mismatch = compare(shapes_of(state), shapes_of(wanted))
    if mismatch:
        networks, _ = sort_into_parts(given)
        fits = [
            (f'{part}: ' if part else '') + what_fits(shapes_of(each))
            for part, each in networks.items()
        ]
        raise CheckpointError(
            f'{source} does not fit this {type(network).__name__}: {mismatch}; '
            f'{"; ".join(fits) or "no ADM network is in it"}'
        )
    return state


def _recognise(
    model: nn.Module,
    state_dict: dict[str, Any],
    prefix: str,
    metadata: Mapping[str, Any],
    *_: Any,
    optional: tuple[str, ...],
) -> None:
    """What ``load_state_dict`` calls first: puts the tensors under the model's names."""
    keys = [key for key in state_dict if key.startswith(prefix)]
    given = {key.removeprefix(prefix): state_dict.pop(key) for key in keys}
    if given.keys() != model.state_dict().keys():
        given = _under_own_names(given, model)
    absent = [part for part in optional if not any(is_under(key, [part]) for key in given)]
    given = fitted(given, model, metadata.get('source', 'the checkpoint'), absent)
    state_dict.update({prefix + key: tensor for key, tensor in given.items()})


def _under_own_names(given: StateDict, model: nn.Module) -> StateDict:
    places: _Places = {'': model.state_dict()} | {
        f'{name}.': child.state_dict() for name, child in model.named_children()
    }
    networks, others = sort_into_parts(given)
    renamed: StateDict = {}
    for part, state in networks.items():
        place = _place(part, state, places)
        if place is None:
            name = part or kind_of(state)
            said = f'{len(state)} tensors of {name!r} were left out: the model has no such network'
            print_log(said, logger='current')
        else:
            renamed |= {place + key: tensor for key, tensor in state.items()}
    return renamed | _by_names(others, places)


def _place(part: str, state: StateDict, places: _Places) -> str | None:
    """Where an ADM network of a file belongs in the model, if anywhere."""
    if network_prefixes(places['']) == ['']:  # the model is a network itself
        return '' if kind_of(state) == kind_of(places['']) else None
    if part:
        return f'{part}.' if places.get(f'{part}.') else None

    def likeness(place: str) -> float:
        names = places[place].keys()
        return len(names & state.keys()) / len(names | state.keys())

    return max(places, key=likeness)


def _by_names(tensors: StateDict, places: _Places) -> StateDict:
    """Puts networks of other families, which nothing marks, where most of their names are."""
    placed: StateDict = {}
    left = dict(places)
    while candidates := [
        (sum(prefix + name in tensors for name in names), prefix == place, prefix, place)
        for place, names in left.items()
        for prefix in prefixes_of(names, tensors)
    ]:
        _, _, prefix, place = max(candidates)
        keys = [key for key in tensors if key.startswith(prefix)]
        placed |= {place + key.removeprefix(prefix): tensors[key] for key in keys}
        tensors = {key: tensor for key, tensor in tensors.items() if key not in keys}
        del left[place]
    return placed | tensors


def compare(given: Shapes, wanted: Shapes) -> str:
    """How a file's tensors differ from a network's, in words; nothing if they do not."""
    differences = {
        'missing': [key for key in wanted if key not in given],
        'extra': [key for key in given if key not in wanted],
        'of another shape': [
            f'{key} {_written(given[key])} for {_written(shape)}'
            for key, shape in wanted.items()
            if given.get(key, shape) != shape
        ],
    }
    return '; '.join(
        f'{len(names)} {what} ({_shortened(names)})' for what, names in differences.items() if names
    )


def what_fits(given: Shapes) -> str:
    """Says which released network a file's tensors are of."""
    configs = list(dict.fromkeys(map(_config_of, entries_that_fit(given))))
    if configs:
        return f'the file fits the network of {" or ".join(configs)}'
    return 'no released network has these tensors; config_from_checkpoint() says what they make up'


def is_under(key: str, prefixes: Iterable[str]) -> bool:
    """Whether a tensor's name is one of these, or lies below one."""
    return any(f'{key}.'.startswith(f'{prefix}.') for prefix in prefixes)


def _shortened(names: Collection[str]) -> str:
    return ', '.join(list(names)[:3]) + (', …' if len(names) > 3 else '')


def _written(shape: tuple[int, ...]) -> str:
    return 'x'.join(map(str, shape)) or 'scalar'


def _config_of(entry: ZooEntry) -> str:
    changes = ', '.join(f'{name}={value!r}' for name, value in entry.overrides.items())
    return f'configs/{entry.network}{" with " if changes else ""}{changes}'
