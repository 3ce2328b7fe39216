"""Whether a version of a package may follow another one.

Claims that are open go on under the version that opened them, on values, timers and events that
the newer one makes: so a newer version may add to these, and take nothing away.
"""

from collections.abc import Iterator, Mapping

from lotmark_contracts.package.errors import PackageRefused, Problem
from lotmark_contracts.package.manifest import AccountRight, Manifest
from lotmark_contracts.package.package import MANIFEST, Package
from lotmark_contracts.wcel.types import (
    ListType,
    MapType,
    RecordType,
    StringType,
    Type,
    described,
)


def check_upgrade(old: Package, new: Package) -> None:
    """Check that a version may come into force after another one.

    Raises:
        PackageRefused: It may not; each problem says why.
    """
    reasons = [
        *_names(old, new),
        *_lost_or_narrowed("event", old.manifest.events, new.manifest.events),
        *_lost_or_narrowed("timer", old.manifest.timers, new.manifest.timers),
        *_state(old.manifest, new.manifest),
        *_accounts(old.manifest, new.manifest),
    ]
    problems = [Problem(MANIFEST, None, reason, "") for reason in reasons]
    problems.extend(_claims(old, new))
    if problems:
        raise PackageRefused(problems)


def _names(old: Package, new: Package) -> Iterator[str]:
    if new.name != old.name:
        yield f"{new.name!r} does not follow {old.name!r}: versions of a package share its name"
    follows = old.manifest.version + 1
    if new.manifest.version != follows:
        yield (
            f"version {new.manifest.version} does not follow {old.manifest.version}:"
            f" the next one is {follows}"
        )


def _lost_or_narrowed(what: str, old: Mapping[str, Type], new: Mapping[str, Type]) -> Iterator[str]:
    for name, type_ in old.items():
        if name not in new:
            yield f"the {what} {name!r} is missing: open claims may need it, so keep it"
        elif narrowed := _narrowed(type_, new[name]):
            yield f"{what} {name}{narrowed}"


def _state(old: Manifest, new: Manifest) -> Iterator[str]:
    yield from _lost_or_narrowed(
        "state family",
        {name: family.type for name, family in old.state.items()},
        {name: family.type for name, family in new.state.items()},
    )
    for name, family in old.state.items():
        if name in new.state and new.state[name].default != family.default:
            yield (
                f"state family {name} has another default: what was never kept would change;"
                " keep the default"
            )


def _accounts(old: Manifest, new: Manifest) -> Iterator[str]:
    for name, rights in old.accounts.items():
        now = new.accounts.get(name)
        if now is None:
            yield f"the account family {name!r} is missing: its balances would be out of reach"
            continue
        for duty in (AccountRight.PREFUNDED, AccountRight.PARTY):
            if duty in rights and duty not in now:
                yield f"the account family {name!r} was {str(duty)!r}: it stays so"
        if AccountRight.PREFUNDED in now and AccountRight.PREFUNDED not in rights:
            yield (
                f"the account family {name!r} may be below zero already, and so cannot become"
                " 'prefunded': declare another family"
            )


def _claims(old: Package, new: Package) -> Iterator[Problem]:
    rules = {rule.name: rule for rule in new.rules}
    for rule in old.rules:
        now = rules.get(rule.name)
        if rule.claim is not None and now is not None and now.claim_text != rule.claim_text:
            yield Problem(
                f"rules/{rule.name}.json",
                None,
                f"the claim was {rule.claim_text!r}: another one would take an open claim for a"
                " new one, so keep it, or give the rule another name",
                "",
            )


def _narrowed(old: Type, new: Type) -> str | None:
    """Return where and why a value of the old type may not be one of the new type."""
    match old, new:
        case RecordType(), RecordType():
            return _record_narrowed(old, new)
        case ListType(), ListType():
            if new.count_max < old.count_max:
                return f" holds {new.count_max:,} items, and held {old.count_max:,}: bounds grow"
            inner = _narrowed(old.item, new.item)
            return inner and f"[]{inner}"
        case MapType(), MapType():
            if new.count_max < old.count_max:
                return f" holds {new.count_max:,} keys, and held {old.count_max:,}: bounds grow"
            inner = _narrowed(old.value, new.value)
            return inner and f"[]{inner}"
        case StringType(), StringType():
            if new.length_max < old.length_max:
                return (
                    f" has {new.length_max:,} characters, and had {old.length_max:,}: bounds grow"
                )
            return None
        case _:
            return None if old == new else f" is {described(new)}, and was {described(old)}"


def _record_narrowed(old: RecordType, new: RecordType) -> str | None:
    had = dict(old.fields)
    for name, field in new.fields:
        if name not in had and not field.is_optional:
            return f".{name} is new, and so has to be optional: write '{name}?'"
    have = dict(new.fields)
    for name, field in old.fields:
        now = have.get(name)
        if now is None:
            return f".{name} is missing: keep the field"
        if now.is_optional != field.is_optional:
            return f".{name} was {'optional' if field.is_optional else 'required'}: it stays so"
        if inner := _narrowed(field.type, now.type):
            return f".{name}{inner}"
    return None
