"""Every command and line of Python in docs/ runs, or is listed here with the reason why not."""

import pytest

from tests.docs.commands import check, run_small
from tests.docs.pages import DOCS, all_pages, blocks_of, commands_in, commands_of
from tests.docs.small_world import PAGE, small_world

# Commands that are not run, only checked: what they name is there, their script takes their
# options, and the model that they name is built without memory for its weights.
NOT_RUN = {
    'make ': 'sets up an environment, or starts a server',
    'mmagic-adm demo': 'serves until it is stopped; the page has tests of its own',
    'pip ': 'changes the environment that the tests run in',
    'jupyter ': 'serves until it is stopped; the notebooks have tests of their own',
    'npm ': 'downloads the drawings',
    'mmagic-adm train edm_1xb256_emoji-32x32': 'wants the drawings',
    'mmagic-adm sample edm-cfg_heun18_emoji-32x32 --num-samples 64': 'wants that training',
    'source ': 'changes the shell',
    'torchrun ': 'wants several GPUs',
    'srun ': 'wants a cluster',
    'mmagic-adm test': 'downloads a reference batch and the Inception network',
    'mmagic-adm evaluate VIRTUAL': 'downloads the Inception network',
    'mmagic-adm train my_small_trees.py --amp': 'wants a GPU',
    'mim ': 'is not among the requirements',
    'python benchmarks/': 'measures, for minutes',
}
# Pages that are not run, each for a reason.
SKIPPED = {
    'troubleshooting': 'its commands fail, and its own test provokes each failure',
    'azula': 'wants azula: its own test runs it where that is',
}
SLOW = {
    'index',  # as the README begins, which is run with fewer samples
    'tour',
    'training',
    'extending',
    'evaluation',
    'guidance',
    'guidance_figures',
    'sampling',
    'performance',
    'upsampling',
    'latents',
    'mmagic',
    'restoration',
}

PAGES = [page for page in all_pages() if page.stem not in SKIPPED]


def reason_not_to_run(command):
    """Why a command is only checked, if it is."""
    return next((why for begin, why in NOT_RUN.items() if str(command).startswith(begin)), None)


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.stem)
def test_commands_are_understood(page):
    for command in commands_in(page):
        check(command)


@pytest.mark.parametrize(
    'page',
    [
        pytest.param(page, id=page.stem, marks=[pytest.mark.slow] * (page.stem in SLOW))
        for page in PAGES
    ],
)
def test_a_page_runs_from_top_to_bottom(page, tmp_path, monkeypatch):
    with small_world(tmp_path, monkeypatch):
        names = {'__name__': PAGE}
        ran = 0
        for block in blocks_of(page):
            if block.title:
                (tmp_path / block.title).write_text(block.text)
            elif block.language == 'python':
                exec(compile(block.text, f'{page.name}', 'exec'), names)
                ran += 1
            elif block.language == 'shell':
                for command in commands_of(block):
                    if reason_not_to_run(command) is None:
                        run_small(command, page.read_text(), monkeypatch)
                        ran += 1
        assert ran or all(map(reason_not_to_run, commands_in(page)))


def test_nothing_is_excused_that_is_not_there():
    commands = [str(command) for page in PAGES for command in commands_in(page)]
    for begin in NOT_RUN:
        assert any(command.startswith(begin) for command in commands), begin
    assert all((DOCS / f'{page}.md').is_file() for page in (*SKIPPED, *SLOW))


def test_blocks_are_of_a_kind_that_is_tested():
    kinds = {block.language for page in PAGES for block in blocks_of(page)}
    assert kinds <= {'python', 'shell', 'text'}
    assert 'python' in kinds
