"""Several processes on CPUs, where MMEngine's own way to start them takes GPUs."""

from __future__ import annotations

import atexit
import time
from datetime import timedelta

import torch
from mmengine.dist import is_distributed


def join_on_cpu(launcher: str, seconds: float) -> None:
    """Joins the processes that torchrun started, where there are no GPUs.

    Args:
        launcher: What started them.
        seconds: How long one waits for another.
    """
    if launcher == 'pytorch' and not torch.cuda.is_available() and not is_distributed():
        torch.distributed.init_process_group('gloo', timeout=timedelta(seconds=seconds))
        atexit.register(_leave)


def _leave() -> None:
    # gloo's threads drop the last tensors that they sent when they next get hold of Python. One
    # that finds Python gone aborts the process: give them the time.
    time.sleep(0.5)
    if is_distributed():
        torch.distributed.destroy_process_group()
