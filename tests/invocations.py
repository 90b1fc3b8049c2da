"""Commands that people type, wrong and right ones, and what must come of them.

WRONG pairs a command with a piece of the one line that must answer it. RIGHT pairs commands with what must be true
afterwards. `{world}` is the tiny run's folder; `{here}` is an empty folder, and the working directory.
tests/test_bad_input.py and tests/test_good_input.py run the two lists, and `python tests/invocations.py` runs both.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

RUN, DATA, VQ = "--run {world}/run", "--data {world}/tokens.json", "--vqvae {world}/vqvae"
BACKBONE = "--backbone {world}/backbone"
TRAIN = f"finetune --stage 1 {DATA} {BACKBONE} --out {{here}}/out --max-steps 1 --eval-every 1"
SAMPLE = f"sample --prompt walk {RUN}"
MYO = "finetune --recipe myoskeleton --stage 1 --data {world} --out {here}/out"
TO_TEXT = f"sample {RUN} --max-new-tokens 3 --output {{here}}/m.txt"
SHORT = f"{SAMPLE} --max-new-tokens 3"
FAST = "--max-steps 1 --eval-every 1 --batch-size 4"
LORA = "--lora-r 4 --lora-alpha 4"
STAGE = f"finetune {DATA} {BACKBONE} --out {{here}}/out {FAST}"
TINY_VQVAE = f"--width 8 --code-dim 8 --codes 8 --depth 1 --window 16 {FAST}"

WRONG: list[tuple[str, str]] = [
    # flags
    ("sample", "--prompt is needed"),
    ("sample --nonsense", "unrecognized arguments: --nonsense"),
    ("sample --pro walk", "unrecognized arguments"),
    (f"{SAMPLE} --seed one", "--seed: invalid int value: 'one'"),
    (f"{SAMPLE} --task dance", "invalid choice: 'dance'"),
    ("prepare --out {here}/x", "--from"),
    ("prepare --from nothing --out {here}/x", "invalid choice: 'nothing'"),
    ("finetune", "--stage is needed"),
    ("finetune --stage 9", "has no stage '9'; it has 3 stages: 1 motion-lm"),
    ("finetune --stage 1 --recipe zzz", "unknown recipe 'zzz'; there are: signmotiongpt, signmotiongpt-paper, sign"),
    ("finetune --stage 2 --recipe captions", "has no stage '2'; it has one stage: 1 captions"),
    (f"{TRAIN} --resume --fresh", "not allowed with argument"),
    ("finetune --stage all --from {world}/run/stage1", "--from has no meaning with --stage all"),
    ("render", "one of the arguments --tokens --input --compare --prompt is required"),
    ("tokenize_motions --data {here}", "required: --out"),
    ("tokenize_motions --data {here} --out {here}/o.json", "--vqvae is needed"),
    # values
    (f"{SAMPLE} --temperature -1", "--temperature must be 0 or more, got -1.0"),
    (f"{SAMPLE} --temperature nan", "--temperature must be a finite number"),
    (f"{SAMPLE} --top-p 0", "--top-p must be in (0, 1], got 0.0"),
    (f"{SAMPLE} --max-new-tokens 0", "--max-new-tokens must be at least 1"),
    (f"{SAMPLE} --seconds 0", "must be positive"),
    (f"{SAMPLE} --seconds nan", "must be positive"),
    (f"{SAMPLE} --num-samples 2 --seconds 1000", "--seconds 1000 is 5000 codes, --max-new-tokens allows 256"),
    (f"{SAMPLE} --exact-length", "needs seconds (--seconds)"),
    (f"{SAMPLE} --stage 7", "no finished stage 7; finished: 1"),
    (f"{SAMPLE} --pid P99", "unknown participant 'P99'; this model knows: P0, P1, P2"),
    (f"{SAMPLE} --device quantum", "--device quantum cannot be used"),
    (f"{SAMPLE} --output {{here}}/x.mov", "cannot save x.mov: supported are"),
    (f"{SAMPLE} --seed {2**70}", "seeds must fit in 64 bits"),
    (f"{TRAIN} --lr 0", "--lr must be positive, got 0.0"),
    (f"{TRAIN} --batch-size 0", "--batch-size must be at least 1, got 0"),
    (f"{TRAIN} --lora-dropout 1", "--lora-dropout must be in [0, 1)"),
    (f"{TRAIN} --lora-targets nothing", "--lora-targets nothing names no linear layer"),
    (f"{TRAIN} --tasks dance", "--tasks dance: expected TASK or TASK=SHARE"),
    (f"{TRAIN} --tasks t2m=0", "--tasks t2m=0: expected"),
    (f"{TRAIN} --max-seq-len 4", "--max-seq-len is 4"),
    (f"{TRAIN} --codes 3", "is outside the codebook of 3 (--codes)"),
    (f"{TRAIN} --codes 99999999", "a codebook of 99999999 (--codes) is not plausible"),
    (f"{TRAIN} --think empty", "--think empty needs a tokenizer with <think>"),
    (f"{TRAIN} --precision int8", "invalid choice: 'int8'"),
    (f"{TRAIN} --resume", "nothing unfinished"),
    ("prepare --from procedural --count 0 --out {here}/x", "--count must be at least 1, got 0"),
    ("prepare --from procedural --count 2 --edits -1 --out {here}/x", "--edits must be 0 or more, got -1"),
    ("prepare --from bvh --input {world} --edits 2 --out {here}/x", "--edits is for --from procedural; not for bvh"),
    ("prepare --from procedural --count 2 --seed -1 --out {here}/x", "--seed must be 0 or more, got -1"),
    ("prepare --from procedural --count 2 --skeleton octopus --out {here}/x", "no skeleton named 'octopus'; known:"),
    ("prepare --from joints --input {world} --fps nan --out {here}/x", "--fps must be positive, got nan"),
    ("prepare --from joints --input {world} --fps inf --out {here}/x", "--fps must be positive, got inf"),
    ("prepare --from humanml3d --input {world} --mirror --out {here}/x", "--mirror needs joints"),
    ("prepare --from humanml3d --input {world} --fps 30 --out {here}/x", "--fps is for --from joints"),
    ("prepare --from procedural --count 2 --fps 30 --out {here}/x", "--fps is for --from joints"),
    ("train_vqvae --data {world} --out {here}/vq --grad-accum 2", "unrecognized arguments: --grad-accum 2"),
    ("render --tokens walk", "not a motion token: 'walk'"),
    ("render --tokens <MOT_BEGIN><MOT_END> --run {world}/run", "no motion tokens to draw"),
    (f"render --tokens 5000 {VQ}", "motion code 5000 is outside this tokenizer's codebook of 32"),
    # files and folders that are missing or of another kind
    ("sample --prompt walk --run {here}/no/run", "no run folder at"),
    ("sample --prompt walk --run {here}", "not a run folder: no config.json"),
    ("sample --prompt walk --run {world}/backbone", "its config.json is of another kind"),
    ("sample --prompt walk --run {world}/vqvae", "its config.json is of another kind"),
    ("sample --prompt walk --run {world}/tokens.json", "no run folder at"),
    (f"{SAMPLE} --vqvae {{here}}", "holds no tokenizer"),
    (f"{SAMPLE} --vqvae {{world}}/backbone", "is not a tokenizer's"),
    (f"{SAMPLE} --config {{here}}/nothing.json", "nothing.json"),
    (f"sample --prompt nothing.txt {RUN}", "--prompt nothing.txt: no such file of sentences"),
    (f"sample --task m2t {RUN}", "--task m2t needs --input"),
    (f"sample --task m2t {RUN} --input {{here}}/nothing.txt", "nothing.txt does not exist"),
    (f"sample --task m2t {RUN} --input x.txt --seconds 3 --exact-length --trace --end-logit-slope 1",
     "--seconds, --exact-length, --trace, --end-logit-slope have no meaning for --task m2t"),
    (f"sample --task m2t {RUN} --input x.txt --prompt walk", "--prompt has no meaning for --task m2t"),
    (f"sample --task m2t {RUN} --input x.txt --output x.gif", "--output must end in .txt, got x.gif"),
    ("sample --prompt walk --run= --output {here}/x.txt", "--run is empty; give a run"),
    (f"{SAMPLE} --input x.txt", "--input is a motion to describe, which is --task m2t"),
    (f"{SAMPLE} --precision fp8", "invalid choice: 'fp8'"),
    ("finetune --stage 1 --data {here}/nothing.json " + BACKBONE + " --out {here}/out", "nothing.json does not exist"),
    (f"finetune --stage 1 {DATA} --backbone= --out {{here}}/out", "--backbone is empty"),
    (f"finetune --stage 1 {DATA} --backbone {{here}}/no/folder --out {{here}}/out", "no backbone folder at"),
    (f"finetune --stage 1 {DATA} --backbone {{here}} --out {{here}}/out", "config.json does not exist; a"),
    (f"finetune --stage 1 {DATA} --backbone tiny --out {{here}}/out", "train it first with --recipe captions"),
    (f"{TRAIN} --vqvae {{here}}", "--vqvae {here} holds no tokenizer (no config.json)"),
    (f"{TRAIN} --from {{here}}", "--from {here} holds no weights"),
    (f"finetune --stage 1 {DATA} {BACKBONE} --out {{world}}/run", "is finished; --fresh trains it again"),
    (f"finetune --stage 1 --recipe captions --train full {DATA} --backbone tiny --out {{world}}/run",
     "is a run of recipe signmotiongpt"),
    ("train_vqvae --data {here}/nothing --out {here}/vq", "no dataset folder at"),
    ("train_vqvae --data {world} --out {here}/vq", "has no new_joint_vecs/"),
    (f"tokenize_motions --data {{here}}/nothing {VQ} --out {{here}}/t.json", "no dataset folder at"),
    ("prepare --from humanml3d --out {here}/x", "--input must be a folder for --from humanml3d: none was given"),
    ("prepare --from humanml3d --input {here}/nothing --out {here}/x", "{here}/nothing does not exist"),
    ("prepare --from humanml3d --input {world} --out {here}/x", "has no new_joint_vecs/"),
    ("prepare --from joints --input {world} --out {here}/x", "has none of raw_joints/"),
    ("prepare --from procedural --count 2 --out {world}", "is not empty; choose another --out"),
    ("render --input {here}/nothing.npy", "does not exist"),
    ("render --input {here}", "holds no .npy, .npz, .txt, .bvh, .h5, .hdf5 file"),
    ("render --input {world}/tokens.json", "can read .npy .npz .txt"),
    (f"render --tokens 1 --output {{here}}/x.mov {VQ}", "cannot save x.mov: supported are"),
    (f"render --tokens 1 {VQ} --size -5 --output {{here}}/x.gif", "-5"),
    # recipes, and flags that a stage does not use
    ("finetune --stage 2 --recipe zhang", "recipe zhang has no stage '2'; it has one stage: 1 finetune"),
    ("finetune --stage 3 --recipe motiongpt", "recipe zhang has no stage '3'; it has one stage: 1 finetune"),
    ("finetune --stage 4 --recipe myoskeleton", "it has 3 stages: 1 tokenizer, 2 pretrain, 3 instruct"),
    ("finetune --stage predict --recipe myoskeleton", "has no stage 'predict'"),
    (f"{TRAIN} --tasks prediction", "--tasks prediction: expected TASK"),
    (f"{TRAIN} --width 8 --window 32", "--width, --window have no meaning here: no tokenizer is trained"),
    (f"{TRAIN} --train full --lora-r 4", "--lora-r has no meaning with --train full"),
    (f"{MYO} --lora-r 4 --max-seq-len 100", "--max-seq-len, --lora-r have no meaning for a stage that trains"),
    (f"{MYO} --backbone x --tasks t2m", "--backbone, --tasks have no meaning for a stage that trains the tokenizer"),
    (f"{MYO} --vqvae {{world}}/vqvae", "--vqvae has no meaning for a stage that trains the tokenizer"),
    (f"{MYO} --from {{world}}/run/stage1", "--from has no meaning"),
    (f"{MYO} --resume", "--resume: {here}/out/vqvae has nothing unfinished"),
    (f"{MYO} --feature-dim 3", "unrecognized arguments: --feature-dim 3"),
    ("finetune --recipe myoskeleton --stage 1 --out {here}/out", "--data must be a dataset folder, from scripts/"),
    (f"finetune --recipe myoskeleton --stage 1 {DATA} --out {{here}}/out", "got the file {world}/tokens.json"),
    (f"finetune --recipe myoskeleton --stage all {DATA} --out {{here}}/out", "got the file {world}/tokens.json"),
    (f"finetune --recipe myoskeleton --stage all --data {{world}}/data {VQ} --out {{here}}/out --width 8",
     "--width has no meaning here: no tokenizer is trained"),
    ("finetune --recipe myoskeleton --stage 1 --data {here}/nothing --out {here}/out", "no dataset folder at"),
    ("finetune --recipe myoskeleton --stage 1 --data {world} --out {world}/run", "is a run of recipe signmotiongpt"),
    (f"finetune --stage 1 --data {{world}} {BACKBONE} --out {{here}}/out", "is a folder: this stage reads a JSON file"),
    # render --prompt
    ("render --prompt walk --tokens 1", "not allowed with argument"),
    ("render --tokens 1 --seed 3 --pid P0", "--pid, --seed have no meaning without --prompt"),
    ("render --input x.npy --stage 1", "--stage has no meaning without --prompt"),
    ("render --tokens 1 --fps 1000", "--fps) must be 1 to 120, got 1000"),
    ("render --tokens 1 --fps 30 --output {here}/x.png", "--fps has no meaning for a .png of --tokens or --prompt"),
    ("render --tokens 1 --output {here}/x.glb --look body --title T", "--look, --title have no meaning for x.glb"),
    ("render --tokens 1 --mesh smpl --smplx-dir {here} --look body", "--look has no meaning with --mesh"),
    ("render --prompt walk --run {here}/nothing --mesh smpl --smplx-dir {here}", "no SMPL body model for neutral in"),
    ("render --tokens 1 --unit cm", "--unit has no meaning without --input"),
    ("render --tokens 1 --only walk", "--only has no meaning without --input"),
    ("render --input {world} --smplx-dir x", "--smplx-dir has no meaning without --mesh"),
    ("render --tokens 1 --elev 100", "--elev) must be -90 to 90, got 100"),
    ("render --tokens 1 --output {here}/x.gif --rig mixamo", "--rig is for .bvh .glb .vrma .csv"),
    ("render --tokens 1 --output {here}/x.bvh --rig robot", "no rig named 'robot'"),
    ("render --tokens 1 --output {here}/x.bvh --rig robot.glb", "robot.glb does not exist"),
    ("render --tokens 1 --output {here}/x.vrma --rig mixamo", "plays on every VRM avatar"),
    ("render --tokens 1 --output {here}/x.gif --still sheet", "--still is for .png"),
    ("render --compare {world}/a.npy --output {here}/x.glb", "x.glb holds the bones of one motion"),
    (f"render --tokens 1 {VQ} --mesh smpl --output {{here}}/x.gif", "a mesh needs a body model of SMPL: give the"),
    ("render --prompt walk --run {here}/nothing", "no run folder at"),
    ("render --prompt walk --run {world}/run --stage 9", "no finished stage 9; finished: 1"),
    ("render --prompt walk --run {world}/run --pid P99", "unknown participant 'P99'"),
    ("render --prompt walk --run {world}/run --output {here}/x.mov", "cannot save x.mov: supported are"),
    ("train_vqvae --data {world}/tokens.json --out {here}/vq", "got the file {world}/tokens.json"),
    # flags that a source does not read, and folders that collide
    ("prepare --from joints --input {world} --seed 0 --out {here}/x", "--seed is for --from procedural; not for"),
    ("prepare --from procedural --input {world} --out {here}/x", "--input is for --from joints"),
    ("prepare --from bvh --explain {here}/a.bvh --out {here}/x", "--out has no meaning with --explain"),
    ("prepare --from joints --input {here} --out {here}", "--out {here} holds the --input {here}"),
    ("demo_report --data-seed -1 --out {here}/x", "--data-seed must be 0 or more, got -1"),
    ("demo_report --first-seed -1 --out {here}/x", "--first-seed must be 0 or more, got -1"),
    # found before a model is loaded: there is no run at {here}/no
    (f"{SAMPLE} --seed -1", "--seed must be 0 or more, got -1"),
    ("render --prompt walk --run {here}/no --seed -1", "--seed must be 0 or more, got -1"),
    ("sample --run {here}/no --prompt NOTHING.TXT", "--prompt NOTHING.TXT: no such file of sentences"),
    ("sample --run {here}/no --prompt gone/sentences", "--prompt gone/sentences: no such file of sentences"),
    ("sample --run {here}/no --prompt {world}/tokens.json nothing.txt", "--prompt nothing.txt: no such file"),
    ("sample --run {here}/no --prompt walk --output {world}/tokens.json/m.npy", "{world}/tokens.json is a file, not"),
    ("sample --run {here}/no --prompt walk --output {world}/tokens.json/a/b", "{world}/tokens.json is a file, not"),
    ("sample --run {here}/no --task m2t --input m.txt --output {world}/tokens.json/m.txt", "is a file, not a folder"),
    ("render --run {here}/no --prompt walk --output {world}/tokens.json/m.gif", "{world}/tokens.json is a file, not"),
    ("render --vqvae {here}/no --tokens 1 --output {world}/tokens.json/m.gif", "{world}/tokens.json is a file, not"),
    ("evaluate --data {here}/no --vqvae {here}/no --out {world}/tokens.json/e", "{world}/tokens.json is a file, not"),
    # sample: tasks, samples, sequences, streams, constraints, conversation; found before a model is loaded
    *((f"sample --run {{here}}/no {flags}", message) for flags, message in (
      ("--task predict --prompt walk", "--task predict needs either --input, a motion, or --codes"),
      ("--task keys --prompt walk --input x.npy", "--task keys needs --codes with their positions"),
      ("--task edit --prompt faster", "--task edit needs --input"),
      ("--task init --prompt walk", "--task init needs either --input, a motion, or --codes"),
      ("--task init --prompt walk --codes 5 --input x.npy", "--task init needs either --input, a motion, or --codes"),
      ("--task init --prompt walk --input x.npy --frame 2 --at 1", "--frame and --at name the same pose"),
      ("--task t2d --prompt walk --seconds 3", "--seconds has no meaning for --task t2d"),
      ("--task random --codes 5@0", "--codes has no meaning for --task random"),
      ("--prompt walk --frame 2", "--frame has no meaning"),
      ("--prompt walk --best-of 0", "--best-of must be at least 1, got 0"),
      ("--prompt walk --num-samples 0", "--num-samples must be at least 1, got 0"),
      ("--prompt walk --num-samples 2 --best-of 2", "--num-samples keeps all samples, --best-of one of them"),
      ("--task init --codes 5 --prompt walk --then sit", "--then is for --task t2m, got --task init"),
      ("--prompt walk --then sit --num-samples 2", "--num-samples has no meaning with --then"),
      ("--prompt walk --look-ahead 2", "--look-ahead is for --stream"),
      ("--prompt walk --stream --trace", "--trace has no meaning with --stream"),
      ("--chat --prompt walk", "--prompt has no meaning for --chat"),
      ("--chat --task init", "--chat finds out by itself what a line asks for; drop --task init"),
      ("--prompt walk<motion_token>5</motion_token>", "instead of <Motion Token>: python scripts/sample.py --task"),
    )),
    (f"{SAMPLE} --codes 5", "--codes: the code 5 needs a position for --task t2m, such as 5@0"),
    (f"{SAMPLE} --codes five@0", "--codes: expected CODE@POSITION, such as 315@0,406@24, got 'five@0'"),
    (f"{SAMPLE} --codes 99@0", "99"),
    (f"{SAMPLE} --stream --look-ahead -1", "--look-ahead must be 0 or more codes, got -1"),
    (f"{SAMPLE} --reach nose", "JOINT@SECONDS=X,Y,Z"),
    (f"{SAMPLE} --path {{here}}/nothing.json", "nothing.json"),
    (f"{SAMPLE} --constraints {{here}}/nothing.json", "nothing.json"),
    (f"{SAMPLE} --task t2d", "this stage never learnt t2d; to train it: finetune.py --tasks t2m t2d"),
    (f"sample {RUN} --task random", "this stage never learnt random, so it needs a sentence"),
    # finetune: words of requests
    (f"{TRAIN} --templates {{here}}/nothing.json", "nothing.json"),
    (f"{TRAIN} --templates {{world}}/tokens.json", "{world}/tokens.json"),
    (f"{TRAIN} --motion-as letters", "invalid choice: 'letters'"),
    (f"{TRAIN} --tell-length 2", "--tell-length must be in [0, 1], got 2.0"),
    (f"{MYO} --templates plain", "--templates has no meaning for a stage that trains the tokenizer"),
    # evaluate
    ("evaluate --what predict --data {here}/no --captions some", "invalid choice: 'some'"),
    ("evaluate --what predict --data {here}/no --best-of 0", "--best-of must be at least 1, got 0"),
    ("evaluate --what vqvae --data {here}/no --vqvae {here}/no --best-of 2", "--best-of has no meaning for --what"),
    ("evaluate --what t2m --data {here}/no --captions with", "--captions has no meaning for --what t2m"),
    *((f"render --vqvae {{here}}/no --tokens 1 --output {{here}}/p.{suffix}",
       f"cannot save p.{suffix}: supported are .gif .mp4 .png .html .bvh .glb .vrma .csv, or no suffix for a folder")
      for suffix in ("npy", "npz", "txt", "json")),
    *((f"render --vqvae {{here}}/no --tokens 1 --size {size}", f"(--size) must be 64 to 4096, got {size}")
      for size in (0, 63, 100_000)),
]  # fmt: skip


@dataclass(frozen=True)
class Right:
    """Commands that run one after the other in one folder, and what must be true after the last one."""

    name: str
    commands: tuple[str, ...]
    writes: tuple[str, ...] = ()  # files under {here}, none of them empty
    says: tuple[str, ...] = ()  # pieces of their output
    same: tuple[str, str] | None = None  # two equal files
    differ: tuple[str, str] | None = None  # two different files
    codes: tuple[int, ...] = ()  # exit codes; by default each is 0


def stages(recipe: str, *names: str) -> Right:
    """The named stages of a recipe, one command each, at the smallest size."""
    commands = tuple(f"{STAGE} {LORA} --recipe {recipe} --stage {name}" for name in names)
    says = (f"recipe {'zhang' if recipe == 'motiongpt' else recipe}, stage",)
    return Right(f"recipe {recipe}", commands, ("out/prompts.json", "out/config.json"), says)


SUFFIXES = ("npy", "npz", "gif", "png", "txt", "json")
MOTION = "<MOT_BEGIN><motion_1><motion_2><MOT_END>"

RIGHT: list[Right] = [
    # sample: output files
    *(Right(f"sample to .{s}", (f"{SHORT} --output {{here}}/m.{s}",), (f"m.{s}",), ("wrote {here}/m." + s,))
      for s in SUFFIXES),
    Right("sample to two files", (f"{SHORT} --output {{here}}/m.npy {{here}}/deep/m.txt",), ("m.npy", "deep/m.txt")),
    Right("sample to a folder", (f"{SHORT} --output {{here}}/m",), ("m/motion.npy", "m/motion.gif", "m/motion.txt")),
    Right("sample without --output", (SHORT,), ("outputs/walk/motion.npy", "outputs/walk/motion.gif")),
    Right("sample a sentence without quotes", (f"{TO_TEXT} --prompt someone waves",), ("m.txt",)),
    Right("sample several sentences", (f"{TO_TEXT} --prompt 'he sits down' 'someone waves'",),
          ("m-000.txt", "m-001.txt")),
    Right("sample a file of sentences: BOM, Windows line ends, empty lines",
          (f"{TO_TEXT} --prompt {{world}}/prompts.txt",), ("m-000.txt", "m-001.txt")),
    # sample: settings
    Right("sample for --seconds", (f"{SAMPLE} --seconds 1 --output {{here}}/m.txt",), ("m.txt",), ("codes of 0.2 s",)),
    Right("sample an exact length", (f"{SAMPLE} --seconds 2 --exact-length --output {{here}}/m.txt",), ("m.txt",),
          ("10 codes of 0.2 s: 2.0 s",)),
    Right("same seed, same motion", (f"{SAMPLE} --seed 5 --output {{here}}/a.txt", f"{SAMPLE} --seed 5 --output "
          "{here}/b.txt"), same=("a.txt", "b.txt")),
    Right("other seed, other motion", (f"{SAMPLE} --seed 5 --output {{here}}/a.txt", f"{SAMPLE} --seed 6 --output "
          "{here}/b.txt"), differ=("a.txt", "b.txt")),
    Right("temperature 0 knows no seed", (f"{SAMPLE} --temperature 0 --seed 5 --output {{here}}/a.txt",
          f"{SAMPLE} --temperature 0 --seed 6 --output {{here}}/b.txt"), same=("a.txt", "b.txt")),
    Right("--top-k 1 is temperature 0", (f"{SAMPLE} --temperature 0 --output {{here}}/a.txt",
          f"{SAMPLE} --top-k 1 --temperature 5 --output {{here}}/b.txt"), same=("a.txt", "b.txt")),
    Right("--config is below a flag", (f"{SAMPLE} --temperature 0 --output {{here}}/a.txt",
          f"{SAMPLE} --config {{world}}/hot.json --temperature 0 --output {{here}}/b.txt"), same=("a.txt", "b.txt")),
    Right("all sampling flags", (f"{SHORT} --top-p 0.5 --top-k 5 --repetition-penalty 1.2 --penalty-scope motion "
          "--no-repeat-ngram 2 --end-logit-slope 0.1 --device cpu --precision fp32 --output {here}/m.txt",),
          ("m.txt",)),
    Right("sample as a participant", (f"{SHORT} --pid P1 --output {{here}}/m.txt",), ("m.txt",)),
    Right("sample from a stage by number and by folder", (f"{SHORT} --stage 1 --output {{here}}/a.txt",
          "sample --prompt walk --run {world}/run/stage1 --max-new-tokens 3 --output {here}/b.txt"),
          same=("a.txt", "b.txt"), says=("stage 1 (test)",)),
    Right("sample with all codes", (f"{SHORT} --no-per-prompt-vocab --output {{here}}/m.txt",), ("m.txt",)),
    Right("sample with another tokenizer", (f"{SHORT} {VQ} --output {{here}}/m.npy",), ("m.npy",)),
    Right("--trace", (f"{SHORT} --trace --output {{here}}/m.txt",), ("m.txt",),
          ("step   0 row 0:", "ids allowed, end logit", "with slope", "drew code")),
    Right("--info", (f"sample {RUN} --info",), (), ("actions      jumps, sits, turns, walks, waves",
          "participants P0, P1, P2", "stages       1 test (motion) finished; this is 1", "at 20 fps")),
    Right("a word it does not know", (f"{TO_TEXT} --prompt zorbs",), ("m.txt",),
          ("has no word that this run knows; it knows words such as jumps, sits",)),
    Right("known words in a new sentence", (f"{TO_TEXT} --prompt walking",), ("m.txt",),
          ("'walking' is not among the captions this run lists, so its length is that of captions like it",)),
    Right("a known and a new word", (f"{TO_TEXT} --prompt walking dogs",), ("m.txt",),
          ("(dogs: in none of them), so",)),
    Right("motion to text", (f"sample {RUN} --task m2t --input {{world}}/motion.txt --output {{here}}/s.txt "
          "--max-new-tokens 4",), ("s.txt",), ("wrote {here}/s.txt",)),
    # sample: tasks, samples, sequences, streams, constraints, conversation
    *(Right(f"--task {task} {given}", (f"{SAMPLE} --task {task} {given} --output {{here}}/m.txt",), ("m.txt",))
      for task, given in (("predict", "--input {world}/motion.txt"), ("predict", "--codes 1,2"),
                          ("inbetween", "--input {world}/motion.txt --seconds 2"), ("init", "--codes 3"),
                          ("init", "--input {world}/motion.txt --at 0.1"), ("last", "--codes 3"),
                          ("last", "--input {world}/motion.txt --frame -1"), ("keys", "--codes 1@0,2@2,3@-1"),
                          ("t2m", "--codes 3@0"))),
    Right("--num-samples", (f"{SHORT} --num-samples 2 --output {{here}}/m.txt", f"{SHORT} --output {{here}}/a.txt"),
          ("m_0.txt", "m_1.txt"), same=("m_0.txt", "a.txt")),
    Right("--then", (f"{SAMPLE} --seconds 1 --then 'he sits down' 'someone waves' --output {{here}}/m.txt",),
          ("m.txt",), ("0.0 s: walk", ": he sits down", ": someone waves")),
    Right("--stream", (f"{SAMPLE} --seconds 2 --stream --output {{here}}/m.npy", f"{SAMPLE} --seconds 2 --stream "
          "--look-ahead 0 --output {here}/a.npy"), ("m.npy", "a.npy"), ("first frames after",)),
    Right("constraints", (f"{SAMPLE} --seconds 2 --best-of 2 --reach left_wrist@1=0.3,1.2,0.3 --in-place --output "
          "{here}/m.npy", f"{SAMPLE} --seconds 3 --best-of 2 --loop --output {{here}}/l.npy"), ("m.npy", "l.npy"),
          ("in place: the root stays above one point", "reach left_wrist at 1 s", "loop: ")),
    # finetune: words of requests
    Right("--templates, --tell-length", (f"{STAGE} {LORA} --stage 3 --tasks t2m predict t2d --templates plain "
          "--tell-length 0.5", "sample --prompt walk --run {here}/out --max-new-tokens 3 --task t2d --output "
          "{here}/s.txt"), ("out/stage3/templates.json", "s.txt")),
    Right("--motion-as digits", (f"{STAGE} {LORA} --recipe zhang --stage 1 --motion-as digits",),
          ("out/stage1/templates.json",)),
    # finetune
    Right("--list", ("finetune --list",), (), ("zhang               1 finetune", "as decimal text",
          "myoskeleton         1 tokenizer", "signmotiongpt       2 multitask")),
    stages("signmotiongpt", "1", "multitask", "3"),
    stages("zhang", "1"),
    stages("motiongpt", "finetune"),
    Right("recipe captions", (f"finetune {DATA} --backbone tiny --recipe captions --stage 1 --train full {FAST} --out "
          "{here}/out",), ("out/stage1/model.safetensors",), ("it is a backbone: python scripts/finetune.py",)),
    Right("recipe myoskeleton stage by stage", (
          f"finetune --recipe myoskeleton --stage 1 --data {{world}}/data --out {{here}}/out {TINY_VQVAE}",
          "tokenize_motions --data {world}/data --vqvae {here}/out/vqvae --out {here}/t.json",
          f"finetune --recipe myoskeleton --stage 2 --data {{here}}/t.json {BACKBONE} --out {{here}}/out {FAST}",
          f"finetune --recipe myoskeleton --stage instruct --data {{here}}/t.json --out {{here}}/out {FAST}"),
          ("out/vqvae/model.safetensors", "out/stage2/meta.json", "out/stage3/meta.json"),
          ("next: python scripts/tokenize_motions.py", "stage 2 of 3: pretrain (t2m 33, m2t 33, predict 33 %), from",
           "instruct (t2m 25, m2t 25, predict 25, inbetween 25 %)", "from {here}/out/stage2", "sample it: ")),
    Right("recipe myoskeleton in one command, twice", 2 * (
          f"finetune --recipe myoskeleton --stage all --data {{world}}/data {BACKBONE} --out {{here}}/out {TINY_VQVAE} "
          "--grad-accum 2 --lora-r 4",),
          ("out/tokens.json", "out/stage3/meta.json"),
          ("stage 1 (tokenizer) is finished", "tokens.json holds", "stage 3 (instruct) is finished")),
    Right("recipe myoskeleton with a tokenizer that is there", (
          f"finetune --recipe myoskeleton --stage all --data {{world}}/data {VQ} {BACKBONE} --out {{here}}/out {FAST} "
          "--lora-r 4",
          f"finetune --recipe myoskeleton --stage all {DATA} {VQ} {BACKBONE} --out {{here}}/other {FAST} --lora-r 4"),
          ("out/tokens.json", "out/vqvae/model.safetensors", "out/stage3/meta.json", "other/stage3/meta.json"),
          ("stage 1 (tokenizer) is not trained: --vqvae {world}/vqvae is used", "stage 3 of 3: instruct")),
    Right("a quantiser that rounds --codes", (
          f"finetune --recipe myoskeleton --stage all --data {{world}}/data {BACKBONE} --out {{here}}/out {TINY_VQVAE} "
          "--quantizer fsq --codes 31 --lora-r 4",),
          ("out/stage3/meta.json",), ("fsq levels 6,5: 30 codes", "codebook of 30 (tokens.meta.json)")),
    Right("a folder of codes", (
          "tokenize_motions --data {world}/data --vqvae {world}/vqvae --out {here}/codes --format npy",
          f"finetune --stage 1 --data {{here}}/codes {VQ} {BACKBONE} --out {{here}}/out {FAST} {LORA}"),
          ("codes/tokens.meta.json", "out/stage1/meta.json"), ("--data {here}/codes",)),
    Right("--stage all, with a tokenizer", (f"{STAGE} {LORA} {VQ} --stage all",),
          ("out/stage3/adapter_model.safetensors", "out/vqvae/model.safetensors"), ("stage 3 of 3: sft (t2m 100 %)",)),
    Right("a stage of motion alone says what comes next", (f"{STAGE} {LORA} --stage 1 --fresh",),
          ("out/stage1/loss.png",), ("it takes no sentences yet; next: python scripts/finetune.py --stage 2 --data",)),
    Right("--train full, then --from it", (f"{STAGE} --stage 1 --train full",
          f"finetune {DATA} {BACKBONE} --out {{here}}/other {FAST} {LORA} --stage 3 --from {{here}}/out/stage1"),
          ("out/stage1/model.safetensors", "other/stage3/adapter_model.safetensors"), ("from {here}/out/stage1",)),
    Right("--fresh", 2 * (f"{STAGE} {LORA} --stage 1 --fresh",), ("out/stage1/meta.json",)),
    Right("an unfinished stage goes on", (f"{STAGE} {LORA} --stage 1 --max-minutes 0.0000001",
          f"{STAGE} {LORA} --stage 1"), ("out/stage1/meta.json",), ("the same command continues from there",),
          codes=(0, 0)),
    Right("--config from a run", (f"finetune {DATA} {BACKBONE} --stage 1 --config {{world}}/run/config.json --out "
          "{here}/out --max-steps 1",), ("out/stage1/meta.json",),
          ("lora_r 4 (--config {world}/run/config.json)", "max_steps 1 (flag)")),
    Right("--tasks", (f"{STAGE} {LORA} --stage 3 --tasks t2m=1 m2t=3",), (), ("sft (t2m 25, m2t 75 %)",)),
    Right("--dedup", (f"{STAGE} {LORA} --stage 3 --dedup --data {{world}}/twice.json",), (),
          ("--dedup keeps 2 of 3 entries",)),
    Right("all other flags of a stage", (f"{STAGE} {LORA} --stage 3 --lora-dropout 0.1 --lora-targets q_proj v_proj "
          "--lr 1e-3 --min-lr 0.1 --schedule constant --warmup 0 --grad-accum 2 --max-seq-len 200 --weight-decay 0.1 "
          "--beta1 0.8 --beta2 0.9 --clip 0 --label-smoothing 0.1 --seed 3 --precision fp32 --save-every 1 "
          "--log-every 1 --think none --device cpu --codes 40",), ("out/stage3/meta.json",),
          ("codebook of 40 (--codes)",)),
    Right("--epochs goes before a recipe's number of steps", (f"finetune {DATA} {BACKBONE} --out {{here}}/out --recipe "
          "zhang --stage 1 --epochs 1 --batch-size 4 --grad-accum 9 --lora-r 4",), (),
          ("; 1 steps on ", "epochs 1.0 (flag)")),
    Right("so do epochs of a --config", (f"finetune {DATA} {BACKBONE} --out {{here}}/out --recipe zhang --stage 1 "
          "--config {world}/epochs.json --batch-size 4 --grad-accum 9 --lora-r 4",), (),
          ("; 1 steps on ", "epochs 1.0 (--config {world}/epochs.json)")),
    # the way to tokens
    Right("prepare the embedded data", ("prepare --from procedural --count 6 --seed 3 --out {here}/d",),
          ("d/dataset.json", "d/Mean.npy", "d/train.txt"), ("wrote {here}/d/",)),
    Right("prepare with mirrored clips", ("prepare --from procedural --count 3 --mirror --licence CC0 --out {here}/d",),
          ("d/new_joints/Mp00_000000.npy",)),
    Right("prepare from joints and from features", (
          "prepare --from joints --input {world}/data --fps 20 --out {here}/a",
          "prepare --from humanml3d --input {here}/a --out {here}/b"), ("b/Mean.npy",)),
    Right("train a tokenizer, go on, tokenise", (f"train_vqvae --data {{world}}/data --out {{here}}/vq {TINY_VQVAE} "
          "--max-minutes 0.0000001", f"train_vqvae --data {{world}}/data --out {{here}}/vq {TINY_VQVAE}",
          "tokenize_motions --data {world}/data --vqvae {here}/vq --out {here}/t.json"),
          ("vq/model.safetensors", "t.json", "t.meta.json"), ("next: python scripts/finetune.py --stage 1",),
          codes=(0, 0, 0)),
    # render
    Right("render tokens", (f"render --tokens {MOTION} {VQ} --size 64 --output {{here}}/m.gif",), ("m.gif",)),
    Right("render tokens to a .png with a title", (
          "render --tokens '1 2 3' --run {world}/run --title Walk --size 128 --output {here}/m.png",), ("m.png",)),
    Right("render a file and its folder", (f"{SHORT} --output {{here}}/m/a.npz {{here}}/m/a.txt",
          "render --input {here}/m/a.npz --size 64", "render --input {here}/m --size 64 --output {here}/pictures"),
          ("m/a.gif", "pictures/a.gif")),
    Right("render a sentence", (
          "render --prompt 'someone waves' --run {world}/run --stage 1 --pid P1 --seed 2 --size 64",),
          ("outputs/someone-waves/motion_animation.html",), ("wrote outputs/someone-waves/motion_animation.html",)),
    Right("render a sentence to a file and a folder", (
          "render --prompt walk --run {world}/run --vqvae {world}/vqvae --size 128 --output {here}/w.png",
          "render --prompt walk --run {world}/run --size 64 --output {here}/w"), ("w.png", "w/motion.html")),
    # file names
    Right("sample files of sentences: a space, .TXT, no suffix, two of them, and a sentence", (
          f"{TO_TEXT} --prompt '{{world}}/two lines.TXT' {{world}}/lines 'someone waves'",),
          tuple(f"m-00{i}.txt" for i in range(5)), ("wrote {here}/m-004.txt",)),
    Right("a sentence with a slash", (f"{TO_TEXT} --prompt he walks and/or sits",), ("m.txt",)),
    Right("sentences of one name without --output", (f"{SHORT} --prompt 'he sits' 'he sits!' 'he waves'",),
          tuple(f"outputs/{name}/motion.npy" for name in ("he-sits-000", "he-sits-001", "he-waves"))),
    Right("render files of one name to a folder", (f"{SHORT} --output {{here}}/a/motion.npz",
          f"{SHORT} --seed 9 --output {{here}}/b/motion.npz {{here}}/b/motion.npz {{here}}/one.npz",
          "render --input {here}/a/motion.npz {here}/b/motion.npz {here}/one.npz {here}/b/../a --size 64 --output "
          "{here}/all"), ("all/a-motion.gif", "all/b-motion.gif", "all/one.gif"),
          differ=("all/a-motion.gif", "all/b-motion.gif")),
    Right("render tokens to a folder", (f"render --tokens 1 {VQ} --size 64 --output {{here}}/t",), ("t/tokens.html",)),
    Right("render two files beside each other, and some of a folder", (
          f"{SHORT} --output {{here}}/m/a.npz {{here}}/m/b.npz",
          "render --compare {here}/m/a.npz {here}/m/b.npz --size 64 --look body --output {here}/both.gif",
          "render --input {here}/m --only b --size 64 --still timelapse --elev 30 --azim -20 --output {here}/b.png"),
          ("both.gif", "b.png")),
    Right("render for other programs", (f"{SHORT} --output {{here}}/a.npz",
          "render --input {here}/a.npz --output {here}/a.bvh --rig mixamo",
          "render --input {here}/a.npz --output {here}/a.glb", "render --input {here}/a.npz --output {here}/a.html",
          "render --input {here}/a.npz --output {here}/b.glb --rig {here}/a.bvh"),
          ("a.bvh", "a.glb", "b.glb", "a.html")),
]  # fmt: skip


def add_to_world(world: Path, script: Callable) -> None:
    """Add what RIGHT needs beside the tiny run: a dataset folder, sentences, tokens and sampling values."""
    done = script("prepare", "--from", "procedural", "--count", 8, "--out", world / "data")
    assert done.code == 0, done.err
    (world / "prompts.txt").write_bytes("\ufeffhe sits down\r\n\r\n  someone waves\r\n".encode())
    for name in ("two lines.TXT", "lines"):
        (world / name).write_text("he sits down\nsomeone waves\n", encoding="utf-8")
    (world / "motion.txt").write_text(MOTION + "\n", encoding="utf-8")
    twice = {"text_query": "he sits", "motion_tokens": "1 2 3", "split": "train"}
    entries = [twice, twice, twice | {"text_query": "he stands", "split": "val"}]
    (world / "twice.json").write_text(json.dumps(entries), encoding="utf-8")
    (world / "epochs.json").write_text('{"epochs": 1.0}', encoding="utf-8")
    (world / "hot.json").write_text('{"temperature": 5.0}', encoding="utf-8")


class Table:
    """A pytest plugin that prints one line per command and nothing else."""

    def pytest_runtest_logreport(self, report) -> None:
        _, _, case = report.nodeid.partition("[")
        if case and (report.when == "call" or report.failed):
            kind = "wrong" if "bad_input" in report.nodeid else "right"
            print(f"{'ok' if report.passed else 'FAILED':7} {kind}  {case.removesuffix(']')}")


def main() -> int:
    """Run both lists with the suite's fixtures and print the table."""
    import pytest

    here = Path(__file__).resolve().parent
    tests = [f"{here}/test_bad_input.py::test_a_wrong_command_is_one_line", f"{here}/test_good_input.py"]
    return pytest.main([*tests, "-q", "-s", "-n0", "--no-header", "-p", "no:terminalreporter"], plugins=[Table()])


if __name__ == "__main__":
    raise SystemExit(main())
