"""How properties run: without deadline, the machine being shared, and each failure replayable."""

from hypothesis import settings

settings.register_profile("lotmark", deadline=None, print_blob=True)
settings.load_profile("lotmark")
