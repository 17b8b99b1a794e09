"""The site is whole: every page is found, every link leads somewhere, every name exists."""

import importlib
import importlib.util
import json
import os
import pkgutil
import re
import subprocess
import sys

import pytest

from tests.docs.pages import DOCS, links_in, pages_in_nav
from tests.reference import REPOSITORY

PAGES = sorted(DOCS.rglob('*.md'))
REFERENCE = sorted((DOCS / 'reference').glob('*.md'))
DIRECTIVE = re.compile(r'^::: ([\w.]+)$', re.MULTILINE)
IMAGE_LIMIT = 150_000
# What mkdocs.yml names.
TOOLS = ('mkdocs', 'material', 'mkdocstrings_handlers')


def test_every_page_is_in_the_navigation():
    listed = pages_in_nav()
    assert len(listed) == len(set(listed))
    assert sorted(listed) == sorted(page.relative_to(DOCS).as_posix() for page in PAGES)


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.relative_to(DOCS).as_posix())
def test_links_lead_to_files(page):
    for link in links_in(page):
        if '://' not in link:
            target, _, anchor = link.partition('#')
            file = page.parent / target if target else page
            assert file.is_file(), f'{page.name} leads to {link}'
            assert not anchor or anchor in anchors_of(file), f'{page.name} leads to {link}'


def anchors_of(page):
    """What the headings of a page are called in links."""
    headings = re.findall(r'^#+ (.+)$', page.read_text(), re.MULTILINE)
    return {re.sub(r'[^\w-]+', '-', heading.lower()).strip('-') for heading in headings}


def test_pictures_are_small_and_shown():
    shown = {(page.parent / link).resolve() for page in PAGES for link in links_in(page)}
    for picture in (DOCS / 'images').iterdir():
        assert picture.stat().st_size < IMAGE_LIMIT, picture.name
        assert picture in shown, picture.name


def names_in(page):
    return DIRECTIVE.findall(page.read_text())


@pytest.mark.parametrize('page', REFERENCE, ids=lambda page: page.stem)
def test_every_name_in_the_reference_exists_and_is_described(page):
    assert names_in(page)
    for name in names_in(page):
        module, _, attribute = name.rpartition('.')
        assert hasattr(importlib.import_module(module), attribute), name


@pytest.mark.parametrize('page', REFERENCE, ids=lambda page: page.stem)
def test_the_reference_leaves_nothing_out(page):
    package = f'mmagic_adm.{page.stem}'
    public = importlib.import_module(package).__all__
    assert {f'{package}.{name}' for name in public} <= set(names_in(page))


def test_every_public_folder_has_its_reference():
    package = importlib.import_module('mmagic_adm')
    folders = {module.name for module in pkgutil.iter_modules(package.__path__) if module.ispkg}
    assert {page.stem for page in REFERENCE} == folders - {'compat', 'commands', 'demo'}


@pytest.fixture(scope='module')
def site(tmp_path_factory):
    """The site of `make docs`."""
    if not all(importlib.util.find_spec(tool) for tool in TOOLS):
        pytest.skip('MkDocs is not installed')
    folder = tmp_path_factory.mktemp('site')
    command = [sys.executable, '-m', 'mkdocs', 'build', '--strict', '--site-dir', folder]
    built = subprocess.run(
        command,
        cwd=REPOSITORY,
        env={**os.environ, 'NO_MKDOCS_2_WARNING': '1'},
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stderr
    return folder


@pytest.mark.slow
def test_the_site_builds_without_a_warning_and_fetches_nothing(site):
    for page in site.rglob('*.html'):
        fetched = re.findall(
            r'<(?:script|img|iframe)[^>]* src="(\w+:)?//|<link rel="stylesheet" href="(\w+:)?//',
            page.read_text(),
        )
        assert not fetched, page.name
    assert not list(site.rglob('*.py'))


# What people search for, and the page whose title or heading answers: these come first.
SOUGHT = {
    'notebook': 'examples',
    'mim': 'mmagic',
    'cite': 'index',
    'save images': 'sampling',
    'inpainting': 'restoration',
    'zoo': 'zoo',
}


@pytest.mark.parametrize('words', SOUGHT)
def test_what_people_search_for_is_in_a_heading(words):
    headings = re.findall(r'^#+ (.+)$', (DOCS / f'{SOUGHT[words]}.md').read_text(), re.MULTILINE)
    assert any(words in heading.lower() for heading in headings)


@pytest.mark.slow
def test_the_index_of_the_search_has_these_headings(site):
    entries = json.loads((site / 'search' / 'search_index.json').read_text())['docs']
    for words, page in SOUGHT.items():
        titles = [entry['title'] for entry in entries if entry['location'].startswith(f'{page}.')]
        assert any(words in title.lower() for title in titles), words
