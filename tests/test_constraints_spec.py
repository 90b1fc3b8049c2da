"""Constraints read from flags and files: what is understood, and errors that say what to write instead."""

import json

import numpy as np
import pytest
from cases import for_each

from motiongpt.body.skeletons import HUMANML3D
from motiongpt.constraints.spec import (
    Constraints,
    Reach,
    Waypoint,
    frame_at,
    gather_constraints,
    nearest_frame,
    parse_reach,
    read_constraints,
    read_path,
)

ALL = {
    "path": [[0, 0, 0], [2, 0, 1.5]],
    "reach": [{"joint": "left_wrist", "time": 2.0, "target": [0.3, 1.4, 0.4]}],
    "loop": True,
    "in_place": False,
}
POINTS = (Waypoint(0.0, 0.0, 0.0), Waypoint(2.0, 0.0, 1.5))
WRIST = Reach("left_wrist", 2.0, (0.3, 1.4, 0.4))


def written(folder, text, name="constraints.json"):
    path = folder / name
    path.write_text(text if isinstance(text, str) else json.dumps(text))
    return path


def test_one_file_carries_everything(tmp_path):
    known = read_constraints(written(tmp_path, ALL))
    assert known == Constraints(POINTS, (WRIST,), loop=True)
    assert known.seconds == 2.0 and known
    assert not read_constraints(written(tmp_path, "{}"))


@for_each(
    "text, joint, time, target",
    [
        ("left_wrist@2.0=0.3,1.4,0.4", "left_wrist", 2.0, (0.3, 1.4, 0.4)),
        ("LW@0=-1,0,2e-1", "LW", 0.0, (-1.0, 0.0, 0.2)),
        (" my joint @ 1.5 = 0, 1, 2 ", "my joint", 1.5, (0.0, 1.0, 2.0)),
    ],
)
def test_a_reach_in_words(text, joint, time, target):
    assert parse_reach(text) == Reach(joint, time, target)


@for_each(
    "text",
    [
        "",
        "left_wrist",
        "left_wrist@2",
        "left_wrist=1,2,3",
        "@2=1,2,3",
        "a@2=1,2",
        "a@2=1,2,3,4",
        "a@x=1,2,3",
        "a@1=a,b,c",
    ],
)
def test_another_form_of_reach_is_shown_the_right_one(text):
    with pytest.raises(ValueError, match="expected JOINT@SECONDS=X,Y,Z, such as left_wrist@2.0=0.3,1.4,0.4"):
        parse_reach(text)


@for_each("text", ["a@nan=1,2,3", "a@-1=1,2,3", "a@inf=1,2,3", "a@1=nan,2,3", "a@1=1,inf,3", "a@1=1,2,1e9"])
def test_numbers_that_are_no_times_or_places(text):
    with pytest.raises(ValueError, match="a time is a number of seconds from 0 on|places are metres"):
        parse_reach(text)


@for_each("name", ["way.json", "way.csv", "way.npy"])
def test_a_path_from_any_file(tmp_path, name):
    path = tmp_path / name
    if name.endswith("json"):
        path.write_text("[[0, 0, 0], [2, 0, 1.5]]")
    elif name.endswith("csv"):
        path.write_text("x, t, z\n0,0,0\n\n0,2,1.5\n")
    else:
        np.save(path, np.array([[0, 0, 0], [2, 0, 1.5]]))
    assert read_path(path) == POINTS


@for_each(
    "name, text, message",
    [
        ("way.json", "[]", "no waypoint"),
        ("way.json", "{}", "expected a JSON list"),
        ("way.json", "[[0, 0]]", r"path\[0\]: expected three numbers \[time, x, z\]"),
        ("way.json", "[[0, 0, true]]", r"path\[0\]: expected three numbers"),
        ("way.json", "[[0, 0, NaN]]", r"path\[0\]: expected three numbers"),
        ("way.json", "[[1, 0, 0], [1, 0, 1]]", "times must increase, got 1 s after 1 s; sort the waypoints"),
        ("way.json", "[[-1, 0, 0]]", "a time is a number of seconds from 0 on"),
        ("way.json", "[[0, 0, 5000]]", "places are metres within 1000"),
        ("way.csv", "0,0,0\n", "the first line must name the columns t, x and z, got '0, 0, 0'"),
        ("way.csv", "", "the first line must name the columns"),
        ("way.csv", "t,x,z\n0,0,0\n1,a,0\n", "line 3: expected numbers for t, x, z, got '1,a,0'"),
        ("way.csv", "t,x,z\n1,2\n", "line 2: expected numbers"),
        ("way.csv", "t,x,z\n1,nan,0\n", "expected three numbers"),
        ("way.npy", "no array", "not a readable .npy"),
        ("way.txt", "0 0 0", "is a .json, .csv or .npy file, got .txt"),
    ],
)
def test_a_path_that_is_none_names_the_file(tmp_path, name, text, message):
    path = written(tmp_path, text, name)
    with pytest.raises(ValueError, match=message) as caught:
        read_path(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_a_path_of_another_shape_or_place(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((4, 2)))
    with pytest.raises(ValueError, match="expected width 3, got 2"):
        read_path(tmp_path / "a.npy")
    with pytest.raises(FileNotFoundError, match="b.json does not exist"):
        read_path(tmp_path / "b.json")


@for_each(
    "changes, message",
    [
        ({"paths": []}, "unknown key 'paths'; known: path, reach, loop, in_place"),
        ({"path": {}}, "path must be a list"),
        ({"loop": 1}, "loop must be true or false, got '1'"),
        ({"in_place": True}, "path and in_place contradict each other"),
        ({"reach": [3]}, r"reach\[0\]: expected an object with joint, time, target, got 3"),
        ({"reach": [{"joint": "a", "time": 1}]}, r"reach\[0\]: the key target is missing"),
        ({"reach": [{"joint": "a", "time": 1, "target": [1, 2]}]}, r"reach\[0\]: target must be three numbers"),
        ({"reach": [{"joint": "a", "tme": 1, "target": [1, 2, 3]}]}, r"reach\[0\]: unknown key 'tme'; known: joint"),
        ({"reach": [*ALL["reach"], *ALL["reach"]]}, "left_wrist has two targets at 2 s; leave one out"),
        ({"reach": [{"joint": "a", "time": -1, "target": [1, 2, 3]}]}, "a time is a number of seconds from 0 on"),
    ],
)
def test_a_file_that_says_something_else(tmp_path, changes, message):
    path = written(tmp_path, ALL | changes)
    with pytest.raises(ValueError, match=message) as caught:
        read_constraints(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_flags_come_on_top_of_the_file(tmp_path):
    file, way = written(tmp_path, ALL), written(tmp_path, "[[1, 1, 1]]", "way.json")
    got = gather_constraints(file, way, ["right_wrist@1=0,1,0"])
    assert got == Constraints(
        (Waypoint(1.0, 1.0, 1.0),), (WRIST, Reach("right_wrist", 1.0, (0.0, 1.0, 0.0))), loop=True
    )
    assert gather_constraints() == Constraints()
    assert gather_constraints(in_place=True, loop=True) == Constraints(loop=True, in_place=True)
    with pytest.raises(ValueError, match="path and in_place contradict"):
        gather_constraints(path=way, in_place=True)
    with pytest.raises(ValueError, match="two targets"):
        gather_constraints(file, reach=["left_wrist@2=0,0,0"])


def test_only_wrists_and_ankles_within_the_motion_can_be_asked_for():
    Constraints(POINTS, (WRIST,)).check(HUMANML3D, 40, 20.0)  # 2 s of motion end at 2 s
    with pytest.raises(
        ValueError, match=r"ask for 2 s, the motion has 1.95 s; ask for a longer motion \(--seconds 2\)"
    ):
        Constraints(POINTS).check(HUMANML3D, 39, 20.0)
    head = Constraints(reach=(Reach("head", 0.0, (0.0, 1.0, 0.0)),))
    with pytest.raises(
        ValueError, match="only the ends of arms and legs can: right_ankle, left_ankle, right_wrist, left"
    ):
        head.check(HUMANML3D, 40, 20.0)
    unknown = Constraints(reach=(Reach("hand", 0.0, (0.0, 1.0, 0.0)),))
    with pytest.raises(ValueError, match="has no joint 'hand'; it has pelvis, left_hip"):
        unknown.check(HUMANML3D, 40, 20.0)


def test_times_are_frames():
    assert frame_at(1.03, 40, 20.0) == pytest.approx(20.6)
    assert nearest_frame(1.03, 40, 20.0) == 21
    assert frame_at(2.0, 40, 20.0) == 39  # the last frame stands for the rest of its duration
