#!/usr/bin/env bash
# Make the shipped demo from nothing, on a laptop without a GPU: motions, tokenizer, backbone, stages, folder, report.
#
#     runs/cpu_demo.sh
#     MAX_MINUTES=30 runs/cpu_demo.sh     # exit code 3: time is up, run it again to continue
#
# Finished steps are skipped, so after Ctrl-C the same command continues; a second run only measures and samples.
# Environment variables: PYTHON, WORK (the folder for everything), MAX_MINUTES (per training).
set -eu
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-.venv/bin/python}
WORK=${WORK:-outputs/cpu_demo}
MAX_MINUTES=${MAX_MINUTES:-0}

finished() { grep -qs '"finished": true' "$1/meta.json"; }

# 1) Motions with captions, computed from kinematics: walking, turning, jumping, waving ... in eight body styles.
[ -f "$WORK/data/dataset.json" ] || "$PYTHON" scripts/prepare.py --from procedural --count 16000 --out "$WORK/data"

# 2) The motion tokenizer: four frames become one of 512 codes.
if [ ! -f "$WORK/tokens.json" ]; then
    "$PYTHON" scripts/train_vqvae.py --data "$WORK/data" --out "$WORK/vqvae" --width 160 --batch-size 64 \
        --dead-below 0.3 --max-steps 4500 --lr 6e-4 --max-minutes "$MAX_MINUTES"
    "$PYTHON" scripts/tokenize_motions.py --data "$WORK/data" --vqvae "$WORK/vqvae" --out "$WORK/tokens.json"
fi

# 3) The backbone: a small language model that learns the captions as plain text.
finished "$WORK/backbone/stage1" || "$PYTHON" scripts/finetune.py --recipe captions --stage 1 --train full \
    --backbone demo --data "$WORK/tokens.json" --out "$WORK/backbone" --max-steps 600 --batch-size 64 --lr 1e-3 \
    --max-minutes "$MAX_MINUTES"

# 4) The three stages, training all weights: motion alone; three tasks; text to motion.
#    The shipped demo was never told a length.
STAGE=(--backbone "$WORK/backbone/stage1" --data "$WORK/tokens.json" --vqvae "$WORK/vqvae" --batch-size 32
    --grad-accum 1 --warmup 0.05 --max-seq-len 256 --tell-length 0 --max-minutes "$MAX_MINUTES")
stage() { # number, steps
    finished "$WORK/run/stage$1" || "$PYTHON" scripts/finetune.py --stage "$1" --train full --max-steps "$2" \
        --lr 1e-3 --weight-decay 0.05 --out "$WORK/run" "${STAGE[@]}"
}
stage 1 300
stage 2 1500
stage 3 3000
# once more with words left out of the captions, so that it does not lean on words that new sentences lack
finished "$WORK/more/stage3" || "$PYTHON" scripts/finetune.py --stage 3 --train full --from "$WORK/run/stage3" \
    --max-steps 2000 --lr 8e-4 --weight-decay 0.05 --caption-dropout 0.2 --out "$WORK/more" "${STAGE[@]}"

# 5) The trained model becomes the backbone, and each stage a small adapter on it: three full models would be too large
#    to ship.
ADAPT=(--from "$WORK/more/stage3" --train lora --lora-r 16 --lora-alpha 16 --lora-dropout 0.1 --eval-every 50
    --out "$WORK/adapted")
finished "$WORK/adapted/stage1" ||
    "$PYTHON" scripts/finetune.py --stage 1 --max-steps 100 --lr 3e-4 "${STAGE[@]}" "${ADAPT[@]}"
finished "$WORK/adapted/stage2" ||
    "$PYTHON" scripts/finetune.py --stage 2 --max-steps 600 --lr 1e-3 "${STAGE[@]}" "${ADAPT[@]}"
finished "$WORK/adapted/stage3" ||
    "$PYTHON" scripts/finetune.py --stage 3 --max-steps 100 --lr 1e-4 --caption-dropout 0.2 "${STAGE[@]}" "${ADAPT[@]}"

# 6) The folder to ship. To put it in place: rm -r checkpoints/demo && cp -r "$WORK/demo" checkpoints/demo
[ -f "$WORK/demo/config.json" ] || "$PYTHON" scripts/ship.py --run "$WORK/adapted" --data "$WORK/tokens.json" \
    --out "$WORK/demo" --name checkpoints/demo --clips 2000

# 7) Does it do what the sentence says? This makes the table of docs/EVALUATION.md.
"$PYTHON" scripts/demo_report.py --run "$WORK/demo" --data "$WORK/tokens.json" --sentence-seeds 5 --out "$WORK/report"
"$PYTHON" scripts/sample.py --run "$WORK/demo" --prompt "a person walks forward" --output "$WORK/walk"
