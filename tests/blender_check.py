"""Run by Blender's Python: opens .bvh and .glb files and prints where all bones begin, frame by frame, as JSON.

    python blender_check.py FPS FILE ...

Prints {file: {"fps": F, "bones": [...], "joints": (F, B, 3)}} in the last line. Places are in the unit of the file, in
Blender's axes: z up, a body faces -y. A .glb file has seconds instead of frames, so its frames are those at FPS.
"""

import json
import sys

import bpy


def opened(path: str, fps: int) -> dict:
    bpy.ops.wm.read_factory_settings(use_empty=True)
    bpy.context.scene.render.fps = fps
    if path.endswith(".bvh"):
        bpy.ops.import_anim.bvh(filepath=path, update_scene_fps=True, update_scene_duration=True)
    else:
        bpy.ops.import_scene.gltf(filepath=path)
    scene = bpy.context.scene
    figure = next(thing for thing in scene.objects if thing.type == "ARMATURE")
    first, last = (round(edge) for edge in figure.animation_data.action.frame_range)
    joints = []
    for frame in range(first, last + 1):
        scene.frame_set(frame)
        places = [figure.matrix_world @ bone.head for bone in figure.pose.bones]
        joints.append([list(place) for place in places])
    return {
        "fps": scene.render.fps / scene.render.fps_base,
        "bones": [b.name for b in figure.pose.bones],
        "joints": joints,
    }


if __name__ == "__main__":
    print(json.dumps({path: opened(path, int(sys.argv[1])) for path in sys.argv[2:]}))
