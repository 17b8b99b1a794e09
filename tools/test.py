#!/usr/bin/env python
"""The same as ``mmagic-adm test``, for whoever types OpenMMLab's paths."""

import sys

from mmagic_adm.commands import main

if __name__ == '__main__':
    sys.exit(main(['test', *sys.argv[1:]]))
