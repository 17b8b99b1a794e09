#!/usr/bin/env python
"""The same as ``mmagic-adm sweep``, for whoever types OpenMMLab's paths."""

import sys

from mmagic_adm.commands import main

if __name__ == '__main__':
    sys.exit(main(['sweep', *sys.argv[1:]]))
