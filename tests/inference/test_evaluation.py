import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from lotmark_inference.engine import EngineIdentity
from lotmark_inference.errors import EngineError
from lotmark_inference.evaluation import Found, Judged, evaluate, summary
from lotmark_inference.weld_images import weld_image
from lotmark_inference.weld_surface import WeldKind
from tests.inference.sample_models import sample_manifest

MANIFEST = sample_manifest(b"")
SEEDS = range(50, 90)


class ScriptedEngine:
    """Knows the images of SEEDS, and answers what was written down for each."""

    def __init__(self, scores: dict[int, tuple[float, float, float]]) -> None:
        self._scores = {weld_image(seed).pixels.tobytes(): scores[seed] for seed in scores}
        self.identity = EngineIdentity(
            kind="scripted", version="1", target="cpu", artefact_sha256=bytes(32)
        )

    def infer(self, batch: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
        rows = [self._scores[image.tobytes()] for image in batch]
        return {"prob": np.array(rows, np.float32)}

    def close(self) -> None:
        """Nothing is open."""


def certain(kind: WeldKind) -> tuple[float, float, float]:
    scores = [0.0, 0.0, 0.0]
    scores[list(WeldKind).index(kind)] = 1.0
    return scores[0], scores[1], scores[2]


def test_a_model_that_knows_the_truth_is_right_every_time() -> None:
    kinds = {seed: weld_image(seed).kind for seed in SEEDS}
    engine = ScriptedEngine({seed: certain(kind) for seed, kind in kinds.items()})
    seen: list[int] = []

    found = evaluate(engine, MANIFEST, SEEDS, seen.append)

    lines = "".join(f"{seed} {kinds[seed].value}\n" for seed in SEEDS)
    assert found.counts.dataset_digest == hashlib.sha256(lines.encode()).digest()
    assert found.right_count == found.image_count == len(SEEDS) == sum(seen)
    assert found.counts.false_positives == found.counts.false_negatives == 0
    assert found.auroc_ppm == 1_000_000
    assert all(each.count == each.rejected_count for each in found.found.values())


def test_a_defect_under_the_wrong_name_is_rejected_but_not_right() -> None:
    kinds = {seed: weld_image(seed).kind for seed in SEEDS}
    swapped = {
        WeldKind.SOUND: WeldKind.SOUND,
        WeldKind.COLD_SOLDER: WeldKind.POROSITY,
        WeldKind.POROSITY: WeldKind.COLD_SOLDER,
    }
    engine = ScriptedEngine({seed: certain(swapped[kind]) for seed, kind in kinds.items()})

    found = evaluate(engine, MANIFEST, SEEDS)

    sound_count = sum(kind is WeldKind.SOUND for kind in kinds.values())
    assert found.counts.false_negatives == 0
    assert found.right_count == sound_count


def test_an_engine_that_gives_no_number_ends_the_evaluation() -> None:
    engine = ScriptedEngine({seed: (float("nan"), 0, 0) for seed in SEEDS})

    with pytest.raises(EngineError, match="are not probabilities"):
        evaluate(engine, MANIFEST, SEEDS)


def judged(kind: WeldKind, score: int, *, width_um: int = 0, rejected: bool = False) -> Judged:
    return Judged(
        seed=0,
        kind=kind,
        defect_width_um=width_um,
        is_rejected=rejected,
        is_right=True,
        defect_score=score,
    )


def test_widths_are_counted_in_bins_whose_end_is_not_included() -> None:
    cold = WeldKind.COLD_SOLDER
    found = summary(
        [
            judged(cold, 1, width_um=129, rejected=True),
            judged(cold, 1, width_um=130, rejected=True),
            judged(cold, 1, width_um=169),
            judged(cold, 1, width_um=170, rejected=True),
            judged(WeldKind.POROSITY, 1, width_um=450),
        ]
    ).found

    assert found[cold, (100, 130)] == Found(1, 1)
    assert found[cold, (130, 170)] == Found(2, 1)
    assert found[cold, (170, 220)] == Found(1, 1)
    assert found[WeldKind.POROSITY, (300, 451)] == Found(1, 0)


@given(
    defects=st.lists(st.integers(0, 20), min_size=1, max_size=20),
    sound=st.lists(st.integers(0, 20), min_size=1, max_size=20),
)
def test_auroc_is_the_share_of_pairs_in_order(defects: list[int], sound: list[int]) -> None:
    rows = [judged(WeldKind.COLD_SOLDER, score) for score in defects]
    rows += [judged(WeldKind.SOUND, score) for score in sound]
    pairs = [(high > low) + (high == low) / 2 for high in defects for low in sound]

    assert summary(rows).auroc_ppm == int(sum(pairs) * 2) * 1_000_000 // (2 * len(pairs))


def test_without_pairs_there_is_no_auroc() -> None:
    assert summary([judged(WeldKind.SOUND, 3)]).auroc_ppm == 0
