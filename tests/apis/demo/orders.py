"""Orders of a few quick digits, and the tool that repeats them."""

import importlib.util

from mmagic_adm.apis.demo.order import read_order
from tests.reference import REPOSITORY

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


def load_tool(name: str):
    """A file of tools/ as a module."""
    path = REPOSITORY / 'tools' / f'{name}.py'
    spec = importlib.util.spec_from_file_location(f'tools_{name}', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
