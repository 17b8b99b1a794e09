"""The pages of the documentation, taken apart: what a reader would type, and what is linked."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import NamedTuple

import yaml

from tests.reference import REPOSITORY

DOCS = REPOSITORY / 'docs'
SITE = REPOSITORY / 'mkdocs.yml'
FENCE = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)
LINK = re.compile(r'\]\(([^)\s]+)\)')


class Block(NamedTuple):
    """A fenced block; one with a title is a file that the reader writes."""

    language: str
    title: str
    text: str


class Command(NamedTuple):
    """A line of a shell block."""

    environment: dict[str, str]
    words: list[str]

    def __str__(self) -> str:
        return shlex.join(self.words)


def all_pages() -> list[Path]:
    """The pages but for the reference, which has no blocks."""
    return sorted(DOCS.glob('*.md'))


def blocks_of(page: Path) -> list[Block]:
    """Its fenced blocks, in order."""
    text = page.read_text()
    blocks = [Block(*found) for found in FENCE.findall(text)]
    assert text.count('\n```') == 2 * len(blocks), f'{page.name} has a block without a language'
    return blocks


def commands_of(block: Block) -> list[Command]:
    """The commands of a shell block."""
    lines = block.text.replace('\\\n', ' ').splitlines()
    commands = []
    for words in (shlex.split(line, comments=True) for line in lines):
        count = next((i for i, word in enumerate(words) if not re.match(r'[A-Z_]+=', word)), 0)
        environment = dict(word.split('=', 1) for word in words[:count])
        if words:
            commands.append(Command(environment, words[count:]))
    return commands


def commands_in(page: Path) -> list[Command]:
    """All commands of a page."""
    shell = [block for block in blocks_of(page) if block.language == 'shell']
    return [command for block in shell for command in commands_of(block)]


def links_in(page: Path) -> list[str]:
    """Where its links and images lead."""
    return LINK.findall(FENCE.sub('', page.read_text()))


def pages_in_nav() -> list[str]:
    """The pages that the site's navigation lists."""
    # The icons and extensions that mkdocs.yml may name are of no interest here.
    return list(_leaves(yaml.safe_load(SITE.read_text())['nav']))


def _leaves(node):
    if isinstance(node, str):
        yield node
    else:
        for child in node.values() if isinstance(node, dict) else node:
            yield from _leaves(child)
