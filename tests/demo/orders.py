"""Orders of a few quick digits."""

from mmagic_adm.demo.order import read_order

DIGITS = 'adm-g_ddim25_digits-16x16'


def fields(**changes) -> list:
    """What stands in the fields of the page."""
    values = dict(
        model=DIGITS,
        classes=[3, 7],
        per_class=1,
        seed=5,
        steps=3,
        scheduler='own',
        method='classifier',
        scale=2,
        interval='',
    )
    assert changes.keys() <= values.keys()
    return list({**values, **changes}.values())


def order(**changes):
    return read_order(*fields(**changes))
