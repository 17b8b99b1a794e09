"""A stranger's first ten minutes: the README's commands in order, in a clone of their own, timed.

`make test` is not among them, as this is one of the tests.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager

import pytest

from tests.docs.pages import commands_in
from tests.docs.snippets import code_blocks
from tests.reference import REPOSITORY

pytest.importorskip('playwright', reason='driving a browser needs playwright')

from playwright.sync_api import expect, sync_playwright

README = REPOSITORY / 'README.md'
CHROMIUM = shutil.which('chromium') or shutil.which('chromium-browser')
# A machine that others use as well takes its time.
PATIENCE = 300_000
# What an environment with PyTorch takes, and what pip unpacks on the way.
DISK = 12e9

# What needs no download. Training takes half an hour, and is left once it has said so.
SET_UP, PAGE, ACTIVATE = 'make demo', 'make demo-web', 'source .venv/bin/activate'
LIST, TRAIN = "mmagic-adm list 'adm-g*'", 'mmagic-adm train adm_1xb32_digits-16x16'
IN_ORDER = [SET_UP, PAGE, ACTIVATE, LIST, TRAIN]


class Stranger:
    """Someone who has a clone, and nothing of the environment that the tests run in."""

    def __init__(self, clone, cache):
        self.clone, self.times = clone, {}
        ours = re.compile('PYTHON|PYTEST|VIRTUAL_ENV|MMAGIC|OMP_')
        path = os.environ['PATH'].split(os.pathsep)
        path = [each for each in path if each != os.path.dirname(sys.executable)]
        self.environment = {
            **{name: value for name, value in os.environ.items() if not ours.match(name)},
            'PATH': os.pathsep.join([*path, os.path.join(sys.base_prefix, 'bin')]),
            'MMAGIC_ADM_CACHE': str(cache),
        }

    @contextmanager
    def waits(self, for_what):
        """Notes how long something takes."""
        began = time.monotonic()
        yield
        self.times[for_what] = time.monotonic() - began

    def runs(self, command, what=None):
        """Types a command, and waits for its end."""
        with self.waits(what or command):
            words = ['bash', '-c', command]
            subprocess.run(words, cwd=self.clone, env=self.environment, check=True)

    @contextmanager
    def starts(self, command, until, what):
        """Types a command, and waits until it says something; then does more, and presses ctrl-C.

        Gives what was found.
        """
        process = subprocess.Popen(
            ['bash', '-c', command],
            cwd=self.clone,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        said = []
        try:
            with self.waits(what):
                while not (found := re.search(until, said[-1] if said else '')):
                    said.append(process.stdout.readline())
                    assert said[-1], f'{command} ended:\n{"".join(said)}'
            yield found[0]
        finally:
            os.killpg(process.pid, signal.SIGINT)
            said += process.communicate(timeout=60)[0]
        assert 'Traceback' not in ''.join(said)


@pytest.fixture
def stranger(tmp_path):
    for program in ('git', 'make', 'bash'):
        if shutil.which(program) is None:
            pytest.skip(f'there is no {program} on this machine')
    if not (REPOSITORY / '.git').exists():
        pytest.skip('this is not a clone that could be cloned')
    if shutil.disk_usage(tmp_path).free < DISK:
        pytest.skip(f'a second environment wants {DISK / 1e9:.0f} GB of this disk')
    stranger = Stranger(tmp_path / 'mmagic-adm', tmp_path / 'cache')
    with stranger.waits('git clone'):
        subprocess.run(['git', 'clone', '--quiet', REPOSITORY, stranger.clone], check=True)
    yield stranger
    print('\nseconds', *(f'{took:7.1f}  {what}' for what, took in stranger.times.items()), sep='\n')
    shutil.rmtree(stranger.clone)


@pytest.fixture
def browser():
    if CHROMIUM is None:
        pytest.skip('there is no Chromium on this machine')
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=['--no-sandbox'])
        yield browser
        browser.close()


@pytest.mark.slow
def test_the_first_ten_minutes(browser, stranger, tmp_path):
    variables = fewest_gigabytes(tmp_path)
    typed = [str(command) for command in commands_in(README)]
    assert [command for command in typed if command in IN_ORDER] == IN_ORDER

    stranger.runs(SET_UP + variables)
    assert (stranger.clone / 'outputs/demo/sheet.png').is_file()

    script = tmp_path / 'quick_start.py'
    script.write_text(code_blocks(README)[0])
    stranger.runs(f'{ACTIVATE} && python {script}', 'the quick start')
    assert (stranger.clone / 'drawings.png').is_file()

    with stranger.starts(PAGE, r'http://\S+', f'{PAGE}, until it has an address') as address:
        for width in (1280, 390):
            draw_on_the_page(browser, address, width, stranger, tmp_path / f'{width}.png')

    stranger.runs(f'{ACTIVATE} && {LIST}', LIST)
    soon = f'{TRAIN}, until it says how long it takes'
    with stranger.starts(f'{ACTIVATE} && {TRAIN}', r'images, .* a second, .* left', soon):
        pass


def fewest_gigabytes(folder):
    """What to tell `make` for an environment as small as can be fetched from here."""
    index = re.search(r'^TORCH_INDEX \?= (.*)$', (REPOSITORY / 'Makefile').read_text(), re.M)[1]
    try:
        urllib.request.urlopen(f'{index}/torch/', timeout=10).close()
    except OSError:
        # PyTorch's own builds are not the only ones. What is asked for is small.
        asked = ['--no-deps', '--quiet', '--retries', '0', '--timeout', '10']
        asked += ['--dest', folder / 'wheels']
        asked += ['--requirement', REPOSITORY / 'requirements' / 'openmmlab.txt']
        if subprocess.run([sys.executable, '-m', 'pip', 'download', *asked]).returncode:
            pytest.skip('pip finds no packages from here')
        return ''
    return ' CPU=1'


def draw_on_the_page(browser, address, width, stranger, picture):
    """Presses Sample on a screen of this width, and takes a picture of what is then there."""
    page = browser.new_page(viewport=dict(width=width, height=844))
    page.set_default_timeout(PATIENCE)
    errors = []
    page.on('pageerror', lambda error: errors.append(str(error)))
    with stranger.waits(f'the page at {width} pixels, until there is a button'):
        page.goto(address)
        page.wait_for_selector('#samples-run')
    with stranger.waits(f'the page at {width} pixels, until there are pictures'):
        page.click('#samples-run')
        page.wait_for_selector('#samples-view figcaption')
        page.wait_for_function(
            "[...document.querySelectorAll('#samples-view img')].every(each => each.naturalWidth)"
        )
    expect(page.locator('#samples-view img').first).to_be_in_viewport()
    page.screenshot(path=picture)
    page.screenshot(path=picture.with_stem(f'{width}-whole'), full_page=True)
    assert page.evaluate('document.documentElement.scrollWidth') <= width
    assert errors == []
    page.close()
