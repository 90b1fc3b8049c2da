#!/usr/bin/env bash
# From your own motion capture, as joint positions, to a model that turns sentences into motion. Written for the
# Bandai-Namco Research Motiondataset (CC BY-NC 4.0) converted to 22 joints; any folder of this layout will do:
#
#     JOINTS/raw_joints/ID.npy     (F, 22, 3) float32, metres, y up, FPS frames per second, in each person's own size
#            texts/ID.txt          one caption per line: a person walks happily#a/DET person/NOUN ...#0.0#0.0
#            train.txt val.txt test.txt      one ID per line
#
#     runs/bandai.sh JOINTS
#     FPS=30 MAX_MINUTES=30 runs/bandai.sh JOINTS     # says when time is up: run it again to continue
#
# Finished steps are skipped; the sentence and the evaluation are made anew each time.
# Environment variables: PYTHON, WORK (the folder for everything), FPS, MAX_MINUTES (per training), PROMPT.
set -eu
JOINTS=$(cd "${1:?usage: runs/bandai.sh JOINTS, a folder with raw_joints/, texts/ and train.txt}" && pwd)
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-.venv/bin/python}
WORK=${WORK:-outputs/bandai}
FPS=${FPS:-20}
MAX_MINUTES=${MAX_MINUTES:-0}
PROMPT=${PROMPT:-a person walks forward}

finished() { grep -qs '"finished": true' "$1/meta.json"; }
# a training whose time is up ends well, and so does this story
go_on_if() { "$@" || { echo "run it again to continue"; exit 0; }; }
trained() { grep -qs '"finished": true' "$1/state/last/state.json"; }

# 1) Joints to the dataset folder: retargeted to one skeleton, 20 fps, 263 features per frame, each clip mirrored too.
[ -f "$WORK/data/dataset.json" ] || "$PYTHON" scripts/prepare.py --from joints --input "$JOINTS" --fps "$FPS" \
    --mirror --out "$WORK/data"

# 2) The motion tokenizer, chosen by its validation loss, and the token dataset.
if [ ! -f "$WORK/tokens.json" ]; then
    "$PYTHON" scripts/train_vqvae.py --data "$WORK/data" --out "$WORK/vqvae" --width 192 --batch-size 64 \
        --dead-below 0.3 --max-steps 5000 --lr 6e-4 --max-minutes "$MAX_MINUTES"
    go_on_if trained "$WORK/vqvae"
    "$PYTHON" scripts/tokenize_motions.py --data "$WORK/data" --vqvae "$WORK/vqvae" --out "$WORK/tokens.json"
fi

# 3) A small backbone that knows these captions. With a GPU, skip this and give step 4 --backbone Qwen/Qwen3-0.6B.
finished "$WORK/backbone/stage1" || "$PYTHON" scripts/finetune.py --recipe captions --stage 1 --train full \
    --backbone demo --data "$WORK/tokens.json" --out "$WORK/backbone" --max-steps 300 --batch-size 64 --lr 1e-3 \
    --max-minutes "$MAX_MINUTES"
go_on_if finished "$WORK/backbone/stage1"

# 4) The three stages: motion alone; three tasks; text to motion.
stage() { # number, steps, caption dropout
    finished "$WORK/run/stage$1" || "$PYTHON" scripts/finetune.py --stage "$1" --train full --max-steps "$2" \
        --backbone "$WORK/backbone/stage1" --data "$WORK/tokens.json" --vqvae "$WORK/vqvae" --out "$WORK/run" \
        --batch-size 32 --grad-accum 1 --lr 1e-3 --weight-decay 0.05 --warmup 0.05 --max-seq-len 256 \
        --caption-dropout "$3" --max-minutes "$MAX_MINUTES"
    go_on_if finished "$WORK/run/stage$1"
}
stage 1 400 0
stage 2 800 0
stage 3 2000 0.1

# 5) A sentence, drawn.
"$PYTHON" scripts/sample.py --run "$WORK/run" --prompt "$PROMPT" --output "$WORK/sample"

# 6) How good it is: train an evaluator on these motions and captions, then measure with it on the test split.
"$PYTHON" scripts/train_evaluator.py --data "$WORK/data" --out "$WORK/evaluator" --motion-width 512 \
    --movement-width 256 --movement-dim 256 --text-width 256 --lr 4e-4 --max-steps 500 --eval-every 50 --patience 4 \
    --max-minutes "$MAX_MINUTES"
go_on_if trained "$WORK/evaluator"
"$PYTHON" scripts/evaluate.py --what t2m --data "$WORK/data" --run "$WORK/run" --evaluator "$WORK/evaluator" \
    --out "$WORK/evaluation"
