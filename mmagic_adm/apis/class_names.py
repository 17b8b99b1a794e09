"""Classes by name."""

from __future__ import annotations

import difflib
import functools
from collections.abc import Sequence

IMAGENET_CLASSES = 1000

# As many as an error lists.
FEW = 20


@functools.cache
def imagenet_class_names() -> tuple[str, ...]:
    """The 1000 names, in the order of the labels."""
    # The list comes with every weights entry; none of the weights is loaded for it.
    from torchvision.models import ResNet50_Weights

    return tuple(ResNet50_Weights.DEFAULT.meta['categories'])


def find_label(label: int | str, class_names: Sequence[str]) -> int:
    """The number of a class given by number or name.

    Args:
        label: A number, a number written out, or a name, in any case.
        class_names: Names in the order of the labels.

    Raises:
        ValueError: No class or several classes have this name; the message suggests some.
    """
    if not isinstance(label, str):
        return label
    if label.strip().isdecimal():
        return int(label)
    wanted = label.strip().lower()
    names = [name.lower() for name in class_names]
    found = [i for i, name in enumerate(names) if name == wanted]
    if len(found) == 1:
        return found[0]
    if found:
        listed = ', '.join(map(str, found))
        raise ValueError(f'several classes are called {label!r}; give the number: {listed}')
    alike = difflib.get_close_matches(wanted, names, n=5)
    near = [i for i, name in enumerate(names) if wanted in name]
    near += [i for i, name in enumerate(names) if name in alike and i not in near]
    hint = ', '.join(f'{class_names[i]} ({i})' for i in near[:8])
    if hint:
        advice = f'did you mean {hint}?'
    else:
        advice = f'there are {", ".join(class_names)}' if len(names) <= FEW else 'give a number'
    raise ValueError(f'no class is called {label!r}; {advice}')


def names_of_classes(
    num_classes: int | None, given: Sequence[str] | None = None
) -> tuple[str, ...]:
    """Names for a model's classes: those given, ImageNet's for a model of 1000, or numbers."""
    if given is not None:
        return tuple(given)
    if num_classes == IMAGENET_CLASSES:
        return imagenet_class_names()
    return tuple(str(i) for i in range(num_classes or 0))
