"""The snippets of the main README run as printed, on small files in place of the released ones."""

import re

from mmagic_adm.apis import init_model, sample
from mmagic_adm.models.configs import find_config
from tests.docs.commands import check
from tests.docs.pages import commands_in
from tests.docs.snippets import code_blocks
from tests.reference import REPOSITORY
from tests.tiny import build_model

README = REPOSITORY / 'README.md'


def test_the_quick_start_runs_on_the_bundled_models(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    drawing, _, scoring = code_blocks(README)
    # As printed it takes half a minute; the test of the wheel runs it so.
    exec(drawing.replace('num_samples=24', 'num_samples=2').replace('steps=8', 'steps=2'), names)
    assert names['samples'].tensor.shape == (2, 3, 32, 32)
    assert (tmp_path / 'drawings.png').is_file()
    assert code_blocks(REPOSITORY / 'docs' / 'index.md')[0] == drawing
    few = dict(labels=range(2), seed=0, steps=10)
    unscored = sample(init_model('adm_ddim25_digits-16x16'), **few)
    exec(scoring.replace('labels=range(10), seed=0', '**few'), names := {**names, 'few': few})
    assert names['samples'].tensor.mean() > unscored.tensor.mean() + 0.1


def test_only_the_name_changes_for_photographs(monkeypatch):
    """A small model in the released one's place, whose name has to be one of a config."""

    def small(name, **options):
        find_config(name)
        options['profile'] = 'exact'
        model = build_model(unet=dict(num_classes=1000), num_inference_steps=2)
        model.use_profile(options['profile'])
        return model

    _, photographs, _ = code_blocks(README)
    exec(photographs, names := dict(init_model=small, sample=sample))
    assert names['samples'].tensor.shape == (8, 3, 8, 8)


def test_the_commands_are_understood():
    commands = commands_in(README)
    typed = {command.words[1] for command in commands if command.words[0] == 'mmagic-adm'}
    assert typed >= {'list', 'sample', 'test', 'evaluate', 'train', 'convert'}
    for command in commands:
        check(command)


def test_the_files_that_it_names_are_there():
    text = README.read_text()
    named = set(re.findall(r'(?<![\w/])(?:configs|tools|mmagic_adm|tests|docs)/[\w./-]+\w', text))
    assert len(named) > 8
    missing = [name for name in named if not (REPOSITORY / name).exists()]
    assert not missing


def test_the_make_targets_that_it_names_are_there():
    targets = set(re.findall(r'make (\w[\w-]*)', ' '.join(code_blocks(README, 'shell'))))
    assert targets >= {'demo', 'test'}
    makefile = (REPOSITORY / 'Makefile').read_text()
    assert all(re.search(rf'^{target}:', makefile, re.M) for target in targets)
