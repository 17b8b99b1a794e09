"""A sample's way from noise, as pictures."""

from __future__ import annotations

from PIL import Image

from mmagic_adm.files.pictures import as_pictures, contact_sheet


def trajectory_pictures(trajectory: dict, sample: int) -> tuple[Image.Image, list[Image.Image]]:
    """One sample's way: a strip of x_t above the predicted x_0, and the frames of an animation."""
    # x_t is mostly noise of unit variance; two thirds of it fall into the range of the picture.
    noisy = as_pictures(trajectory['x_t'][:, sample].clamp(-1, 1))
    predicted = as_pictures(trajectory['pred_x0'][:, sample].clamp(-1, 1))
    captions = [f't={t:g}' for t in trajectory['timesteps']]
    strip = contact_sheet(noisy + predicted, captions * 2, columns=len(noisy))
    frames = [contact_sheet(pair, columns=2) for pair in zip(noisy, predicted, strict=True)]
    return strip, frames
