"""Exports in the programs they are for: the Khronos validator, three-vrm in node, and Blender.

npm packages are looked for in $MOTIONGPT_NODE_MODULES (a folder that has node_modules), else installed once into a
folder beside the system's temporary files. Blender is $BLENDER_PYTHON, a Python with `bpy`, or this one if it has it:
`pip install bpy` into an environment of its own.
"""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from test_rigs_characters import SHAPE, body, bvh_file, glb_file
from test_rigs_files import MILLIMETRE
from test_rigs_solve import FPS, clip, kit_clip

from motiongpt.body.skeletons import HUMANML3D, KIT
from motiongpt.rigs import RIGS, animate, write_bvh, write_glb, write_vrma

HERE = Path(__file__).resolve().parent
PACKAGES = (
    "gltf-validator@2.0.0-dev.3.10", "three@0.187.0", "@pixiv/three-vrm-core@3.5.5", "@pixiv/three-vrm-animation@3.5.5",
)  # fmt: skip
VALIDATE = """
const fs = require("fs"), validator = require("gltf-validator");
(async () => {
  const found = {};
  for (const file of process.argv.slice(1)) {
    const report = await validator.validateBytes(new Uint8Array(fs.readFileSync(file)));
    found[file] = report.issues.messages.map((issue) => [issue.severity, issue.code, issue.pointer]);
  }
  console.log(JSON.stringify(found));
})();
"""


@pytest.fixture(scope="session")
def node() -> Path:
    """A folder with node_modules that holds PACKAGES."""
    if not shutil.which("node"):
        pytest.skip("needs node (nodejs.org) to run the players of glTF and VRM files")
    given = os.environ.get("MOTIONGPT_NODE_MODULES")
    folder = Path(given) if given else Path(tempfile.gettempdir()) / "motiongpt-node"
    lacking = [p for p in PACKAGES if not (folder / "node_modules" / p.rpartition("@")[0]).is_dir()]
    if lacking and (given or not shutil.which("npm")):
        pytest.skip(f"needs npm packages in {folder}: npm install {' '.join(lacking)}")
    if lacking:
        folder.mkdir(parents=True, exist_ok=True)
        command = ["npm", "install", "--no-audit", "--no-fund", "--prefix", str(folder), *PACKAGES]
        done = subprocess.run(command, capture_output=True, text=True, timeout=240)
        if done.returncode:
            pytest.skip(f"npm could not install {', '.join(lacking)}: {done.stderr.strip()[-200:]}")
    return folder


@pytest.mark.slow
def test_the_khronos_validator_finds_nothing(tmp_path, node):
    """Figures of all rigs, one frame, KIT's joints, a character's own file: no errors and no warnings. Hints are only
    that the validator does not know VRM's extension, and that a joint without children is an empty node."""
    joints = clip("wave_both")[::2]
    files = [write_glb(tmp_path / f"{rig}.glb", joints, HUMANML3D, FPS, rig=rig, text="<wave>") for rig in RIGS]
    files.append(write_glb(tmp_path / "one.glb", joints[:1], HUMANML3D, FPS))
    files.append(write_glb(tmp_path / "kit.glb", kit_clip()[:9], KIT, 12.5))
    files.append(write_vrma(tmp_path / "a.vrma", joints, HUMANML3D, FPS))
    names, parents, rest = body("mixamo", SHAPE)
    bvh_rig = bvh_file(tmp_path / "rig.bvh", names, parents, 100 * rest)
    files.append(write_glb(tmp_path / "on_bvh.glb", joints, HUMANML3D, FPS, rig=bvh_rig))
    own = write_glb(tmp_path / "figure.glb", joints, HUMANML3D, FPS, rig="unreal")
    files.append(write_glb(tmp_path / "on_glb.glb", joints, HUMANML3D, FPS, rig=own))
    command = ["node", "-e", VALIDATE, *map(str, files)]
    done = subprocess.run(command, cwd=node, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    issues = json.loads(done.stdout)
    assert set(issues) == {str(path) for path in files}
    assert [issue for found in issues.values() for issue in found if issue[0] < 2] == []
    assert {issue[1] for found in issues.values() for issue in found} <= {"UNSUPPORTED_EXTENSION", "NODE_EMPTY"}


@pytest.mark.slow
def test_the_validator_would_find_something(tmp_path, node):
    names, parents, rest = body()
    path = glb_file(tmp_path / "a.glb", names, parents, rest, np.repeat(np.eye(3)[None], 22, axis=0))
    content = path.read_bytes().replace(b'"SCALAR"', b'"SKALAR"')
    path.write_bytes(content)
    done = subprocess.run(["node", "-e", VALIDATE, str(path)], cwd=node, capture_output=True, text=True, timeout=60)
    assert [issue for issue in json.loads(done.stdout)[str(path)] if issue[0] == 0]


@pytest.mark.slow
def test_three_vrm_plays_a_vrma(tmp_path, node):
    """An avatar twice as large as the figure of the file: all bones are where ours are, times two, so the hips'
    translation and every rotation arrive. Its clip has a track for each of the 22 bones, and one of the hips' place."""
    joints = clip("kick_left")
    path = write_vrma(tmp_path / "a.vrma", joints, HUMANML3D, FPS)
    frames = (0, 7, 17, len(joints) - 1)
    command = ["node", str(HERE / "vrm_check.mjs"), str(node), str(path), *(str(frame / FPS) for frame in frames)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    played = json.loads(done.stdout)
    animation = animate(joints, HUMANML3D, FPS, "vrm")
    assert np.isclose(played["duration"], (len(joints) - 1) / FPS, atol=1e-5) and played["tracks"] == 23
    assert np.allclose(played["restHips"], animation.rig.rest[0], atol=1e-6)
    for frame, places in zip(frames, played["frames"], strict=True):
        for bone, name in enumerate(animation.rig.names):
            assert np.abs(np.array(places[name]) / 2 - animation.joints[frame, bone]).max() < 0.1 * MILLIMETRE


def blender_python() -> str:
    given = os.environ.get("BLENDER_PYTHON")
    if not given and importlib.util.find_spec("bpy") is None:
        pytest.skip("needs Blender: set BLENDER_PYTHON to a Python that has bpy (pip install bpy)")
    return given or sys.executable


@pytest.mark.slow
def test_blender_shows_the_same_joints(tmp_path):
    """Every bone of BVH and GLB files begins in Blender where `animate` has it, in every frame, within 0.1 mm."""
    python = blender_python()
    joints = clip("kick_left")
    expected = {}
    for rig in ("own", "cmu", "unreal"):
        animation = animate(joints, HUMANML3D, FPS, rig)
        expected[str(write_bvh(tmp_path / f"{rig}.bvh", joints, HUMANML3D, FPS, rig=rig))] = animation
        expected[str(write_glb(tmp_path / f"{rig}.glb", joints, HUMANML3D, FPS, rig=rig))] = animation.upright()
    names, parents, rest = body("mixamo", SHAPE)
    character = glb_file(tmp_path / "me.glb", names, parents, rest, np.repeat(np.eye(3)[None], 22, axis=0), 0.01)
    path = write_glb(tmp_path / "on_me.glb", joints, HUMANML3D, FPS, rig=character)
    expected[str(path)] = animate(joints, HUMANML3D, FPS, character)
    command = [python, str(HERE / "blender_check.py"), str(round(FPS)), *expected]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr[-2000:]
    shown = json.loads(done.stdout.strip().splitlines()[-1])
    for file, animation in expected.items():
        places = np.array(shown[file]["joints"])
        places = np.stack((places[..., 0], places[..., 2], -places[..., 1]), axis=-1)  # z up to y up
        wanted = [name for name in animation.rig.names if name in shown[file]["bones"]]
        bones = [animation.rig.names.index(name) for name in wanted]
        assert len(wanted) >= 22 and len(places) == len(joints) and shown[file]["fps"] == FPS
        off = places[:, [shown[file]["bones"].index(name) for name in wanted]] - animation.joints[:, bones]
        assert np.abs(off).max() * animation.rig.metres_per_unit < 0.1 * MILLIMETRE, file
