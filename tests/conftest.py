"""How properties run here: no deadline, since the machine is shared, and every failure replayable."""

from hypothesis import settings

settings.register_profile("lotmark", deadline=None, print_blob=True)
settings.load_profile("lotmark")
