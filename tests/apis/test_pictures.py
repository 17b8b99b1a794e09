import torch

from mmagic_adm.apis.pictures import trajectory_pictures


def test_a_trajectory_is_a_strip_of_two_rows_and_a_frame_for_each_step():
    trajectory = dict(
        timesteps=[900, 500, 0],
        x_t=torch.randn(3, 2, 3, 8, 8),
        pred_x0=torch.zeros(3, 2, 3, 8, 8),
    )
    strip, frames = trajectory_pictures(trajectory, sample=1)
    assert len(frames) == 3
    assert strip.width > 3 * 64
    assert strip.height > 2 * 64
