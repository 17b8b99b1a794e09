#!/usr/bin/env python
"""The same as ``mmagic-adm publish``, for whoever types OpenMMLab's paths."""

import sys

from mmagic_adm.commands import main

if __name__ == '__main__':
    sys.exit(main(['publish', *sys.argv[1:]]))
