"""Makes sources of settings: which protocol a source speaks is known here and nowhere else.

A protocol's library is imported where a site has a source that speaks it.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from lotmark_adapters.errors import SourceRefused
from lotmark_adapters.observation import Position, Source
from lotmark_node.edge.site_settings import SourceSettings

if TYPE_CHECKING:
    from lotmark_adapters.mtconnect.settings import MtconnectSettings
    from lotmark_adapters.opcua.settings import OpcuaSettings


def make_source(
    settings: SourceSettings, position: Position | None, *, folder: Path, is_insecure: bool
) -> Source:
    """Return a source that goes on where it stood.

    Args:
        settings: The source's.
        position: Where it stood; None: it is new.
        folder: What paths in its options are relative to.
        is_insecure: Whether an OPC UA server may be watched that nobody knows.

    Raises:
        SourceRefused: An option is unknown or cannot be, or it is insecure and may not be.
    """
    if settings.protocol == "mtconnect":
        from lotmark_adapters.mtconnect.source import MtconnectSource

        return MtconnectSource(mtconnect_source(settings, folder=folder), position)
    from lotmark_adapters.opcua.source import OpcuaSource

    return OpcuaSource(opcua_source(settings, folder=folder, is_insecure=is_insecure), position)


def check_source(settings: SourceSettings, *, folder: Path, is_insecure: bool) -> None:
    """Check what only the protocol knows; nothing is connected to.

    Raises:
        SourceRefused: As `make_source`.
    """
    if settings.protocol == "mtconnect":
        mtconnect_source(settings, folder=folder)
    else:
        opcua_source(settings, folder=folder, is_insecure=is_insecure)


def is_insecure_source(settings: SourceSettings) -> bool:
    """Return whether a source is to be watched without encryption, and without knowing it."""
    return settings.protocol == "opcua" and settings.options.get("insecure") is True


def mtconnect_source(settings: SourceSettings, *, folder: Path) -> "MtconnectSettings":
    """Return the settings of an MTConnect agent.

    Raises:
        SourceRefused: An option is unknown or cannot be.
    """
    from lotmark_adapters.mtconnect.settings import mtconnect_settings

    addresses = [signal.address for signal in settings.signals]
    return mtconnect_settings(
        settings.name, settings.address, addresses, settings.options, folder=folder
    )


def opcua_source(settings: SourceSettings, *, folder: Path, is_insecure: bool) -> "OpcuaSettings":
    """Return the settings of an OPC UA server.

    Raises:
        SourceRefused: An option is unknown or cannot be, or it is insecure and may not be.
    """
    from lotmark_adapters.opcua.settings import OpcuaSignal, opcua_settings

    made = opcua_settings(
        name=settings.name,
        address=settings.address,
        signals=[
            OpcuaSignal(
                name=signal.name,
                node=signal.address,
                unit=signal.unit,
                is_counter=signal.is_counter,
            )
            for signal in settings.signals
        ],
        options=settings.options,
        folder=folder,
    )
    if not made.signals and not made.has_results:
        raise SourceRefused(
            f"source {settings.name}: nothing of it is watched; add a [[source.signal]] for each"
            " value, as `lotmark edge browse` lists them"
        )
    if made.is_insecure and not is_insecure:
        raise SourceRefused(
            f"source {settings.name}: insecure = true is for development: remove it and name the"
            ' server\'s certificates, trusted = "trusted", or start the site with --insecure-dev'
        )
    return made
