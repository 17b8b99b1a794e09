"""Docstrings as the site shows them: references that Sphinx would follow, written for Markdown.

Loaded by mkdocstrings while it reads the package; see mkdocs.yml.
"""

from __future__ import annotations

import re
from typing import Any

import griffe

# :class:`~package.module.Name` and :meth:`name`
ROLE = re.compile(r':(?:class|func|meth):`~?([\w.]+)`')
# The line before a literal block
BEFORE_LITERAL = re.compile(r'::$', re.MULTILINE)


class ForMarkdown(griffe.Extension):
    """Rewrites each docstring as it is read."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Names instead of roles, one colon instead of two."""
        if obj.docstring:
            text = ROLE.sub(lambda role: f'`{role[1].rpartition(".")[2]}`', obj.docstring.value)
            obj.docstring.value = BEFORE_LITERAL.sub(':', text)
