"""Orders of a few quick digits."""

import re

from mmagic_adm.demo.order import read_order

DIGITS = 'adm-g_ddim25_digits-16x16'


def fields(**changes) -> list:
    """What stands in the fields of the page."""
    values = dict(
        model=DIGITS,
        weights='',
        classes=[3, 7],
        per_class=1,
        seed=5,
        steps=3,
        scheduler='own',
        method='classifier',
        interval='',
        scale=2,
    )
    numbers = changes.pop('numbers', ())
    assert changes.keys() <= values.keys()
    *given, scale = {**values, **changes}.values()
    # The first number is the scale, but for one that is given with the others.
    return [*given, *([] if scale is None else [scale]), *numbers]


def order(scales=None, trajectory=None, **changes):
    return read_order(*fields(**changes), scales=scales, trajectory=trajectory)


def captions_in(shown) -> list[str]:
    """What stands under the pictures."""
    return re.findall('<figcaption>(.*?)</figcaption>', shown)
