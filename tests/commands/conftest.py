"""Stand-ins for what the tools are started by."""

import os

import pytest


@pytest.fixture
def fake_slurm(tmp_path):
    """A PATH with stand-ins for Slurm's commands: srun runs its command once, on node 1."""
    (tmp_path / 'srun').write_text(
        '#!/bin/bash\n'
        'echo "srun $*" | tr "\\n" " " >&2\n'
        'while [ "$1" != bash ]; do shift; done\n'
        'SLURM_NNODES=2 SLURM_NODEID=1 SLURM_JOB_ID=123 SLURM_JOB_NODELIST=n[1-2] exec "$@"\n'
    )
    (tmp_path / 'scontrol').write_text('#!/bin/bash\nprintf "n1\\nn2\\n"\n')
    for name in ('srun', 'scontrol'):
        (tmp_path / name).chmod(0o755)
    return f'{tmp_path}{os.pathsep}{os.environ["PATH"]}'
