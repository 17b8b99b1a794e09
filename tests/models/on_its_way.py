"""Results that a device is still computing, as far as the host knows."""

import torch

READING = ('item', 'tolist', 'numpy', 'cpu', '__bool__', '__float__', '__int__', '__index__')


class OnItsWay(torch.Tensor):
    """A tensor that refuses to be read, as are all that are computed from it."""

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        name = getattr(func, '__name__', '')
        assert name not in READING, f'{name} waits for the device'
        return super().__torch_function__(func, types, args, kwargs)
