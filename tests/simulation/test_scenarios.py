import pytest

from tests.simulation.scenarios import FOLDER, ScenarioFailed, play, play_text, read_steps

NAMES = sorted(path.stem for path in FOLDER.glob("*.txt"))
SEEDS = (1, 2, 3)  # of the moments at which loops make their passes


@pytest.mark.parametrize("name", NAMES)
def test_the_story_goes_as_it_is_told(name: str) -> None:
    for seed in SEEDS:
        play(name, seed=seed)


@pytest.mark.parametrize("name", NAMES)
def test_the_story_says_what_it_shows_and_expects_something(name: str) -> None:
    text = (FOLDER / f"{name}.txt").read_text()

    assert text.startswith("# ")
    assert any(step.text.startswith("expect ") for step in read_steps(text))


def test_a_story_that_goes_otherwise_fails_with_its_line_and_what_happened() -> None:
    text = "# wrong\nvoters a b c\nelect a\nexpect leader b\n"

    with pytest.raises(ScenarioFailed, match=r"wrong, seed 1, line 4: expect leader b") as failure:
        play_text(text, "wrong", 1)

    assert "the leader is a" in str(failure.value)
    assert "is leader in term 1" in str(failure.value)


@pytest.mark.parametrize("line", ["dance", "expect rain", "crash z", "hold a -> b whispers"])
def test_a_step_that_nobody_knows_fails(line: str) -> None:
    with pytest.raises(ScenarioFailed, match=r"nobody knows|there is no|kinds of frames"):
        play_text(f"voters a b c\n{line}\n", "unknown", 1)
