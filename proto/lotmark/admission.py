"""Admission answers: a node's signed word that it took a batch, or why not.

An acceptance binds the node to a time: a batch that is not on the log by then, under a final
checkpoint, is evidence of withholding. Layout: docs/protocol.md, section 3.
"""

import struct
from dataclasses import dataclass, replace

from lotmark import ed25519
from lotmark.ed25519 import PrivateKey

_DOMAIN = b"lotmark/admit/v1\n"
_FIELDS = struct.Struct(">32s32sBHQQQ32sB")


@dataclass(frozen=True, slots=True, kw_only=True)
class AdmissionAnswer:
    """One answer; `signature` is empty until it is signed."""

    batch_id: bytes  # zero where the bytes were no batch
    accepted: bool
    reason: int  # an outcome; 0 where accepted
    admitted_at_ms: int
    due_ms: int  # 0 where refused
    checkpoint_size: int
    checkpoint_root: bytes
    node: str  # "<party>/<node>"
    signature: bytes = b""

    def signed_message(self, chain_id: bytes) -> bytes:
        """Return what the node signs."""
        node = self.node.encode("ascii")
        fields = _FIELDS.pack(
            chain_id,
            self.batch_id,
            self.accepted,
            self.reason,
            self.admitted_at_ms,
            self.due_ms,
            self.checkpoint_size,
            self.checkpoint_root,
            len(node),
        )
        return _DOMAIN + fields + node

    def sign(self, key: PrivateKey, chain_id: bytes) -> "AdmissionAnswer":
        """Return the answer with its node's signature."""
        return replace(self, signature=key.sign(self.signed_message(chain_id)))

    def verify(self, key: bytes, chain_id: bytes) -> None:
        """Check the signature under the node's admit key.

        Raises:
            SignatureError: It does not hold.
        """
        ed25519.verify(key, self.signed_message(chain_id), self.signature)
