"""What measures a GPU, rehearsed on whatever there is with tiny networks."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PARTS = ('compile_64', 'steps_64', 'training', 'evaluation', 'tuning')


@pytest.mark.slow
def test_every_part_finds_something_and_the_page_takes_it(tmp_path):
    page = shutil.copy(ROOT / 'docs' / 'performance.md', tmp_path)
    command = [
        sys.executable,
        ROOT / 'benchmarks' / 'on_gpu.py',
        tmp_path / 'out',
        '--work',
        'tiny',
    ]
    done = subprocess.run(
        [*command, '--seconds', '6000', '--into', page, '--parts', *PARTS],
        env={**os.environ, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1'},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    results = json.loads((tmp_path / 'out' / 'results.json').read_text())
    assert {name: found['ended'] for name, found in results.items()} == dict.fromkeys(PARTS, 'done')
    _, *others = results['steps_64']['costs']
    assert {cost['way'] for cost in others} >= {'fast, not compiled', 'exact'}
    assert all(cost['eps_error'] < 1e-4 for cost in others)
    section = (tmp_path / 'out' / 'results.md').read_text()
    assert section.strip() in Path(page).read_text()
    assert 'H100' not in Path(page).read_text()  # it has taken the place of what was there


@pytest.mark.slow
def test_a_part_without_time_is_stopped_and_keeps_the_rest(tmp_path):
    command = [sys.executable, ROOT / 'benchmarks' / 'on_gpu.py', tmp_path, '--work', 'tiny']
    subprocess.run(
        [*command, '--seconds', '0.1', '--parts', 'tuning'],
        env={**os.environ, 'PYTHONPATH': str(ROOT)},
        capture_output=True,
        check=True,
    )
    results = json.loads((tmp_path / 'results.json').read_text())
    assert 'no time' in results['tuning']['ended']
