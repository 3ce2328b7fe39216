"""What a witness, and a client of one, raise."""


class WitnessError(Exception):
    """A witness cannot do what was asked."""


class MemoryRefused(WitnessError):
    """What this witness has cosigned is not known for certain, so it must not cosign."""


class CheckpointRefused(WitnessError):
    """A checkpoint was not cosigned; its leaves say why."""


class UnknownLog(CheckpointRefused):
    """The witness does not watch a log of this origin."""


class NotSignedByLog(CheckpointRefused):
    """No key of the log signed, or a line that names one does not hold."""


class OldSizeDiffers(CheckpointRefused):
    """The proof does not start from what the witness has cosigned last."""

    def __init__(self, message: str, *, size: int) -> None:
        """Say so, and which size it has cosigned last."""
        super().__init__(message)
        self.size = size


class NotConsistent(CheckpointRefused):
    """The tree is not shown to begin with the one that the witness has cosigned last."""


class WitnessUnavailable(WitnessError):
    """A witness did not answer, or answered what is no answer; trying again may help."""


class WitnessRefused(WitnessError):
    """A witness answered that it does not cosign this."""


class WitnessAhead(WitnessError):
    """A witness has cosigned a larger tree already; a newer checkpoint is needed."""
