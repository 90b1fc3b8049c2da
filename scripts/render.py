"""Pictures, films, pages and files for other programs: from a sentence, from tokens, or from motion files.

    python scripts/render.py --input outputs/walk/motion.npy --output walk.gif
    python scripts/render.py --input outputs/walk/motion.npy --output walk.mp4 --look body
    python scripts/render.py --tokens "<MOT_BEGIN><motion_42><motion_18><MOT_END>" --output walk.html
    python scripts/render.py --compare before.npy after.npy --output both.gif
    python scripts/render.py --input walk.npy --output walk.glb            # for Blender; also .bvh .vrma .csv
    python scripts/render.py --input walk.npy --output walk.bvh --rig mixamo
    python scripts/render.py --input train.h5 --index 3
    python scripts/render.py --prompt "a person walks forward" --seed 1

The suffix of --output picks the format: .gif .mp4 .png are drawn, .html is a page to turn, play and step through, .bvh
.glb .vrma .csv are for other programs. Without --output, the picture of a file is a .gif beside it, that of tokens is
outputs/motion_animation.html, and that of a sentence is outputs/<words of the sentence>/motion_animation.html. If
--output is a folder and several files have one name, their pictures are named after their folders too: a-motion.gif,
b-motion.gif.

--fps is the rate that --input and --compare have. Tokens and sentences know theirs: there it is the rate to be written.

Environment variables, which flags override: VQVAE_CHECKPOINT (--vqvae), VQVAE_STATS_PATH (--stats), SMPLX_MODEL_DIR
(--smplx-dir), WORK_DIR (the folder that outputs/ is in), HF_TOKEN or HUGGINGFACE_HUB_TOKEN (to download a run from the
Hub).
"""

import signal
import sys

if __name__ == "__main__" and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C while modules are imported shows no traceback
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

# everything else is imported inside functions: --help and a mistyped flag must not wait for torch
from motiongpt.cli.environment import fill_from_environment, fill_tokenizer_from_environment, say_unread_environment
from motiongpt.cli.opening import INPUT_FLAGS, add_input_flags, add_tokenizer_flags, foreign_flags
from motiongpt.cli.parser import Parser, refuse_flags, run_script

DEMO = ROOT / "checkpoints" / "demo"


def make_parser() -> Parser:
    parser = Parser(__doc__)
    # 1) what is shown
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--tokens", help="motion tokens: <motion_42><motion_18>, <M42> or bare numbers")
    what.add_argument(
        "--input", type=Path, nargs="+", help="files, or folders: their .npy, else .npz, .txt, .bvh, .h5 files"
    )
    what.add_argument("--compare", type=Path, nargs="+", help="files as for --input, beside each other in one picture")
    what.add_argument("--prompt", help="a sentence: its motion is sampled first, as scripts/sample.py does")
    add = parser.add_argument
    add("--only", nargs="+", metavar="NAME", help="--input FOLDER: these files alone, with or without suffix")
    add("--output", help="file to write, its suffix picks the format, or a folder (default: see above)")
    add(
        "--run", help="run that samples (folder or Hub repo id) or decodes tokens (default: outputs/run, else the demo)"
    )
    add("--stage", type=int, help="--prompt: stage to sample from (default: the highest finished one)")
    add("--pid", help="--prompt: participant whose style to take; sample.py --info lists them (default: none)")
    add("--seed", type=int, help="--prompt: same seed, same motion (default: 0)")
    add_tokenizer_flags(parser, "tokenizer folder, instead of the run's", "--vqvae-ckpt")
    add_input_flags(parser)
    add("--reconstruct", action="store_true", help="--input: draw the motion as the tokenizer reconstructs it")
    add("--raw", action="store_true", help="draw decoded joints as they are: no rigid bones, no held feet")
    # 2) how it is shown
    add("--look", choices=("skeleton", "body"), help="bones, or a body of capsules (default: skeleton)")
    add("--mesh", choices=("smpl", "smplh", "smplx"), help="draw the mesh of this body model, fitted to "
        "joints; --output .npz writes the fit as AMASS does")  # fmt: skip
    add("--smplx-dir", type=Path, help="--mesh: folder of body models (smplx/SMPLX_NEUTRAL.npz, smpl/ ...)")
    add("--gender", choices=("neutral", "female", "male"), help="--mesh: which body model (default: neutral)")
    add("--title", help="text above the picture (default: none)")
    add("--size", type=int, help="width and height in pixels, 64 to 4096 (default: 480; .png: 320 per panel)")
    add("--elev", type=float, help="degrees that the camera looks down from (default: 15)")
    add("--azim", type=float, help="degrees of the camera from the person's front towards its left (default: 50)")
    add("--dpi", type=int, help="dots per inch: larger lettering and lines (default: 100)")
    add("--still", choices=("sheet", "timelapse"), help=".png: moments in panels, or in one scene (default: sheet)")
    rig = "own, mixamo, cmu, unreal, vrm, or a character's .bvh or .glb"
    add("--rig", help=f".bvh .glb .vrma .csv: whose bones they have: {rig} (default: own)")
    return parser


def main(args) -> None:
    check(args)
    from motiongpt.cli.pictures import draw_all, pictures
    from motiongpt.features.body_meshes import BodyMeshes

    say_unread_environment()
    meshes = BodyMeshes(args.mesh, args.smplx_dir, args.gender or "neutral") if args.mesh else None
    if meshes:
        meshes.check()  # before anything is sampled
    draw_all(pictures(args, DEMO), view_of(args), args.rig or "own", meshes)


def view_of(args):
    """How pictures show motions."""
    from motiongpt.render.view import View

    names = ("title", "look", "size", "elev", "azim", "dpi", "still")
    values = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    # --fps is the rate of a file that does not say it, and of the picture where there is no file
    return View(**values, fps=None if args.input or args.compare else args.fps)


def check(args) -> None:
    """Refuse flags that have no effect, values that make no sense, and outputs that cannot be written."""
    from motiongpt.cli.pictures import check_flags

    if args.prompt is None:
        refuse_flags(args, ("stage", "pid", "seed"), "without --prompt")
    if not args.input and not args.compare:
        refuse_flags(args, (*set(INPUT_FLAGS) - {"fps"}, "reconstruct"), "without --input")
    if args.input is None:
        refuse_flags(args, ("only",), "without --input")
    if args.mesh is None:
        refuse_flags(args, ("smplx_dir", "gender"), "without --mesh")
    elif args.smplx_dir is None:
        fill_from_environment(args, smplx_dir="SMPLX_MODEL_DIR")
    if (args.seed or 0) < 0:
        raise ValueError(f"--seed must be 0 or more, got {args.seed}")
    check_flags(args, view_of(args))
    fill_tokenizer_from_environment(args)
    foreign_flags(args)


if __name__ == "__main__":
    run_script(main, make_parser())
