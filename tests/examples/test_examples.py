"""The notebooks run as they are, from the first cell to the last."""

import ast
import functools
import json

import numpy as np
import pytest
from PIL import Image

from mmagic_adm import apis
from tests.reference import REPOSITORY

EXAMPLES = REPOSITORY / 'examples'


def run(name, folder):
    """Runs a notebook in a folder; gives its names, and what each cell shows."""
    cells = json.loads((EXAMPLES / f'{name}.ipynb').read_text())['cells']
    names, shown = {'__name__': '__main__'}, []
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for cell in (each for each in cells if each['cell_type'] == 'code'):
            *statements, last = ast.parse(''.join(cell['source'])).body
            is_shown = isinstance(last, ast.Expr)
            body = ast.Module([*statements, *([] if is_shown else [last])], type_ignores=[])
            exec(compile(body, name, 'exec'), names)
            if is_shown:
                shown.append(eval(compile(ast.Expression(last.value), name, 'eval'), names))
    return names, shown


def test_sampling_and_guidance(tmp_path, monkeypatch):
    """Every cell, in two steps."""
    hasty = functools.partial(apis.init_model, num_inference_steps=2, device='cpu')
    monkeypatch.setattr(apis, 'init_model', hasty)
    names, shown = run('sampling_and_guidance', tmp_path)
    assert (tmp_path / 'outputs' / 'digits' / 'samples.npz').is_file()
    assert 'guided by: ClassifierGuidance' in repr(names['model'])
    none, weak, strong = (row.tensor for row in names['rows'])
    # The same digits from the same noise, pushed further and further.
    assert 0 < (none - weak).abs().mean() < (none - strong).abs().mean()
    mirrored, plain = names['mirrored'].tensor, none
    assert (mirrored - mirrored.flip(-1)).abs().mean() < (plain - plain.flip(-1)).abs().mean()
    assert sum(isinstance(each, Image.Image) for each in shown) == 2


@pytest.mark.slow
def test_own_data(tmp_path, monkeypatch):
    """A training of a few iterations in place of some hundred."""
    hasty = functools.partial(apis.train, changes={'train_cfg.max_iters': 3})
    monkeypatch.setattr(apis, 'train', hasty)
    names, shown = run('own_data', tmp_path)
    assert names['checkpoint'] == tmp_path / 'outputs' / 'mine' / 'iter_3.pth'
    assert np.asarray(shown[-1]).std() > 0


@pytest.mark.slow
def test_evaluation(tmp_path):
    guided, unguided = run('evaluation', tmp_path)[1][-2:]
    assert 6 < guided['Inception Score'] <= 10
    assert guided['FID'] < 1
    assert guided['Precision'] > unguided['Precision'] > 0.5
