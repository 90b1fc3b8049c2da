"""KIT Motion-Language XML: the MMM body stands, bends and turns correctly; broken and hostile files are explained."""

import json
import re
import tracemalloc
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from cases import at_most, for_each
from mutations import check_mutations

from motiongpt.body.skeletons import HUMANML3D, KIT
from motiongpt.data.joint_maps import apply_map, match_map
from motiongpt.data.prepare.kit_plain import write_plain
from motiongpt.data.prepare.report import TooManySkipped
from motiongpt.data.raw import RawClip, Record
from motiongpt.data.readers import kit_xml, mmm, mmm_xml

NAMES = [name for name in mmm.JOINTS if "SC" not in name]  # the 44 of KIT's files
HEIGHT = 1.6
SAMPLES = Path(__file__).resolve().parents[2] / "shared" / "data" / "kit_mmm_samples"
CLOSE = {"rtol": 0, "atol": 2e-6}  # metres: float32 of numbers up to 2


def make(folder, frames=4, angles=None, rpy=(0, 0, 0), root=(0, 0, 848), dt=0.01, names=NAMES, captions=("A man.",)):
    """Write a valid clip; `angles` maps a joint to one angle or to one per frame; rpy and root likewise."""
    columns = [np.broadcast_to((angles or {}).get(name, 0.0), frames) for name in names]
    joints = np.stack(columns, axis=-1) if names else np.zeros((frames, 0))
    rpy, root = np.broadcast_to(rpy, (frames, 3)), np.broadcast_to(root, (frames, 3))

    def words(row):
        return " ".join(repr(float(x)) for x in row)

    body = "\n".join(
        f"<MotionFrame>\n<Timestep>{i * dt!r}</Timestep>\n<RootPosition>{words(root[i])}</RootPosition>\n"
        f"<RootRotation>{words(rpy[i])}</RootRotation>\n<JointPosition>{words(joints[i])} </JointPosition>\n"
        f"<JointVelocity>x</JointVelocity>\n</MotionFrame>"
        for i in range(frames)
    )
    order = "\n".join(f"<Joint name='{name}'/>" for name in names)
    path = folder / "00007_mmm.xml"
    path.write_text(
        f"<?xml version='1.0'?>\n<MMM>\n<Motion name='subject_id_4'>\n<ModelProcessorConfig type='Winter'>\n"
        f"<Height>{HEIGHT}</Height>\n</ModelProcessorConfig>\n<JointOrder>\n{order}\n</JointOrder>\n<MotionFrames>\n"
        f"{body}\n</MotionFrames>\n</Motion>\n</MMM>\n"
    )
    (folder / "00007_annotations.json").write_text(json.dumps(list(captions)))
    return path


def pose(folder, **options) -> dict[str, np.ndarray]:
    clip = kit_xml.read(make(folder, **options))
    return dict(zip(clip.names, clip.joints[-1], strict=True))


def slow_kinematics(root, rpy, angles, height) -> dict[str, np.ndarray]:
    """One frame by 4 x 4 matrices and Rodrigues' formula, from offsets written out once more."""

    def turn(axis, angle):
        k = np.zeros((3, 3))
        i = "xyz".index(axis)
        k[(i + 2) % 3, (i + 1) % 3], k[(i + 1) % 3, (i + 2) % 3] = 1, -1
        matrix = np.eye(4)
        matrix[:3, :3] += np.sin(angle) * k + (1 - np.cos(angle)) * k @ k
        return matrix

    def move(x, y, z):
        matrix = np.eye(4)
        matrix[:3, 3] = np.array([x, y, z]) * height
        return matrix

    def joint(name, axes):
        matrix = np.eye(4)
        for axis in axes:
            matrix = matrix @ turn(axis, angles[f"{name}{axis}_joint"])
        return matrix

    places = {}
    base = np.eye(4)
    base[:3, 3] = root
    base = base @ turn("z", rpy[2]) @ turn("y", rpy[1]) @ turn("x", rpy[0])
    places["root"] = base
    places["BP"] = base @ move(0, 0, 0.040) @ joint("BP", "xzy")
    places["BT"] = places["BP"] @ move(0, 0, 0.060) @ joint("BT", "xzy")
    collar = places["BT"] @ move(0, 0, 0.188)
    places["BLN"] = collar @ move(0, 0, 0.022) @ joint("BLN", "xzy")
    places["BUN"] = places["BLN"] @ move(0, 0, 0.030)
    for side, x in (("L", -1), ("R", 1)):
        places[f"{side}S"] = collar @ move(0.110 * x, 0, 0) @ joint(f"{side}S", "xzy")
        places[f"{side}E"] = places[f"{side}S"] @ move(0, 0, -0.188) @ joint(f"{side}E", "xz")
        places[f"{side}W"] = places[f"{side}E"] @ move(0, 0, -0.145)
        places[f"{side}H"] = base @ move(0.052 * x, 0, 0) @ joint(f"{side}H", "xzy")
        places[f"{side}K"] = places[f"{side}H"] @ move(0, 0, -0.245) @ joint(f"{side}K", "x")
        places[f"{side}A"] = places[f"{side}K"] @ move(0, 0, -0.246) @ joint(f"{side}A", "xzy")
        tilt = turn("z", np.radians(9 * x)) @ turn("x", np.radians(15))
        middle = places[f"{side}A"] @ move(0.0006, 0.0238, -0.0187) @ tilt
        places[f"{side}Mrot"] = middle @ turn("y", angles[f"{side}Mrot_joint"])
        places[f"{side}F"] = places[f"{side}Mrot"] @ move(0.0088 * x, 0.0537, -0.0144)
    # front becomes +z, up +y, left +x
    return {name: np.array([-m[0, 3], m[2, 3], m[1, 3]]) for name, m in places.items()}


def test_zero_angles_stand_upright_and_symmetric(tmp_path):
    p = pose(tmp_path)
    assert list(p) == list(KIT.joints)
    heights = {"root": 530, "BP": 570, "BT": 630, "BLN": 840, "BUN": 870, "LS": 818, "LE": 630, "LW": 485, "LH": 530,
               "LK": 285, "LA": 39}  # fmt: skip
    for name, thousandths in heights.items():  # Winter's shares, the root 0.53 of the height above the floor
        assert p[name][1] == pytest.approx(HEIGHT * thousandths / 1000, abs=2e-6), name
    for left, right in KIT.mirror_pairs:
        a, b = p[KIT.joints[left]], p[KIT.joints[right]]
        np.testing.assert_allclose(a[1:], b[1:], **CLOSE)
        # the model's foot offset of 0.0006 is the same on both sides: its mirror image is 0.0012 of the height off
        off = 0.0012 * HEIGHT + 2e-6 if KIT.joints[left] in ("LMrot", "LF") else 2e-6
        assert abs(a[0] + b[0]) <= off and a[0] > 0  # the left is at +x
    assert p["LF"][2] > p["LMrot"][2] > p["LA"][2] == 0  # the person faces +z
    assert p["LF"][2] == pytest.approx(HEIGHT * 0.0801, abs=1e-4)  # both tilts cancel in the toes: straight ahead


def test_single_joints_turn_the_right_way(tmp_path):
    rest, quarter = pose(tmp_path), np.pi / 2
    knee = pose(tmp_path, angles={"LKx_joint": -quarter})
    np.testing.assert_allclose(knee["LA"] - knee["LK"], [0, 0, -0.246 * HEIGHT], **CLOSE)  # the shin points back
    np.testing.assert_allclose(knee["RA"], rest["RA"], **CLOSE)
    hip = pose(tmp_path, angles={"RHx_joint": quarter})
    np.testing.assert_allclose(hip["RA"] - hip["RH"], [0, 0, 0.491 * HEIGHT], **CLOSE)  # the leg points ahead
    arm = pose(tmp_path, angles={"LSx_joint": np.pi, "RSx_joint": quarter})
    np.testing.assert_allclose(arm["LW"] - arm["LS"], [0, 0.333 * HEIGHT, 0], **CLOSE)
    np.testing.assert_allclose(arm["RW"] - arm["RS"], [0, 0, 0.333 * HEIGHT], **CLOSE)
    side = pose(tmp_path, angles={"LSy_joint": quarter, "RSy_joint": -quarter})
    np.testing.assert_allclose(side["LW"] - side["LS"], [0.333 * HEIGHT, 0, 0], **CLOSE)  # out to the left
    np.testing.assert_allclose(side["RW"] - side["RS"], [-0.333 * HEIGHT, 0, 0], **CLOSE)
    bow = pose(tmp_path, angles={"BPx_joint": -quarter})
    np.testing.assert_allclose(bow["BUN"] - bow["BP"], [0, 0, 0.3 * HEIGHT], **CLOSE)


def test_root_is_placed_and_turned(tmp_path):
    yaw = pose(tmp_path, rpy=(0, 0, np.pi / 2), root=(100, 200, 848))  # z up: from the front (y) to the left (-x)
    np.testing.assert_allclose(yaw["root"], [-0.1, 0.848, 0.2], **CLOSE)
    assert yaw["LF"][0] - yaw["LA"][0] == pytest.approx(HEIGHT * 0.0801, abs=1e-4)  # faces +x, where its left was
    np.testing.assert_allclose(yaw["LH"] - yaw["root"], [0, 0, -0.052 * HEIGHT], **CLOSE)
    # after a yaw of 90 degrees a roll still turns about the body's own right axis
    both = pose(tmp_path, rpy=(np.pi / 2, 0, np.pi / 2))
    np.testing.assert_allclose(both["BUN"] - both["root"], [-0.34 * HEIGHT, 0, 0], **CLOSE)


def test_a_walk_goes_where_the_body_faces(tmp_path):
    """First and last root of a recorded walk (00001 of the language2pose code): yaw 1.64, from x = 1143 to -221 mm."""
    root = np.linspace((1143, -253, 974), (-221, -282, 948), 30)
    clip = kit_xml.read(make(tmp_path, 30, rpy=(-0.07, -0.02, 1.64), root=root))
    at = dict(zip(clip.names, clip.joints[0], strict=True))
    across = at["LH"] - at["RH"] + at["LS"] - at["RS"]  # somebody who faces +z has the left at +x
    facing = np.cross(across, (0, 1, 0)) / np.linalg.norm(across)
    step = clip.joints[-1, 0] - clip.joints[0, 0]
    assert facing @ step > 0.95 * np.linalg.norm(step)


def test_random_poses_match_the_slow_way(tmp_path):
    rng, F = np.random.default_rng(0), 6
    angles = {name: rng.uniform(-1.2, 1.2, F) for name in NAMES}
    rpy, root = rng.uniform(-1.4, 1.4, (F, 3)), rng.uniform(-900, 900, (F, 3))
    clip = kit_xml.read(make(tmp_path, F, angles, rpy, root))
    for i in range(F):
        slow = slow_kinematics(root[i] / 1000, rpy[i], {name: a[i] for name, a in angles.items()}, HEIGHT)
        np.testing.assert_allclose(clip.joints[i], [slow[name] for name in clip.names], **CLOSE)


def test_clip_carries_what_the_files_say(tmp_path):
    path = make(tmp_path, captions=("A man  walks.\n", " ", "Somebody runs"))
    clip = kit_xml.read(path)
    assert (clip.captions, clip.participant, clip.fps) == (("A man walks.", "Somebody runs"), "4", 100.0)
    assert clip.notes == () and clip.joints.dtype == np.float32
    assert kit_xml.find(tmp_path) == [path]
    make(tmp_path, captions=())
    assert kit_xml.read(path).captions == ()
    (tmp_path / "00007_annotations.json").unlink()
    assert kit_xml.read(path).notes == ("no 00007_annotations.json: no captions",)
    with pytest.raises(FileNotFoundError, match="is not a folder"):
        kit_xml.find(tmp_path / "no")


def test_height_given_or_assumed(tmp_path):
    path = make(tmp_path)
    path.write_text(re.sub("<Height>.*</Height>", "", path.read_text()))
    for height, word in ((None, "1.75 m (assumed)"), (2.0, "2 m (given)")):
        clip = kit_xml.read(path, height=height)
        assert clip.joints[0, 0, 1] - clip.joints[0, KIT.index("LA"), 1] == pytest.approx(0.491 * (height or 1.75))
        assert clip.notes == (f"body height: {word}",)


def test_resampling_follows_the_time_stamps(tmp_path):
    t = np.arange(101) * 0.01
    swing = {"LKx_joint": -t, "RSx_joint": (3 * t + 2.441 + np.pi) % (2 * np.pi) - np.pi}  # wraps just after 7 / 30 s
    rpy = np.stack([np.zeros(101), np.zeros(101), (6 * t + np.pi) % (2 * np.pi) - np.pi], axis=-1)
    path = make(tmp_path, 101, swing, rpy, np.stack([1000 * t, 0 * t, 848 + 0 * t], axis=-1))
    clip = kit_xml.read(path, fps=30)
    assert (clip.fps, len(clip.joints)) == (30, 31)
    for i in (0, 7, 19, 30):  # everything is linear in time, so any rate meets it
        now = i / 30
        angles = dict.fromkeys(NAMES, 0.0) | {"LKx_joint": -now, "RSx_joint": 3 * now + 2.441}
        slow = slow_kinematics([now, 0, 0.848], [0, 0, 6 * now], angles, HEIGHT)
        np.testing.assert_allclose(clip.joints[i], [slow[name] for name in clip.names], **CLOSE)
    # uneven stamps: dropping frames leaves a linear motion where it was
    text = path.read_text()
    frames = re.findall(r"<MotionFrame>.*?</MotionFrame>\n", text, re.S)
    for i in (3, 4, 40, 77):
        text = text.replace(frames[i], "")
    path.write_text(text)
    np.testing.assert_allclose(kit_xml.read(path, fps=30).joints, clip.joints, **CLOSE)
    assert len(kit_xml.read(make(tmp_path, 1)).joints) == 1


def test_root_turns_the_short_way_through_the_pole(tmp_path):
    """Roll and yaw jump by half a turn when the pitch passes 90 degrees; interpolated one by one they would spin."""
    before, after = np.array([0, 1.5, 0]), np.array([np.pi, np.pi - 1.7, np.pi])  # pitch 1.5 and 1.7
    clip = kit_xml.read(make(tmp_path, 2, rpy=np.stack([before, after]), dt=0.1), fps=20)
    slow = slow_kinematics([0, 0, 0.848], [0, 1.6, 0], dict.fromkeys(NAMES, 0.0), HEIGHT)
    np.testing.assert_allclose(clip.joints[1], [slow[name] for name in clip.names], **CLOSE)


def test_other_joints_and_motions_are_noted(tmp_path):
    names = ["LFinger_joint", *reversed(NAMES[1:])]
    angles = {"LFinger_joint": 1.0, "LKx_joint": -np.pi / 2}
    path = make(tmp_path, names=names, angles=angles)
    text = path.read_text().replace(
        "<MMM>", "<MMM>\n<Motion name='cup'><MotionFrames><MotionFrame/></MotionFrames></Motion>"
    )
    path.write_text(text)
    clip = kit_xml.read(path)
    assert clip.participant == "4"
    np.testing.assert_allclose(
        clip.joints[0, KIT.index("LA")] - clip.joints[0, KIT.index("LK")], [0, 0, -0.246 * HEIGHT], **CLOSE
    )
    notes = " | ".join(clip.notes)
    for words in ("left at zero: BPx_joint", "1 angles ignored", "LFinger_joint", "1 other motions ignored: cup"):
        assert words in notes
    one = kit_xml.read(make(tmp_path, names=["RKx_joint"], angles={"RKx_joint": -1.0}))
    assert len(one.joints) == 4


def test_joint_map_gives_a_humanml3d_body(tmp_path):
    clip = kit_xml.read(make(tmp_path))
    name, joint_map = match_map(clip.names)
    assert name == "kit-mmm"
    body = apply_map(clip.joints, clip.names, joint_map, HUMANML3D.joints)[0]
    j = {name: body[i] for i, name in enumerate(HUMANML3D.joints)}
    heights = [
        j[name][1] for name in ("left_foot", "left_knee", "pelvis", "spine1", "spine2", "spine3", "neck", "head")
    ]
    assert heights == sorted(heights) and len(set(heights)) == 8
    assert j["left_collar"][0] > 0 > j["right_collar"][0] and j["left_wrist"][0] > 0
    bones = np.linalg.norm(body[1:] - body[list(HUMANML3D.parents[1:])], axis=-1)
    assert bones.min() > 0.03  # metres: no two joints fall together


def test_plain_files(tmp_path):
    path = make(tmp_path)
    short = kit_xml.read(path, fps=50)
    records = [Record(name, None, [], partial(kit_xml.read, path, 50)) for name in "ab"]
    write_plain(iter(records), tmp_path / "out")
    motion = np.load(tmp_path / "out" / "kit_motion_data.npy", allow_pickle=False)
    assert (motion.shape, motion.dtype) == ((4, 21, 3), np.float32)
    np.testing.assert_array_equal(motion[2:], short.joints)
    texts = json.loads((tmp_path / "out" / "kit_text_data.json").read_text())
    assert texts == [
        {"id": "a", "start": 0, "length": 2, "captions": ["A man."]},
        {"id": "b", "start": 2, "length": 2, "captions": ["A man."]},
    ]
    with pytest.raises(ValueError, match="b: .*100 fps"):
        write_plain([records[0], Record("b", None, [], partial(kit_xml.read, path))], tmp_path)
    with pytest.raises(ValueError, match="no clips"):
        write_plain([], tmp_path)
    said = []
    bad = Record("bad", None, [], partial(kit_xml.read, tmp_path / "none_mmm.xml"))
    with pytest.raises(TooManySkipped, match="1 of 3 records cannot be used .* first bad: .*does not exist"):
        write_plain([*records, bad], tmp_path / "no", said.append)
    assert len(said) == 1 and said[0].startswith("skipped bad: ") and not (tmp_path / "no").exists()
    write_plain([*records * 10, bad], tmp_path / "most", said.append)  # 1 of 21
    assert said[1:] == said[:1] and len(json.loads((tmp_path / "most" / "kit_text_data.json").read_text())) == 20


BROKEN = [
    ("<RootRotation>", "<Rotation>", r"malformed XML \(mismatched tag\)"),
    ("<RootPosition>0.0 ", "<RootPosition>", "<RootPosition> of frame 0 has 2 numbers, expected 3"),
    ("<RootPosition>0.0 ", "<RootPosition>zero ", "<RootPosition> of frame 0: expected numbers, 'zero' is none"),
    ("<RootPosition>0.0 ", "<RootPosition>nan ", "<RootPosition> of frame 0: nan is out of range"),
    ("<Joint name='LKx_joint'/>\n", "", r"<JointPosition> of frame 0 has 44 numbers, expected 43"),
    ("<Joint name='LKx_joint'/>", "<Joint name='RKx_joint'/>", "name, or with one that stood there before"),
    ("<Timestep>0.01<", "<Timestep>0.0<", "<Timestep> of frame 1: 0 after 0, expected a later one"),
    ("<Timestep>0.01</Timestep>\n", "", "<MotionFrame> 1 has no <Timestep>"),
    ("<Height>1.6<", "<Height>160<", "<Height> '160' is no body height in metres"),
    ("<MMM>", "<!DOCTYPE MMM [<!ENTITY a 'aaaa'>]>\n<MMM>", "this reader takes none"),
    ("<MMM>", "<!DOCTYPE MMM SYSTEM 'http://127.0.0.1/x.dtd'>\n<MMM>", "this reader takes none"),
    ("<?xml version='1.0'?>\n<MMM>", "<html>", "the root element is <html>, expected <MMM>"),
    ("<?xml version='1.0'?>", "<?xml version='1.0' encoding='klingon'?>", "klingon"),
    ("</Motion>\n</MMM>\n", "", r"inside <Motion>: malformed XML \(no element found\)"),
    ("<JointOrder>", "<Order><JointOrder>", "mismatched tag"),
]


@for_each("old, new, message", BROKEN)
def test_broken_files_are_explained_with_line_and_element(tmp_path, old, new, message):
    path = make(tmp_path)
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(ValueError, match=message) as caught:
        kit_xml.read(path)
    said = str(caught.value)
    assert "\n" not in said and said.startswith(f"{path}, line ")
    assert kit_xml.explain(path)[-1] == f"broken: {said}"
    line = int(re.search(r"line (\d+)", said).group(1))
    if "Timestep>0.01<" in old and new:  # the line of that frame
        assert text.splitlines()[line - 1] == "<MotionFrame>"


def test_line_is_that_of_the_fault(tmp_path):
    path = make(tmp_path, 5)
    lines = path.read_text().splitlines()
    row = [i for i, line in enumerate(lines) if line.startswith("<JointPosition>")][3]
    lines[row] = lines[row].replace(" 0.0 ", " 0,0 ", 1)
    path.write_text("\n".join(lines))
    with pytest.raises(ValueError, match=rf"line {row + 1}: <JointPosition> of frame 3: .*'0,0' is none"):
        kit_xml.read(path)


@for_each("text", ['{"a": 1}', "[1]", '["a"', "[" * 100_000, "\x00"])
def test_broken_annotations_name_their_file(tmp_path, text):
    path = make(tmp_path)
    (tmp_path / "00007_annotations.json").write_text(text)
    with pytest.raises(ValueError, match="00007_annotations.json"):
        kit_xml.read(path)
    assert "00007_annotations.json" in kit_xml.explain(path)[-1]


def test_bad_arguments(tmp_path):
    path = make(tmp_path)
    for options in ({"fps": 0}, {"fps": float("nan")}, {"fps": 1e9}, {"height": 160}):
        with pytest.raises(ValueError, match="must be"):
            kit_xml.read(path, **options)
    with pytest.raises(FileNotFoundError):
        kit_xml.read(tmp_path / "none_mmm.xml")
    assert "does not exist" in kit_xml.explain(tmp_path / "none_mmm.xml")[0]


def test_absurd_counts_and_sizes_are_refused_in_little_memory(tmp_path, monkeypatch):
    head = b"<MMM>\n<Motion name='a'>\n<JointOrder>"
    joint = b"<Joint name='LKx_joint'/></JointOrder><MotionFrames>"
    cases = {
        "nested more": b"<MMM>" + b"<a>" * 1000,
        "of more than 1 MB": b"<MMM><!--" + b"x" * 30_000_000,
        "more than 100000 characters": head + joint + b"<MotionFrame><Timestep>" + b"1 " * 4_000_000,
        "more than 1000 joints": head + b"".join(b"<Joint name='J%d'/>" % i for i in range(2000)),
        "more than 1000 <Motion>s": b"<MMM>" + b"<Motion></Motion>" * 2000,
        "no <Motion> has": b"<MMM><a>" + b"x" * 30_000_000 + b"</a></MMM>",  # ignored text of any size is skipped
        "200000 frames": head + joint + b"".join(
            b"<MotionFrame><Timestep>%d</Timestep><RootPosition>0 0 0</RootPosition><RootRotation>0 0 0</RootRotation>"
            b"<JointPosition>0</JointPosition></MotionFrame>" % t for t in (0, 999_999)
        ) + b"</MotionFrames></Motion></MMM>",
    }  # fmt: skip
    for message, content in cases.items():
        path = tmp_path / "big_mmm.xml"
        path.write_bytes(content)
        tracemalloc.start()
        with at_most(seconds=5), pytest.raises(ValueError, match=message):
            kit_xml.read(path, fps=20)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 16e6, message  # two blocks and a few texts
    monkeypatch.setattr(mmm_xml, "MAX_FRAMES", 3)
    with pytest.raises(ValueError, match="more than 3 <MotionFrame>s"):
        kit_xml.read(make(tmp_path))


def test_a_hundred_mutations(tmp_path):
    """XML is text: elements are renamed and moved and numbers damaged, not only bytes."""
    path = make(tmp_path, 6, {"LKx_joint": -1.0})
    original, copies = path.read_bytes(), []
    tags = [tag.encode() for tag in ("Motion", "JointOrder", "MotionFrames", "Timestep", "Height", "JointPosition")]
    for seed in range(100):
        rng = np.random.default_rng(seed)
        content = bytearray(original)
        kind = seed % 5
        if kind == 0:
            content = content[: rng.integers(len(content))]
        elif kind == 1:
            for at in rng.integers(len(content), size=rng.integers(1, 4)):
                content[at] ^= 1 << rng.integers(8)
        elif kind == 2:  # an element renamed everywhere
            content = content.replace(tags[rng.integers(len(tags))], b"Other")
        elif kind == 3:  # a stretch doubled or moved
            a, b = np.sort(rng.integers(len(content), size=2))
            content = content[:b] + content[a:b] + content[b:]
        else:  # numbers of any size
            word = [b"1e308", b"-9e999", b"nan", b"99999999999999999999", b"", b"0x10", b"0.25", b"-3"][rng.integers(8)]
            found = [m.span() for m in re.finditer(rb"\d+\.\d+", content)]
            a, b = found[rng.integers(len(found))]
            content[a:b] = word
        copies.append(bytes(content))

    def sound(clip):
        return isinstance(clip, RawClip) and np.isfinite(clip.joints).all()

    def explained(refused):
        return any("broken" in line for line in kit_xml.explain(path, fps=20)) == refused

    check_mutations(path, lambda: kit_xml.read(path, fps=20), explained, copies, sound, least=25, most=94)


@pytest.mark.skipif(not SAMPLES.is_dir(), reason="the KIT samples of the shared data are not here")
def test_samples():
    files = kit_xml.find(SAMPLES)
    assert len(files) == 3
    for path in files:
        clip = kit_xml.read(path, fps=20)
        assert clip.joints.shape == (50, 21, 3) and clip.captions and clip.notes == ()  # 247 frames at 100 fps
        assert np.isfinite(clip.joints).all() and 1.2 < np.ptp(clip.joints[:, :, 1]) < 1.6  # a body of 1.6 m
        with at_most(seconds=1):  # 20 ms measured on a quiet core
            kit_xml.read(path)
