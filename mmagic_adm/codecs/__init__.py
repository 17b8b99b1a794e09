"""Between images and what is diffused: the images themselves, or latents of them."""

from mmagic_adm.codecs.autoencoder import AutoencoderCodec
from mmagic_adm.codecs.codec import PIXELS, Codec, PixelCodec

__all__ = ['PIXELS', 'AutoencoderCodec', 'Codec', 'PixelCodec']
