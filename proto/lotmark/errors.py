"""What the protocol package raises. Callers catch the root or a leaf."""


class ProtocolError(Exception):
    """Outside bytes or a claim about them are not what the protocol allows."""


class MalformedError(ProtocolError):
    """Bytes do not follow their format."""


class SignatureError(ProtocolError):
    """A signature, or the key it names, does not hold."""


class ProofError(ProtocolError):
    """A Merkle proof, root or quorum does not hold."""
