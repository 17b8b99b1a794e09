"""Networks in the form that sampling asks for: which image is in x_t, at a noise level."""

from mmagic_adm.denoisers.base import ClippedDenoiser, Denoiser, WrappedDenoiser
from mmagic_adm.denoisers.finite import FiniteWatch, check_finite
from mmagic_adm.denoisers.making import make_denoiser
from mmagic_adm.denoisers.preconditioned import EDMPrecond, PreconditionedNetwork
from mmagic_adm.denoisers.redrawn import RedrawnLabels

__all__ = [
    'ClippedDenoiser',
    'Denoiser',
    'EDMPrecond',
    'FiniteWatch',
    'PreconditionedNetwork',
    'RedrawnLabels',
    'WrappedDenoiser',
    'check_finite',
    'make_denoiser',
]
