"""Names of bones -> parts of a body, by the words that characters use.

Known are Mixamo (mixamorig:LeftUpLeg), Unreal (thigh_l), VRM and VRoid (J_Bip_L_UpperLeg, leftUpperLeg), the CMU
database in BVH and ASF (LeftUpLeg, lfemur), Blender's rigify and plain Blender (DEF-thigh.L, thigh.L), 3ds Max Biped
(Bip01 L Thigh), SMPL (L_Hip, left_hip), Character Creator (CC_Base_L_Thigh), and what is spelt like them. The side is
a word of its own (left, l, Left) or the first letter (lfemur). The trunk needs no names: see `anatomy.py`.
"""

import re
from collections.abc import Sequence

from motiongpt.body.skeletons import SIDES
from motiongpt.rigs.anatomy import Anatomy, with_trunk

WORDS = {  # part -> words, the best first; a word that a part before it took is not taken again
    "knee": ("calf", "shin", "lowerleg", "leglower", "lowleg", "knee", "tibia", "leg"),
    "hip": ("upleg", "thigh", "upperleg", "legupper", "femur", "leg", "hip"),
    "ankle": ("ankle", "foot"),
    "foot": ("toebase", "ball", "toes", "toe", "toe0", "foot"),
    "shoulder": ("upperarm", "uparm", "armupper", "humerus", "arm", "shoulder"),
    "elbow": ("forearm", "lowerarm", "lowarm", "armlower", "radius", "ulna", "elbow"),
    "wrist": ("hand", "wrist"),
    "collar": ("clavicle", "collar", "collarbone", "shoulder"),
}
NEEDED = ("hip", "knee", "ankle")
_PREFIX = re.compile(
    r"^(mixamorig\d*|character\d*|bip\d*|biped\d*|valvebiped|cc|base|def|org|bind|jnt|sk|skel|j|c|m|f|avg|rig|b|bn|bone)$"
)
_HEADS, _PELVES = ("head", "skull"), ("hips", "pelvis", "hip", "root")
HUMAN_BONES = {  # VRM's names, which a file gives for its own bones
    "hips": "pelvis", "head": "head",
    **{f"{side}{theirs}": f"{side}_{ours}" for side in SIDES for theirs, ours in {
        "UpperLeg": "hip", "LowerLeg": "knee", "Foot": "ankle", "Toes": "foot", "Shoulder": "collar",
        "UpperArm": "shoulder", "LowerArm": "elbow", "Hand": "wrist"}.items()},
}  # fmt: skip


def name_words(name: str) -> list[str]:
    """The words of a bone's name in lower case, without namespace and prefix: mixamorig:LeftUpLeg -> left up leg."""
    name = re.split(r"[:|]", name)[-1]
    name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", name)
    words = [word for word in re.split(r"[^0-9A-Za-z]+", name) if word]
    words = [word.lower() for word in words]
    while len(words) > 1 and _PREFIX.match(words[0]):
        words = words[1:]
    return words


def sided(name: str) -> tuple[str, str]:
    """The side of a bone and what it is: ("left", "upleg"); the side is "" in the middle of the body."""
    words = name_words(name)
    for i, word in enumerate(words):
        for side in SIDES:
            if word in (side, side[0]):
                return side, "".join(words[:i] + words[i + 1 :])
    whole = "".join(words)
    for side in SIDES:  # leftupleg, lfemur
        for start in (side, side[0]):
            rest = whole.removeprefix(start)
            if rest != whole and any(rest in known for known in WORDS.values()):
                return side, rest
    return "", whole


def find_parts(names: Sequence[str], parents: Sequence[int], given: dict[str, int], what: str) -> Anatomy:
    """The parts among bones; `given` are those that the file itself names. `what` begins the message.

    Raises ValueError naming the parts without a bone that a body needs (legs), and the bones that are there.
    """
    parts = dict(given)
    known: dict[tuple[str, str], int] = {}
    for bone, name in enumerate(names):
        known.setdefault(sided(name), bone)
    taken: set[str] = set()
    for part, words in WORDS.items():
        if any(f"{side}_{part}" in parts for side in SIDES):
            continue
        word = next((w for w in words if w not in taken and all((side, w) in known for side in SIDES)), None)
        if word:
            taken.add(word)
            parts |= {f"{side}_{part}": known[side, word] for side in SIDES}
    lacking = [part for part in NEEDED if f"left_{part}" not in parts or f"right_{part}" not in parts]
    if lacking:
        shown = ", ".join(name[:40] for name in names[:60]) + (" ..." if len(names) > 60 else "")
        raise ValueError(
            f"{what}: no bones named like a left and a right {', '.join(lacking)}; it has {shown or 'no bones'}. "
            "Rename them as Mixamo, Unreal, VRM or Blender do (LeftUpLeg, thigh_l, leftUpperLeg, thigh.L)"
        )
    for part, words in (("head", _HEADS), ("pelvis", _PELVES)):
        bone = next((known["", word] for word in words if ("", word) in known), None)
        if bone is not None:
            parts.setdefault(part, bone)
    return _checked(with_trunk(parents, parts), parents, names)


def _checked(anatomy: Anatomy, parents: Sequence[int], names: Sequence[str]) -> Anatomy:
    """Without a bone named head, the last of the neck's chain is it: rigify's spine.006."""
    if "head" in anatomy.parts or not anatomy.spine:
        return anatomy
    arms = {bone for side in SIDES for part in ("collar", "shoulder") for bone in [anatomy.parts.get(f"{side}_{part}")]}
    above = [b for b in range(len(parents)) if parents[b] == anatomy.chest and b not in arms]
    chain = [b for b in above if re.search("neck|spine|head", names[b].lower())][:1]
    while chain and chain[-1] in parents:
        chain.append(list(parents).index(chain[-1]))
    return with_trunk(parents, {**anatomy.parts, "head": chain[-1]}) if chain else anatomy
