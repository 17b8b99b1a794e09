"""The networks of the ADM family, as plain torch modules."""

from mmagic_adm.networks.architecture import CHANNEL_MULT
from mmagic_adm.networks.classifier import ADMClassifier
from mmagic_adm.networks.discriminator import ADMDiscriminator
from mmagic_adm.networks.dit import DiT
from mmagic_adm.networks.edm2 import EDM2UNet
from mmagic_adm.networks.encoder import ADMEncoder
from mmagic_adm.networks.network import Network, check_network
from mmagic_adm.networks.plain_classifier import PlainClassifier
from mmagic_adm.networks.song import SongUNet
from mmagic_adm.networks.unet import ADMSuperResolutionUNet, ADMUNet

__all__ = [
    'CHANNEL_MULT',
    'ADMClassifier',
    'ADMDiscriminator',
    'ADMEncoder',
    'ADMSuperResolutionUNet',
    'ADMUNet',
    'DiT',
    'EDM2UNet',
    'Network',
    'PlainClassifier',
    'SongUNet',
    'check_network',
]
