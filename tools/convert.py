#!/usr/bin/env python
"""The same as ``mmagic-adm convert``, for whoever types OpenMMLab's paths."""

import sys

from mmagic_adm.commands import main

if __name__ == '__main__':
    sys.exit(main(['convert', *sys.argv[1:]]))
