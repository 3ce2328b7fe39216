"""`lotmark edge status`: how far each source of a site has come, by the site's own memory."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from lotmark_node import terminal
from lotmark_node.commands._edge_site import SiteFile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lotmark_node.edge.memory_records import SourceState
    from lotmark_node.edge.station_licence import StationLicence


def status(settings_file: SiteFile, *, as_json: terminal.JsonFlag = False) -> None:
    """Show how far each source has come, and what waits; also while the site runs.

    Counts are of the newest run. What waits in the client's outbox, only the running site knows:
    its metrics tell.
    """
    from lotmark_node.edge.licence_file import LicenceFile
    from lotmark_node.edge.settings_file import read_site_settings
    from lotmark_node.edge.site_memory import SiteMemory

    settings = read_site_settings(settings_file)
    memory = SiteMemory.read(settings.data)
    try:
        states, session = memory.sources(), memory.last_session()
        waiting, size = memory.pending_count(), memory.evidence_size
        event_count, windows = memory.event_count, len(memory.open_windows())
    finally:
        memory.close()
    folder = settings.stations_folder
    licences = {
        each.station: LicenceFile(folder, each.station).last() for each in settings.stations
    }
    is_open = session is not None and not session.is_closed
    terminal.answer(
        {
            "site": settings.site,
            "session_is_open": is_open,
            "events": event_count,
            "not_handed_on": waiting,
            "open_windows": windows,
            "store_bytes": size,
            "sources": [
                {
                    "name": each.name,
                    "instance": each.position.instance,
                    "next_sequence": each.position.next_sequence,
                    "last_made": _time(each.position.last_made_us),
                    "observations": each.observation_count,
                    "gaps": each.gap_count,
                }
                for each in states
            ],
            "stations": [
                {"name": name, **({} if licence is None else _licence(licence))}
                for name, licence in licences.items()
            ],
        },
        lambda: "\n".join(
            [
                f"{settings.site}: {'runs, or was broken off' if is_open else 'ended'};"
                f" {event_count} events made, {waiting} not handed on, {windows} windows open,"
                f" {size:,} bytes kept",
                *_lines(states),
                *(_station_line(name, licence) for name, licence in licences.items()),
            ]
        ),
        as_json=as_json,
    )


def _lines(states: "Sequence[SourceState]") -> list[str]:
    width = max((len(each.name) for each in states), default=0)
    return [
        f"  {each.name:<{width}}  next {each.position.next_sequence}, last made"
        f" {_time(each.position.last_made_us) or 'never'}; {each.observation_count} observations,"
        f" {each.gap_count} gaps"
        for each in states
    ]


def _licence(licence: "StationLicence") -> dict[str, object]:
    models = [each for each in (licence.light, licence.heavy) if each is not None]
    return {
        "models": [each.registered.model for each in models],
        "licence_read": _time(1_000 * licence.read_ms),
    }


def _station_line(name: str, licence: "StationLicence | None") -> str:
    if licence is None:
        return f"  {name}  has no licence: no node has said yet what it may run, or one said no"
    told = _licence(licence)
    models = ", ".join(map(str, told["models"]))  # type: ignore[call-overload]
    return f"  {name}  may run {models}, as a node last said {told['licence_read']}"


def _time(at_us: int) -> str | None:
    if not at_us:
        return None
    try:
        return datetime.fromtimestamp(at_us / 1_000_000, UTC).isoformat(timespec="milliseconds")
    except (ValueError, OverflowError, OSError):  # a source's clock may say anything
        return f"{at_us} us"
