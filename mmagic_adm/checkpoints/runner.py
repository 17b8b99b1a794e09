"""What makes MMEngine's runner load every layout known here, and never a wrong file."""

import functools
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.logging import print_log
from mmengine.runner import CheckpointLoader
from torch import nn

from mmagic_adm.checkpoints.checkpoint import read_document
from mmagic_adm.checkpoints.formats import StateDict, kind_of
from mmagic_adm.checkpoints.loading import fitted, is_under
from mmagic_adm.checkpoints.parts import network_prefixes, prefixes_of, sort_into_parts
from mmagic_adm.files.download import fetch

# For each network of a model, by its prefix, the names of its tensors.
_Places = Mapping[str, Mapping[str, Any]]


def recognise_on_load(model: nn.Module, optional: Sequence[str] = ()) -> None:
    """Makes ``model.load_state_dict``, and so a runner, know every layout and refuse a misfit.

    A runner loads with ``strict=False``: given the wrong file it would leave the model as it was
    initialised, and its images and figures would be silently wrong. From now on the tensors must
    be exactly the model's, whatever ``strict`` says, under any names that are known here. A file
    of one network goes to the model's ``unet`` or ``classifier``, by its kind. Networks in the
    file that the model has no place for are left out, and named.

    A runner reads the file itself, which :func:`use_safe_loader` makes it do as is done here.

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

    That is in every layout, downloaded into the cache, and with nothing of a file run. The
    package's own runners call it.
    """
    CheckpointLoader.register_scheme(
        ['', 'http://', 'https://', 'file://'], load_from_mmagic_adm, force=True
    )


def load_from_mmagic_adm(
    filename: str, map_location: Any = 'cpu', mmap: bool = False
) -> dict[str, Any]:
    """Loader for MMEngine: a file of any layout in the form of a runner's checkpoint.

    Args:
        filename: A path or a URL.
        map_location: As in :func:`torch.load`.
        mmap: Whether to map the tensors from the file, which must then stay as it is while they
            are in use. A runner may overwrite the file that it resumed from.
    """
    document = read_document(fetch(filename), map_location, mmap)
    state_dict = OrderedDict(document.state_dict)
    metadata = dict(getattr(document.state_dict, '_metadata', {}))
    # What travels here reaches the hook, which can then name the file.
    metadata[''] = {**metadata.get('', {}), 'source': filename}
    state_dict._metadata = metadata  # type: ignore[attr-defined]
    # A resuming runner would run this one as Python.
    meta = {key: value for key, value in document.meta.items() if key != 'config'}
    return {**document.others, 'state_dict': state_dict, 'meta': meta}


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
            print_log(
                f'{len(state)} tensors of {part or kind_of(state)!r} were left out: the model has '
                'no such network',
                logger='current',
            )
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
