#!/usr/bin/env python
"""Writes the tables of released checkpoints into zoo.md, from the model index.

python docs/zoo_table.py
"""

from __future__ import annotations

import re
from itertools import groupby
from pathlib import Path

from mmagic_adm.checkpoints.zoo import ZooEntry, zoo_entries
from mmagic_adm.model_index import index_of_models

PAGE = Path(__file__).parent / 'zoo.md'
HEAD = '| name | GB | licence | published | more |\n| :-- | --: | :-- | :-- | :-- |\n'
# What is above the tables ends here.
MARK = '<!-- Made by zoo_table.py. -->\n'


def tables() -> str:
    """A table for each collection, with a line for each checkpoint that was released."""
    released = [entry for entry in zoo_entries() if entry.url or entry.page]
    # Some collections stand in several places of the index.
    by_collection = sorted(released, key=lambda entry: order().index(collection(entry)))
    return '\n'.join(
        f'## {name}\n\n{HEAD}' + '\n'.join(map(row, entries)) + '\n'
        for name, entries in groupby(by_collection, collection)
    )


def collection(entry: ZooEntry) -> str:
    """Whose checkpoint it is."""
    return index_of_models()[entry.name]['In Collection']


def order() -> list[str]:
    """The collections, as the index has them first."""
    return list(dict.fromkeys(model['In Collection'] for model in index_of_models().values()))


def row(entry: ZooEntry) -> str:
    """What there is to know of one."""
    metrics = dict(entry.results[0]['Metrics']) if entry.results else {}
    settings = [f'{metrics.pop("Steps"):g} steps'] if 'Steps' in metrics else []
    settings += [f'scale {metrics.pop("CGS"):g}'] if 'CGS' in metrics else []
    if not settings and (sampler := re.search(r'_((?:ddpm|heun)\d+)_', entry.config or '')):
        settings = [sampler[1]]
        settings += [f'scale {entry.classifier_scale:g}'] if entry.classifier_scale else []
    figures = [f'{name} {value}' for name, value in metrics.items()]
    more = [
        f'[by hand]({entry.page})' if entry.page else '',
        entry.note or '',
        f'SHA-256 {entry.sha256[:8]}…' if entry.sha256 else '',
    ]
    cells = (
        f'`{entry.name}`',
        f'{4 * (entry.parameters or 0) / 1e9:.1f}',
        entry.licence,
        ', '.join([*figures, *settings] if figures else []),
        '; '.join(filter(None, more)),
    )
    return f'| {" | ".join(map(str, cells))} |'


def page() -> str:
    """The page with its tables made anew."""
    text = PAGE.read_text(encoding='utf-8')
    return text[: text.index(MARK)] + MARK + '\n' + tables()


if __name__ == '__main__':
    PAGE.write_text(page(), encoding='utf-8')
