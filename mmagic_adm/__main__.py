"""``python -m mmagic_adm`` is the command ``mmagic-adm``."""

import sys

from mmagic_adm.commands import main

if __name__ == '__main__':
    sys.exit(main())
