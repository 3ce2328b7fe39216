import hashlib
import json
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lotmark.canonical_json import dump
from lotmark.ed25519 import PrivateKey
from lotmark.v1 import event_pb2, quality_pb2
from lotmark_inference.errors import ModelRefused
from lotmark_inference.manifest_file import dump_manifest, manifest_digest
from lotmark_inference.model_folder import ModelFolder
from lotmark_inference.model_registry import RunnableModel, licensed_model, model_to_run
from lotmark_inference.registered_models import EngineTarget, RegisteredModels
from tests.inference.sample_models import sample_manifest

PARTY, STRANGER = "T1-STATOR", "T2-COPPER"
STATION = "aoi-cam07"
KEY = PrivateKey(bytes(range(32)))
CPU = EngineTarget("onnxruntime-1.32.0", "cpu")
GPU = EngineTarget("tensorrt-rtx-1.7", "sm_89")
ONNX = b"stands for an ONNX file"
ARTEFACT = b"stands for an engine built of it"
ANOTHER = b"stands for an engine that another machine built of it"


def _manifest(version: int = 1, onnx: bytes = ONNX) -> quality_pb2.ModelRegistered:
    manifest = sample_manifest(onnx, version=version)
    return quality_pb2.ModelRegistered(
        model=manifest.model,
        weights_digest=manifest.onnx_sha256,
        manifest_digest=manifest_digest(manifest),
        dataset_digest=manifest.training_digest,
    )


def registered(version: int = 1, onnx: bytes = ONNX) -> event_pb2.Event:
    return event_pb2.Event(model_registered=_manifest(version, onnx))


def admitted(
    version: int = 1,
    *,
    on: EngineTarget = CPU,
    artefact: bytes = ONNX,
    onnx: bytes = ONNX,
    verdict: bool = True,
) -> event_pb2.Event:
    body = quality_pb2.ModelAdmitted(
        model=f"weld-light/{version}",
        engine_digest=hashlib.sha256(artefact).digest(),
        engine=on.engine,
        target=on.target,
        weights_digest=hashlib.sha256(onnx).digest(),
        report_digest=bytes(32),
        admitted=verdict,
    )
    return event_pb2.Event(model_admitted=body)


def promoted(version: int = 1, station: str = STATION) -> event_pb2.Event:
    body = quality_pb2.ModelPromoted(model=f"weld-light/{version}", station=station)
    return event_pb2.Event(model_promoted=body)


def rolled_back(version: int, successor: str) -> event_pb2.Event:
    body = quality_pb2.ModelRolledBack(
        model=f"weld-light/{version}", station=STATION, successor=successor
    )
    return event_pb2.Event(model_rolled_back=body)


def after(*events: event_pb2.Event, party: str = PARTY) -> tuple[RegisteredModels, list[str]]:
    models, whys = RegisteredModels(parties=frozenset({PARTY})), []
    for index, event in enumerate(events):
        models, why = models.apply(event, party, index)
        whys.append(why)
    return models, whys


def run(models: RegisteredModels, folder: ModelFolder, on: EngineTarget = CPU) -> RunnableModel:
    licensed = licensed_model(
        models, station=STATION, name="weld-light", engines=(on,), folder=folder
    )
    return model_to_run(licensed, folder)


@pytest.fixture
def folder(tmp_path: Path) -> ModelFolder:
    made = ModelFolder(tmp_path / "models")
    made.put(ONNX)
    made.put(dump_manifest(sample_manifest(ONNX)))
    return made


def test_a_model_that_is_registered_admitted_and_promoted_runs(folder: ModelFolder) -> None:
    models, whys = after(registered(), admitted(), promoted())

    found = run(models, folder)

    assert whys == ["", "", ""]
    assert found.manifest == sample_manifest(ONNX)
    assert found.artefact == ONNX


def test_an_engine_built_of_it_is_given_with_the_artefact_that_was_admitted(
    folder: ModelFolder,
) -> None:
    folder.put(ARTEFACT)
    models, _ = after(registered(), admitted(on=GPU, artefact=ARTEFACT), promoted())

    assert run(models, folder, GPU).artefact == ARTEFACT
    with pytest.raises(ModelRefused, match=r"was never tried on onnxruntime-1\.32\.0 for cpu"):
        run(models, folder)


@pytest.mark.parametrize("verdict", [True, False])
def test_an_engine_that_another_machine_built_takes_no_machines_own_away(
    folder: ModelFolder, verdict: bool
) -> None:
    folder.put(ARTEFACT)
    ours = admitted(on=GPU, artefact=ARTEFACT)
    models, whys = after(
        registered(), ours, promoted(), admitted(on=GPU, artefact=ANOTHER, verdict=verdict)
    )

    assert whys == ["", "", "", ""]
    assert run(models, folder, GPU).artefact == ARTEFACT


def test_an_admitted_engine_whose_file_is_not_here_is_refused_by_its_name(
    folder: ModelFolder,
) -> None:
    models, _ = after(registered(), admitted(on=GPU, artefact=ARTEFACT), promoted())

    with pytest.raises(ModelRefused, match=r"engine tensorrt-rtx-1\.7 for sm_89: there is no file"):
        run(models, folder, GPU)


def test_an_engine_file_that_was_changed_is_refused(folder: ModelFolder) -> None:
    digest = folder.put(ARTEFACT).hex()
    (folder.path / digest[:2] / digest).write_bytes(ANOTHER)
    models, _ = after(registered(), admitted(on=GPU, artefact=ARTEFACT), promoted())

    with pytest.raises(ModelRefused, match=f"not {digest}: it was changed"):
        run(models, folder, GPU)


ENGINES = tuple(f"stands for build {number}".encode() for number in range(3))


@given(
    trials=st.lists(
        st.tuples(st.sampled_from(ENGINES), st.sampled_from([CPU, GPU]), st.booleans()), max_size=12
    ),
    here=st.sampled_from(ENGINES),
)
def test_whatever_others_try_an_engine_runs_by_the_last_trial_of_its_own(
    trials: list[tuple[bytes, EngineTarget, bool]], here: bytes
) -> None:
    tried = [admitted(on=on, artefact=each, verdict=verdict) for each, on, verdict in trials]
    models, _ = after(registered(), admitted(), *tried, promoted())
    own = [verdict for each, on, verdict in trials if (each, on) == (here, GPU)]
    with TemporaryDirectory() as path:
        folder = ModelFolder(Path(path))
        folder.put(dump_manifest(sample_manifest(ONNX)))
        folder.put(ONNX)
        folder.put(here)
        if own and own[-1]:
            assert run(models, folder, GPU).artefact == here
        else:
            with pytest.raises(ModelRefused):
                run(models, folder, GPU)


@pytest.mark.parametrize(
    ("events", "why"),
    [
        ([], "no version of weld-light is in use at aoi-cam07; promote one"),
        ([promoted()], "no version of weld-light is in use"),
        ([registered(), promoted()], "no version of weld-light is in use"),
        ([registered(), admitted(verdict=False), promoted()], "no version of weld-light is in use"),
        (
            [registered(), admitted(), promoted(), admitted(verdict=False)],
            "weld-light/1 failed its trial on onnxruntime-1.32.0 for cpu",
        ),
        ([registered(), admitted(), promoted(station="line-9")], "in use at aoi-cam07"),
        ([registered(), admitted(), promoted(), rolled_back(1, "")], "no version of weld-light"),
    ],
)
def test_what_is_not_registered_admitted_and_promoted_does_not_run(
    folder: ModelFolder, events: list[event_pb2.Event], why: str
) -> None:
    models, _ = after(*events)

    with pytest.raises(ModelRefused, match=why):
        run(models, folder)


@pytest.mark.parametrize(
    ("events", "why"),
    [
        ([admitted()], "weld-light/1 is not registered"),
        ([registered(), registered(onnx=b"other")], "is registered already, by entry 0"),
        ([registered(), admitted(onnx=b"other")], "the trial was of weights d9298a10"),
        ([registered(), promoted()], "weld-light/1 is admitted on no engine"),
        ([rolled_back(1, "")], "weld-light/1 is not in use at aoi-cam07; nothing of that name is"),
        (
            [registered(), admitted(), promoted(), rolled_back(1, "weld-light/2")],
            "weld-light/2 is not registered; none is in use",
        ),
        (
            [registered(), admitted(), promoted(), rolled_back(1, "weld-heavy/1")],
            "weld-heavy/1 is no version of weld-light; none is in use",
        ),
    ],
)
def test_an_event_out_of_order_says_why_it_counts_for_nothing(
    events: list[event_pb2.Event], why: str
) -> None:
    assert why in after(*events)[1][-1]


def test_events_of_a_party_that_does_not_decide_here_count_for_nothing() -> None:
    models, whys = after(registered(), admitted(), promoted(), party=STRANGER)

    assert models == RegisteredModels(parties=frozenset({PARTY}))
    assert whys == ["T2-COPPER does not decide here; T1-STATOR do"] * 3


def test_a_promotion_takes_the_place_of_the_version_before_and_a_rollback_gives_it_back() -> None:
    first = registered(1), admitted(1), promoted(1)
    second = registered(2), admitted(2), promoted(2)
    promoted_twice, _ = after(*first, *second)
    taken_back, whys = after(*first, *second, rolled_back(2, "weld-light/1"))

    assert promoted_twice.in_use[STATION, "weld-light"].model == "weld-light/2"
    assert taken_back.in_use[STATION, "weld-light"].model == "weld-light/1"
    assert whys[-1] == ""


def test_a_file_that_was_changed_after_it_was_registered_does_not_run(folder: ModelFolder) -> None:
    models, _ = after(registered(), admitted(), promoted())
    digest = hashlib.sha256(ONNX).hexdigest()
    place = folder.path / digest[:2] / digest
    place.write_bytes(ONNX + b"!")

    with pytest.raises(ModelRefused, match=f"not {digest}: it was changed"):
        run(models, folder)

    folder.put(ONNX)
    assert run(models, folder).artefact == ONNX
    place.unlink()
    with pytest.raises(ModelRefused, match="there is no file"):
        run(models, folder)


def test_an_engine_does_not_run_without_the_model_that_it_was_built_of(folder: ModelFolder) -> None:
    folder.put(ARTEFACT)
    models, _ = after(registered(), admitted(on=GPU, artefact=ARTEFACT), promoted())
    digest = hashlib.sha256(ONNX).hexdigest()
    (folder.path / digest[:2] / digest).unlink()

    with pytest.raises(ModelRefused, match=r"weld-light/1, ONNX file: there is no file"):
        run(models, folder, GPU)


def test_a_signed_manifest_is_kept_with_its_signature_and_named_without_it(
    folder: ModelFolder,
) -> None:
    manifest = sample_manifest(ONNX)
    raw = dump_manifest(manifest, KEY)
    digest = folder.put_manifest(raw)
    models, _ = after(registered(), admitted(), promoted())

    found = folder.manifest(digest, what="manifest")

    assert digest == manifest_digest(manifest)
    assert (found.raw, found.signed_by) == (raw, KEY.public)
    assert run(models, folder).manifest == manifest


def test_a_manifest_whose_signature_or_content_was_changed_does_not_run(
    folder: ModelFolder,
) -> None:
    manifest = sample_manifest(ONNX)
    signed = dump_manifest(manifest, KEY)
    digest = folder.put_manifest(signed)
    place = folder.path / digest.hex()[:2] / digest.hex()
    models, _ = after(registered(), admitted(), promoted())
    other = dump_manifest(replace(manifest, version=7), KEY)
    forged = json.loads(signed)
    forged["signature"]["value"] = json.loads(other)["signature"]["value"]
    for raw, why in (
        (other, "it was changed"),
        (dump(forged), rf"{digest.hex()}: .* does not hold .*; copy it there again"),
        (signed[:-1], rf"{digest.hex()}: .* not JSON.*; copy it there again"),
    ):
        place.write_bytes(raw)
        with pytest.raises(ModelRefused, match=why):
            run(models, folder)
    with pytest.raises(ModelRefused, match="does not hold"):
        folder.put_manifest(dump(forged))


def test_a_registration_that_names_other_weights_than_its_manifest_does_not_run(
    folder: ModelFolder,
) -> None:
    body = _manifest()
    body.weights_digest = hashlib.sha256(ARTEFACT).digest()
    folder.put(ARTEFACT)
    models, _ = after(event_pb2.Event(model_registered=body), admitted(onnx=ARTEFACT), promoted())

    with pytest.raises(ModelRefused, match="its manifest names weights"):
        run(models, folder)


def test_a_manifest_of_another_version_does_not_run(folder: ModelFolder) -> None:
    other = replace(sample_manifest(ONNX), version=7)
    folder.put(dump_manifest(other))
    body = _manifest()
    body.manifest_digest = manifest_digest(other)
    models, _ = after(event_pb2.Event(model_registered=body), admitted(), promoted())

    with pytest.raises(ModelRefused, match="its manifest is of weld-light/7"):
        run(models, folder)


def _any_event() -> st.SearchStrategy[event_pb2.Event]:
    version = st.integers(1, 3)
    return st.one_of(
        version.map(registered),
        st.tuples(version, st.booleans()).map(lambda each: admitted(each[0], verdict=each[1])),
        version.map(promoted),
        st.tuples(version, st.integers(1, 3)).map(
            lambda each: rolled_back(each[0], f"weld-light/{each[1]}")
        ),
    )


@given(events=st.lists(_any_event(), max_size=30))
def test_whatever_comes_only_models_once_registered_and_admitted_are_in_use(
    events: list[event_pb2.Event],
) -> None:
    models, whys = after(*events)
    counted = [event for event, why in zip(events, whys, strict=True) if not why]

    for promotion in models.in_use.values():
        assert promotion.model in models.registered
        assert any(
            event.model_admitted.model == promotion.model and event.model_admitted.admitted
            for event in counted
        )
