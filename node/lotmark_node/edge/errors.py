"""What an edge site raises. Callers catch the root or a leaf; every message says what to do."""


class EdgeError(Exception):
    """The root."""


class MemoryBusy(EdgeError):
    """Another process has the site's memory open."""


class MemoryUnusable(EdgeError):
    """The site's memory cannot be opened, read or written; what was to be written is not there."""


class StoreFull(EdgeError):
    """The evidence store has reached its quota, and holds nothing that is old enough to go."""


class StoreUnusable(EdgeError):
    """The evidence store cannot be written at present."""


class EvidenceUnavailable(EdgeError):
    """A file was kept and is gone, as its retention was over."""


class EvidenceUnknown(EdgeError):
    """A file was never kept here."""


class EvidenceDamaged(EdgeError):
    """A kept file is not what it was, or is missing; or it is not what an event says."""


class PolicyRefused(EdgeError):
    """The settings' anchoring policy contradicts what is on record under its name."""
