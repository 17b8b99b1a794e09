"""The same seed gives the same sample in another process, and in another share of the work."""

import pytest
import torch
import torch.multiprocessing

from tests.tiny import CLASSIFIER, build_model

SEEDS = (100, 101, 102, 103, 104)


def make(rank: int, folder: str) -> None:
    """One process's share: every other seed."""
    torch.set_num_threads(1)
    model = build_model(classifier=CLASSIFIER, diffusion_scheduler=dict(type='DDPMScheduler'))
    result = model.infer(seeds=SEEDS[rank::2], classifier_scale=5.0)
    torch.save(result, f'{folder}/{rank}.pt')


@pytest.mark.slow
def test_two_processes_make_what_one_makes(tmp_path):
    torch.multiprocessing.spawn(make, (str(tmp_path),), nprocs=2)
    model = build_model(classifier=CLASSIFIER, diffusion_scheduler=dict(type='DDPMScheduler'))
    whole = model.infer(seeds=SEEDS, classifier_scale=5.0)
    for rank in range(2):
        share = torch.load(tmp_path / f'{rank}.pt')
        assert share['labels'].tolist() == whole['labels'][rank::2].tolist()
        torch.testing.assert_close(
            share['samples'], whole['samples'][rank::2], atol=1e-5, rtol=1e-4
        )
