#!/usr/bin/env bash
# Your own motion capture, from joint positions to a sentence that moves. Written for the Bandai-Namco Research
# Motiondataset (CC BY-NC 4.0) brought to 22 joints; any folder of the same shape will do:
#
#     JOINTS/raw_joints/ID.npy     (F, 22, 3) float32, metres, y up, at FPS frames a second, in the people's proportions
#            texts/ID.txt          one caption a line: a person walks happily#a/DET person/NOUN ...#0.0#0.0
#            train.txt val.txt test.txt      one ID a line
#
#     runs/bandai.sh JOINTS
#     FPS=30 MAX_MINUTES=30 runs/bandai.sh JOINTS     # exit 3: time is up, run it again to go on
#
# What is made already is not made again; the sentence and the evaluation are.
# Environment: PYTHON, WORK (where everything goes), FPS, MAX_MINUTES, PROMPT.
set -eu
JOINTS=$(cd "${1:?usage: runs/bandai.sh JOINTS, a folder with raw_joints/, texts/ and train.txt}" && pwd)
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-.venv/bin/python}
WORK=${WORK:-outputs/bandai}
FPS=${FPS:-20}
MAX_MINUTES=${MAX_MINUTES:-0}
PROMPT=${PROMPT:-a person walks forward}

finished() { grep -qs '"finished": true' "$1/meta.json"; }

# 1) Joints to the dataset folder: retargeted to one skeleton, 20 fps, 263 features a frame; all of it mirrored too.
[ -f "$WORK/data/dataset.json" ] || "$PYTHON" scripts/prepare.py --from joints --input "$JOINTS" --fps "$FPS" \
    --mirror --out "$WORK/data"

# 2) The motion tokenizer, chosen on the validation clips, and the token dataset.
if [ ! -f "$WORK/tokens.json" ]; then
    "$PYTHON" scripts/train_vqvae.py --data "$WORK/data" --out "$WORK/vqvae" --width 192 --batch-size 64 \
        --dead-below 0.3 --max-steps 5000 --lr 6e-4 --max-minutes "$MAX_MINUTES"
    "$PYTHON" scripts/tokenize_motions.py --data "$WORK/data" --vqvae "$WORK/vqvae" --out "$WORK/tokens.json"
fi

# 3) A backbone that knows these captions. With a GPU, leave this out and give step 4 --backbone Qwen/Qwen3-0.6B.
finished "$WORK/backbone/stage1" || "$PYTHON" scripts/finetune.py --recipe captions --stage 1 --train full \
    --backbone demo --data "$WORK/tokens.json" --out "$WORK/backbone" --max-steps 300 --batch-size 64 --lr 1e-3 \
    --max-minutes "$MAX_MINUTES"

# 4) The three stages.
stage() { # number, steps, caption dropout
    finished "$WORK/run/stage$1" || "$PYTHON" scripts/finetune.py --stage "$1" --train full --max-steps "$2" \
        --backbone "$WORK/backbone/stage1" --data "$WORK/tokens.json" --vqvae "$WORK/vqvae" --out "$WORK/run" \
        --batch-size 32 --grad-accum 1 --lr 1e-3 --weight-decay 0.05 --warmup 0.05 --max-seq-len 256 \
        --caption-dropout "$3" --max-minutes "$MAX_MINUTES"
}
stage 1 400 0
stage 2 800 0
stage 3 2000 0.1

# 5) A sentence.
"$PYTHON" scripts/sample.py --run "$WORK/run" --prompt "$PROMPT" --output "$WORK/sample"

# 6) What it is worth: an evaluator of these motions and captions, and the field's protocol by it on the test split.
"$PYTHON" scripts/train_evaluator.py --data "$WORK/data" --out "$WORK/evaluator" --motion-width 512 \
    --movement-width 256 --movement-dim 256 --text-width 256 --lr 4e-4 --max-steps 500 --eval-every 50 --patience 4 \
    --max-minutes "$MAX_MINUTES"
"$PYTHON" scripts/evaluate.py --what t2m --data "$WORK/data" --run "$WORK/run" --evaluator "$WORK/evaluator" \
    --out "$WORK/evaluation"
