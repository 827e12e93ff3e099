"""For all tests."""

import os
import sys

from hypothesis import HealthCheck, settings

# Two hundred processes import the same modules: what one of them has compiled is kept for the others, also where the
# environment (of a container, most likely) says otherwise.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# All traffic is on the loopback: accounts and proxies of whoever runs the tests have no business here. Whoever wants
# pytest's own output in colour, as some CIs do, does not mean that of what is tested.
_NOT_OURS = ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "force_color", "tty_compatible")
for _name in list(os.environ):
    if _name.startswith("AWS_") or _name.lower() in _NOT_OURS:
        del os.environ[_name]

# How long an example may take says how busy the machine is, and nothing about what is tested; nor is a change to be
# blamed for an example that nobody met before. Others are looked for with `--hypothesis-profile search`.
settings.register_profile("search", deadline=None, derandomize=False, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("swarmscope", settings.get_profile("search"), derandomize=True, database=None)
settings.load_profile("swarmscope")
