"""Resolves every requirement on every supported Python, and writes constraints.txt.

Each interpreter gets an empty environment, the newest packages that the ranges allow, and a line
per package that came out. Packages that differ between interpreters get a line for each.
"""

import collections
import pathlib
import subprocess
import tempfile

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parent
PYTHONS = ('3.10', '3.11', '3.12')
EXTRAS = 'standalone,solvers,hub,azula,evaluation,digits,deepinv,demo,docs,tests'
# Newer ones resolve to builds that do not fit each other on every machine.
HELD = ('torch==2.11.0', 'torchvision==0.26.0', 'mmcv-lite==2.1.0')


def resolve(version: str) -> dict[str, str]:
    """Installs everything with one interpreter; gives each package's version."""
    with tempfile.TemporaryDirectory() as folder:
        environment, held = pathlib.Path(folder, 'venv'), pathlib.Path(folder, 'held.txt')
        held.write_text('\n'.join(HELD))
        subprocess.run([f'python{version}', '-m', 'venv', environment], check=True)
        pip = [environment / 'bin' / 'python', '-m', 'pip']
        install = [*pip, 'install', '--quiet', '--constraint', held]
        openmmlab = HERE / 'openmmlab.txt'
        subprocess.run([*install, '--no-deps', '--requirement', openmmlab], check=True)
        subprocess.run([*install, '--editable', f'.[{EXTRAS}]'], check=True, cwd=ROOT)
        frozen = subprocess.run(
            [*pip, 'freeze', '--exclude-editable'], check=True, capture_output=True, text=True
        )
    lines = (line for line in frozen.stdout.splitlines() if '==' in line)
    return dict(line.split('==') for line in lines)


def main() -> None:
    """Writes constraints.txt beside this file."""
    versions: dict[str, dict[str, str]] = collections.defaultdict(dict)
    for python in PYTHONS:
        for package, version in resolve(python).items():
            versions[package][python] = version
    lines = ['# Made by `make lock`; tested as a whole on Python ' + ', '.join(PYTHONS) + '.']
    for package in sorted(versions, key=str.lower):
        by_python = versions[package]
        if len(by_python) == len(PYTHONS) and len(set(by_python.values())) == 1:
            lines.append(f'{package}=={next(iter(by_python.values()))}')
        else:
            lines += [
                f"{package}=={version} ; python_version == '{python}'"
                for python, version in by_python.items()
            ]
    (HERE / 'constraints.txt').write_text('\n'.join(lines) + '\n')


if __name__ == '__main__':
    main()
