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
# Every step but the last is skipped where it is done. Environment: PYTHON, WORK (where everything goes), FPS, MAX_MINUTES, PROMPT.
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
stage() { # number, steps
    finished "$WORK/run/stage$1" || "$PYTHON" scripts/finetune.py --stage "$1" --train full --max-steps "$2" \
        --backbone "$WORK/backbone/stage1" --data "$WORK/tokens.json" --vqvae "$WORK/vqvae" --out "$WORK/run" \
        --batch-size 32 --grad-accum 1 --lr 1e-3 --warmup 0.05 --max-seq-len 256 --max-minutes "$MAX_MINUTES"
}
stage 1 250
stage 2 500
stage 3 800

# 5) A sentence.
"$PYTHON" scripts/sample.py --run "$WORK/run" --prompt "$PROMPT" --output "$WORK/sample"
