"""`lotmark bench`: what it says before it measures anything, and what a short run prints."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from lotmark_inference.manifest_file import dump_manifest, read_manifest
from lotmark_inference.model_files import ModelFiles
from lotmark_node.bench import (
    adapters_bench,
    client_bench,
    contracts_bench,
    inference_bench,
    ledger_bench,
    network_bench,
    provenance_bench,
)
from lotmark_node.bench.etcd_cluster import missing_programs, put_request
from lotmark_node.bench.order_bench import OrderFigures
from lotmark_node.bench.pumped import Pumped
from lotmark_node.bench.running import per_event_us, running
from lotmark_node.bench.station_delivery import station_figures
from lotmark_node.main import app
from lotmark_node.trial.server_process import ServerProcess
from tests.inference.sample_models import FIELD_COUNT, sample_manifest, tiny_onnx

KEYS = {
    *("events_per_s_64", "events_per_s_256", "events_per_s_64_follower", "p50_ms", "p99_ms"),
    *("p99_ms_at_2300", "day_s", "failover_s", "catch_up_per_s", "rss_mb", "etcd"),
    *("machine", "versions", "load", "fdatasync_p99_ms", "cpu_us_per_event", "measured"),
}
PROVENANCE_KEYS = {
    *("trace_p99_ms", "recall_ms", "history_p99_ms", "proof_ms", "index_us_per_event"),
    *("index_bytes_per_event", "item_chain_us_per_event", "grpc_trace_p99_ms", "rss_mb", "sqlite"),
    *("trace_nodes", "recall_units", "machine", "load", "fdatasync_p99_ms"),
}
SHORTEST = replace(
    network_bench.QUICK,
    seconds_64=0.5,
    seconds_256=0.5,
    seconds_follower=0.5,
    seconds_offered=0.5,
    day_events=1_280,
    behind_events=1_280,
    order_seconds=0.2,
)


def test_the_usage_is_written_as_it_is_typed() -> None:
    shown = CliRunner().invoke(app, ["bench", "--help"], prog_name="lotmark").stdout

    words = " ".join(shown.split())
    names = "adapters, client, contracts, generate, inference, ledger, network, order, provenance"
    assert words.startswith("Usage: lotmark bench NAME [OPTIONS] ")
    assert f"One of: {names}." in words


def test_an_unknown_bench_is_named_with_those_that_there_are() -> None:
    done = CliRunner().invoke(app, ["bench", "disk"])

    assert (done.exit_code, done.stdout) == (2, "")
    assert (
        done.stderr == "'disk' is no bench. Use one of adapters, client, contracts, generate,"
        " inference, ledger, network, order, provenance.\n"
    )


def test_an_option_that_a_bench_does_not_take_is_refused_before_anything_is_measured() -> None:
    done = CliRunner().invoke(app, ["bench", "ledger", "--units", "5"])

    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr == "The bench ledger takes no --units. Leave it out.\n"


def test_a_node_that_does_not_start_is_told_in_one_line_with_its_last_words(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["-m", "lotmark_node.main", "node", "run", str(tmp_path / "node.toml"), "--json"]
    node = ServerProcess("OEM-A/n1", arguments, tmp_path / "node.log")

    with pytest.raises(typer.Exit) as ended, running([node]):
        pass

    told = capsys.readouterr().err
    assert ended.value.exit_code == 2
    assert told.startswith("OEM-A/n1 did not start: ")
    assert str(tmp_path / "node.toml") in told
    assert told.count("\n") == 1


def test_no_process_is_left_of_a_network_of_which_one_does_not_start(tmp_path: Path) -> None:
    good = "print('{}', flush=True); import signal; signal.pause()"
    servers = [
        ServerProcess("good", ["-c", good], tmp_path / "good.log"),
        ServerProcess("bad", ["-c", "raise SystemExit('no disk')"], tmp_path / "bad.log"),
    ]

    with pytest.raises(typer.Exit), running(servers):
        pass

    assert [server.runs for server in servers] == [False, False]


def test_the_journals_size_is_told_beside_the_ledgers(tmp_path: Path) -> None:
    for folder, size in (("ledger", 300), ("journal", 500)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "file").write_bytes(bytes(size))
    stopped = {"stage_ns": {}, "processor_ns": 1_000, "fsyncs": 1, "height": 1}

    costs = ledger_bench._costs(stopped, 10, tmp_path)

    assert (costs["bytes_per_event"], costs["journal_bytes_per_event"]) == (30, 50)


def test_what_no_stage_accounts_for_is_told_as_the_rest() -> None:
    costs = per_event_us({"apply": 30_000, "admit": 50_000}, 100_000, 10)

    assert costs == {"admit": 5.0, "apply": 3.0, "transport_and_rest": 2.0, "total": 10.0}


def test_a_put_is_encoded_as_etcds_proto_says() -> None:
    assert put_request(b"k", bytes(200)) == b"\x0a\x01k\x12\xc8\x01" + bytes(200)


def test_a_machine_without_etcd_is_told_which_programs_it_lacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    assert missing_programs() == ["etcd", "etcdctl"]


def test_ratios_say_how_many_times_faster_ours_is() -> None:
    def pumped(count: int) -> Pumped:
        return Pumped(count=count, seconds=2.0, latencies_ms=[1.0], in_flight=4)

    ours = {"64k": pumped(300), "1m": pumped(50)}
    theirs = {"64k": pumped(200), "1m": pumped(100), "event": pumped(8_000)}
    figures = OrderFigures(ours=ours, etcd=theirs, etcd_told="3")

    assert network_bench._beside_etcd(figures, 12_000)["etcd"] == {
        "ratio_64k": 1.5,
        "ratio_1m": 0.5,
        "ratio_event": 3.0,
    }
    alone = replace(figures, etcd=None, etcd_told="not measured: etcd not installed")
    assert network_bench._beside_etcd(alone, 12_000)["etcd"] is None


def test_a_run_of_a_network_prints_every_figure(tmp_path: Path) -> None:
    figures = json.loads(json.dumps(network_bench.measure(tmp_path, SHORTEST)))

    assert KEYS - set(figures) == set()
    assert figures["measured"]["day"]["events"] == 1_280
    leader, followers = (figures["cpu_us_per_event"][key] for key in ("leader", "followers"))
    assert len(followers) == 2
    assert {"admit", "cut", "apply", "write"} <= set(leader)
    for costs in followers.values():
        assert {"prepare", "apply", "write"} <= set(costs)


def test_the_client_is_measured_with_every_figure_and_all_its_events_are_acknowledged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shortest = client_bench.Extent(events=3_000, single_events=3, outbox_seconds=0.2)
    monkeypatch.setattr(client_bench, "QUICK", shortest)
    monkeypatch.setattr(client_bench, "IMPORTS", 2)
    figures = json.loads(CliRunner().invoke(app, ["bench", "client", "--quick"]).stdout)

    assert set(figures) == {
        *("outbox_per_s", "sdk_events_per_s", "sdk_events", "sdk_stored_per_s", "import_ms"),
        *("import_grpc_ms", "rss_mb", "client_cpu_us_per_event", "submit_p50_ms", "submit_p99_ms"),
        *("acknowledged_p50_ms", "seal_ms", "machine", "versions", "load", "fdatasync_p99_ms"),
    }
    assert figures["sdk_events"] == 3_000
    assert all(value > 0 for name, value in figures.items() if name.endswith(("_s", "_ms", "_mb")))
    assert figures["import_grpc_ms"] < figures["import_ms"]
    assert list(tmp_path.iterdir()) == []


def test_provenance_is_measured_with_every_figure_and_sqlite_answers_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shortest = provenance_bench.Extent(
        units=900, questions=4, recalls=2, cost_units=40, cost_rounds=1
    )
    monkeypatch.setattr(provenance_bench, "QUICK", shortest)
    figures = json.loads(CliRunner().invoke(app, ["bench", "provenance", "--quick"]).stdout)

    assert PROVENANCE_KEYS - set(figures) == set()
    assert figures["units"] == figures["recall_units"] == 900
    assert 780 <= figures["trace_nodes"] <= 810
    assert all(ratio > 0 for ratio in figures["sqlite"].values())
    assert list(tmp_path.iterdir()) == []


def test_the_bench_of_contracts_prints_what_an_event_costs() -> None:
    extent = contracts_bench.Extent(events=200, rounds=3)

    figures = contracts_bench.run_extent(extent)

    assert 0 < figures["us_no_listener"] < figures["us_rejected"] < figures["us_claim"]


def test_watching_machines_is_measured_with_every_figure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shortest = adapters_bench.Extent(
        weld_seconds=0.2,
        recorded_welds=300,
        recorded_observations=2_000,
        capture_seconds=3.0,  # so that windows are closed, also where others want the cores
        site_seconds=0.2,
    )
    monkeypatch.setattr(adapters_bench, "QUICK", shortest)
    figures = json.loads(CliRunner().invoke(app, ["bench", "adapters", "--quick"]).stdout)

    measured = {name for name in figures if name.endswith(("_per_s", "_ms", "_mb"))}
    assert measured == {
        *("opcua_per_s", "opcua_decode_per_s", "opcua_decode_own_per_s", "mtconnect_per_s"),
        *("capture_p50_ms", "capture_p99_ms", "capture_beside_windows_p99_ms"),
        *("rss_mb", "fdatasync_p99_ms"),
    }
    assert all(figures[name] > 0 for name in measured)
    assert figures["capture_p50_ms"] <= figures["capture_p99_ms"]
    assert list(tmp_path.iterdir()) == []


def model_files(onnx: bytes) -> ModelFiles:
    return ModelFiles(read_manifest(dump_manifest(sample_manifest(onnx))), onnx)


def test_a_models_cost_is_told_by_core_and_by_worker() -> None:
    onnx = tiny_onnx()
    files = model_files(onnx)
    extent = inference_bench.Extent(images=2, rounds=1, station_images=3, gpu_batches=1)

    figures = inference_bench.processor_figures({"light": files}, extent)

    assert figures.keys() == {
        "ms_per_image_light",
        "ms_per_image_light_in_worker",
    }
    assert all(figure > 0 for figure in figures.values())


def test_a_stations_alarm_and_delivery_are_timed_with_the_network_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    all_is_cold = np.tile(np.array([-0.01, 0.01, -0.01], dtype=np.float32), (FIELD_COUNT, 1))
    onnx = tiny_onnx(weights=all_is_cold)

    figures = station_figures({"light": model_files(onnx)}, 3)

    assert figures.keys() == {"alarm_p99_ms", "result_to_outbox_p99_ms", "rss_mb"}
    assert all(figure > 0 for figure in figures.values())
    assert list(tmp_path.iterdir()) == []
