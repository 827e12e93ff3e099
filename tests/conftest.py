"""For all tests."""

import os
import sys

from hypothesis import settings

# Two hundred processes import the same modules: what one of them has compiled is kept for the others, also where the
# environment (of a container, most likely) says otherwise.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# Whoever runs the tests may reach the world through a proxy only. The loopback, where all of them go, is not there.
for name in ("http_proxy", "https_proxy", "all_proxy"):
    os.environ.pop(name, None)
    os.environ.pop(name.upper(), None)

# How long an example may take says how busy the machine is, and nothing about what is tested.
settings.register_profile("swarmscope", deadline=None)
settings.load_profile("swarmscope")
