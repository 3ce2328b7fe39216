"""What a welder shows to whoever browses it."""

from pathlib import Path

from lotmark_adapters.opcua.browsing import BrowsedSignal, browse
from tests.adapters.opcua.watching import Machine, welder_settings


def test_a_welders_signals_are_listed_with_type_unit_and_value(
    machine: Machine, tmp_path: Path
) -> None:
    async def scenario() -> None:
        welder = machine.welder
        settings = welder_settings(welder, tmp_path, signals=())
        weld = await welder.weld(8.1, 2.4)
        found = await browse(settings)
        above = await browse(settings, depth_max=1)
        few = await browse(settings, nodes_max=4)

        listed = [each for each in found if each.path.startswith("W07/")]
        assert listed == [
            BrowsedSignal("ns=2;s=W07.Counter", "W07/Counter", "UInt32", "", str(weld.number)),
            BrowsedSignal("ns=2;s=W07.Current", "W07/Current", "Float", "B22", "8.1"),
            BrowsedSignal("ns=2;s=W07.Force", "W07/Force", "Double", "B47", "2.4"),
            BrowsedSignal("ns=2;s=W07.Serial", "W07/Serial", "String", "", welder.serial),
        ]
        assert [each.path for each in found if each.path.startswith("Server")] == []
        assert [each for each in above if each.path.startswith("W07/")] == []
        assert len(few) < len(found)

    machine.runner.run(scenario())
