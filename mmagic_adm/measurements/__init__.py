"""Images from measurements: operators, and the methods that sample given y = A(x) + noise."""

from mmagic_adm.arguments import Argument
from mmagic_adm.measurements.ddnm import DDNM, DDNMPlus
from mmagic_adm.measurements.diffpir import DiffPIR
from mmagic_adm.measurements.dps import DPS
from mmagic_adm.measurements.fourier import KernelBlur, MaskedFourier, MotionBlur
from mmagic_adm.measurements.given import FunctionOperator, PhysicsOperator
from mmagic_adm.measurements.jpeg import JPEG
from mmagic_adm.measurements.making import (
    METHODS,
    OPERATORS,
    build_method,
    build_operator,
    measure,
)
from mmagic_adm.measurements.masks import BoxInpainting, Inpainting, RandomInpainting
from mmagic_adm.measurements.mmps import MMPS
from mmagic_adm.measurements.operator import Ability, Measurement, Operator
from mmagic_adm.measurements.pigdm import PiGDM
from mmagic_adm.measurements.repaint import RePaint
from mmagic_adm.measurements.restoration import Restoration
from mmagic_adm.measurements.separable import Downsampling, GaussianBlur, Greyscale
from mmagic_adm.measurements.tds import TDS
from mmagic_adm.measurements.tmpd import TMPD

__all__ = [
    'DDNM',
    'DPS',
    'JPEG',
    'METHODS',
    'MMPS',
    'OPERATORS',
    'TDS',
    'TMPD',
    'Ability',
    'Argument',
    'BoxInpainting',
    'DDNMPlus',
    'DiffPIR',
    'Downsampling',
    'FunctionOperator',
    'GaussianBlur',
    'Greyscale',
    'Inpainting',
    'KernelBlur',
    'MaskedFourier',
    'Measurement',
    'MotionBlur',
    'Operator',
    'PhysicsOperator',
    'PiGDM',
    'RandomInpainting',
    'RePaint',
    'Restoration',
    'build_method',
    'build_operator',
    'measure',
]
