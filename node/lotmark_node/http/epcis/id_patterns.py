"""EPC patterns such as urn:epc:idpat:sgtin:4012345.098765.*: all instances of one class."""

from dataclasses import dataclass

from lotmark.errors import MalformedError
from lotmark.item_name import canonical_item

_PREFIX = "urn:epc:idpat:"
# What stands between the class and the instance in a canonical name.
_SEPARATORS = {
    "sgtin": "/21/",
    "upui": "/235/",
    "itip": "/21/",
    "cpi": "/8011/",
    "grai": "",
    "gdti": "",
    "sgcn": "",
}


@dataclass(frozen=True, slots=True)
class IdPattern:
    """A pattern of ids."""

    class_name: str  # canonical
    instance_prefix: str

    def matches(self, canonical: str) -> bool:
        """Tell whether a canonical name is the class itself or an instance of it."""
        return canonical == self.class_name or canonical.startswith(self.instance_prefix)


def is_pattern(value: str) -> bool:
    """Tell whether a value is written as a pattern."""
    return value.startswith(_PREFIX)


def parse_pattern(value: str) -> IdPattern:
    """Return a pattern.

    Raises:
        MalformedError: It is none, or its class is left open too.
    """
    scheme = value[len(_PREFIX) :].partition(":")[0]
    class_name = canonical_item(value)
    if scheme not in _SEPARATORS or class_name == value:
        raise MalformedError(
            f"{value[:60]!a} is no pattern that can be matched: one of"
            f" {', '.join(_SEPARATORS)} with one * for the instance, such as"
            " urn:epc:idpat:sgtin:4012345.098765.*"
        )
    return IdPattern(class_name, class_name + _SEPARATORS[scheme])
