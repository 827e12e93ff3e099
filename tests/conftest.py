"""For all tests."""

import os
import sys

from hypothesis import HealthCheck, settings

# Two hundred processes import the same modules: what one of them has compiled is kept for the others, also where the
# environment (of a container, most likely) says otherwise.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# Whoever wants pytest's own output in colour, as some CIs do, does not mean that of what is tested.
for name in ("FORCE_COLOR", "TTY_COMPATIBLE"):
    os.environ.pop(name, None)

# How long an example may take says how busy the machine is, and nothing about what is tested; nor is a change to be
# blamed for an example that nobody met before. Others are looked for with `--hypothesis-profile search`.
settings.register_profile("search", deadline=None, derandomize=False, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("swarmscope", settings.get_profile("search"), derandomize=True, database=None)
settings.load_profile("swarmscope")
