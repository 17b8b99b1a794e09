"""What all of MMagic asks for in versions older than the rest is tested with."""

import diffusers
import huggingface_hub
import pytest
from packaging.version import Version

OLD_DIFFUSERS = Version(diffusers.__version__) < Version('0.25')

newer_diffusers = pytest.mark.skipif(
    OLD_DIFFUSERS, reason='an older diffusers lacks it, or ends its walks above the data'
)
newer_hub = pytest.mark.skipif(
    Version(huggingface_hub.__version__) < Version('0.23'),
    reason='an older client of the Hub cannot be sent to a server of the tests',
)
