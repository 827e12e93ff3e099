"""For all tests."""

from hypothesis import settings

# How long an example may take says how busy the machine is, and nothing about what is tested.
settings.register_profile("swarmscope", deadline=None)
settings.load_profile("swarmscope")
