"""Where the motions of `sample.py` go: one place per motion and given path, in the order of prompts and samples."""

from pathlib import Path

from cases import for_each

from motiongpt.cli.environment import outputs_folder
from motiongpt.cli.prompts import output_places

WALK, WAVE = "a person walks", "She waves!"


@for_each(
    "given, prompts, samples, places",
    [
        # one motion goes where it was told
        (["a/walk.npy", "b"], [WALK], 1, [["a/walk.npy", "b"]]),
        # several prompts: 000, 001
        (
            ["m.npy", "b"],
            [WALK, WAVE],
            1,
            [["m-000.npy", "b/000-a-person-walks"], ["m-001.npy", "b/001-she-waves"]],
        ),
        # several samples: _0, _1, and a folder gets one folder per sample
        (["m.npy", "b"], [WALK], 2, [["m_0.npy", "b/a-person-walks_0"], ["m_1.npy", "b/a-person-walks_1"]]),
        (
            ["m.gif"],
            [WALK, WAVE],
            2,
            [["m-000_0.gif"], ["m-000_1.gif"], ["m-001_0.gif"], ["m-001_1.gif"]],
        ),
        (
            ["b"],
            [WALK, WAVE],
            2,
            [["b/000-a-person-walks_0"], ["b/000-a-person-walks_1"], ["b/001-she-waves_0"], ["b/001-she-waves_1"]],
        ),
    ],
)
def test_places_of_given_paths(given, prompts, samples, places):
    found = output_places([Path(path) for path in given], prompts, samples)
    assert found == [[Path(path) for path in row] for row in places]


@for_each(
    "prompts, samples, names",
    [
        ([WALK], 1, ["a-person-walks"]),
        ([WALK, WAVE], 1, ["a-person-walks", "she-waves"]),
        ([WALK, WALK], 1, ["a-person-walks-000", "a-person-walks-001"]),
        ([WALK, WALK, f"{WALK} 000"], 1, [f"a-person-walks-{end}" for end in ("000", "001", "000-002")]),
        ([WALK], 2, ["a-person-walks_0", "a-person-walks_1"]),
        ([WALK, WAVE], 2, ["a-person-walks_0", "a-person-walks_1", "she-waves_0", "she-waves_1"]),
        ([WALK, WALK], 2, [f"a-person-walks-{i}" for i in ("000_0", "000_1", "001_0", "001_1")]),
    ],
)
def test_places_without_given_paths(prompts, samples, names):
    assert output_places(None, prompts, samples) == [[outputs_folder() / name] for name in names]


def test_a_folder_with_a_dot_in_its_name_is_a_folder_once_it_exists(tmp_path):
    place = tmp_path / "run.1"
    assert output_places([place], [WALK], 2) == [[tmp_path / "run_0.1"], [tmp_path / "run_1.1"]]
    place.mkdir()
    assert output_places([place], [WALK], 2) == [[place / "a-person-walks_0"], [place / "a-person-walks_1"]]


def test_no_two_motions_share_a_place_and_names_sort_like_prompts():
    """Also beyond 1,000 prompts, and whatever the prompts look like."""
    four = [WALK, "a person walks 0", "a person walks-000", "a person walks_0"]
    for given in (None, [Path("m.npy")], [Path("b")]):
        for prompts, samples in ((four, 1), (four, 11), (four * 3, 2), (four * 251, 1)):
            places = [row[0] for row in output_places(given, prompts, samples)]
            assert len(set(places)) == len(places) == len(prompts) * samples
            if given:
                assert places == sorted(places)
