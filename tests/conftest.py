"""For all tests."""

import os
import sys

from hypothesis import settings

# Two hundred processes import the same modules: what one of them has compiled is kept for the others, also where the
# environment (of a container, most likely) says otherwise.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# How long an example may take says how busy the machine is, and nothing about what is tested. The examples are the same
# each time: what nobody has tried yet is looked for on purpose (--hypothesis-profile=default), not when others merge.
settings.register_profile("swarmscope", deadline=None, derandomize=True, database=None)
settings.load_profile("swarmscope")
