"""What the engine raises."""


class EngineError(Exception):
    """The engine cannot do what was asked."""


class StoreCorrupt(EngineError):
    """Stored bytes are not what was written: they are never served as truth."""


class ForeignStore(EngineError):
    """The folder holds the ledger of another chain."""


class StoreOutdated(EngineError):
    """The store was written by a version whose rows this one does not go on with."""


class StoreLocked(EngineError):
    """Another process has the folder open."""


class NotOnLedger(EngineError):
    """There is no such entry, event, lane or height."""


class ExportRefused(EngineError):
    """A snapshot cannot be exported now."""


class Regression(EngineError):
    """The ledger is behind what this node has signed before."""


class PeerUnreachable(EngineError):
    """Another voter does not answer, or not as it must."""


class StaleRead(EngineError):
    """What was asked for could not be reached in time; a weaker consistency would be answered."""


class TooManyAnswers(EngineError):
    """So many questions are being answered that there is no room for another one."""


class AnswerOverdue(EngineError):
    """An answer takes longer than its caller waits, or than any may take."""


class HistoryConflict(EngineError):
    """Other parties have cosigned another history than this node's; it stops."""


class IndexBehind(EngineError):
    """The provenance index is to be made again before the node can start."""
