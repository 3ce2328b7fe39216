"""Claims, statements and analyses in the shapes of Catena-X, as events that rule packages read.

Each function reads one document and returns the name and the fields of contract events: what the
shipped packages technical-factor and reference-market listen to. What the shape does not say, such
as who is whose supplier, the caller adds. Nothing is guessed: what is missing, does not close or
does not fit is refused with its place, value, bound and remedy.
"""

from lotmark_adapters.catenax.claim_verification import read_claim_verification
from lotmark_adapters.catenax.package_event import PackageEvent
from lotmark_adapters.catenax.parts_analyses import read_parts_analyses
from lotmark_adapters.catenax.warranty_claim import read_warranty_claim

__all__ = [
    "PackageEvent",
    "read_claim_verification",
    "read_parts_analyses",
    "read_warranty_claim",
]
