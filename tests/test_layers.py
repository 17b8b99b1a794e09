"""Data flows down a list of folders: each imports only from those above it."""

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.reference import REPOSITORY

PACKAGE = REPOSITORY / 'mmagic_adm'
ORDER = (
    'version',
    'configs',
    'model_index',
    'compat/environment',
    'arguments',
    'compat/config_bases',
    'registry',
    'files',
    'diffusion',
    'networks',
    'checkpoints',
    'codecs',
    'denoisers',
    'guidance',
    'measurements',
    'schedulers',
    'datasets',
    'evaluation',
    'models',
    'engine',
    'apis',
    'compat',
    'demo',
    'commands',
    '__main__',
)
# The package itself, which nothing in it imports.
TOP = '__init__'


def place_of(path: str) -> int:
    """Where in the order a module is, ``path`` being its own from the package on."""
    if path == TOP:
        return len(ORDER)
    return ORDER.index(
        max((entry for entry in ORDER if f'{path}/'.startswith(f'{entry}/')), key=len)
    )


def imports_of(tree: ast.AST) -> Iterator[str]:
    """The modules of the package that code imports when it runs, wherever in it."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == 'TYPE_CHECKING':
            continue
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, 'a relative import'
            # What is imported from a folder may be a file in it.
            names = [f'{node.module}.{alias.name}' for alias in node.names]
        else:
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        for name in names:
            top, _, path = name.partition('.')
            if top == PACKAGE.name and path:
                yield path.replace('.', '/')
        yield from imports_of(node)


def wrong_imports(package: Path) -> list[str]:
    """Imports from a folder that is not above the one they are in."""
    wrong = []
    for file in sorted(package.rglob('*.py')):
        own = file.relative_to(package).with_suffix('').as_posix()
        for other in imports_of(ast.parse(file.read_text())):
            if place_of(other) > place_of(own):
                wrong.append(f'{own} imports {other}')
    return wrong


def test_a_folder_imports_only_from_those_above_it():
    assert wrong_imports(PACKAGE) == []


def test_every_folder_has_its_place():
    for entry in PACKAGE.iterdir():
        if entry.suffix == '.py' or (entry / '__init__.py').is_file():
            assert place_of(entry.stem) >= 0, entry


def test_an_import_from_below_is_found(tmp_path):
    (tmp_path / 'files').mkdir()
    (tmp_path / 'files' / 'page.py').write_text(
        'from typing import TYPE_CHECKING\n'
        'if TYPE_CHECKING:\n'
        '    from mmagic_adm.engine import runners\n'
        'from mmagic_adm.registry import MODELS\n'
        'def open_page():\n'
        '    from mmagic_adm import demo\n'
    )
    assert wrong_imports(tmp_path) == ['files/page imports demo']
