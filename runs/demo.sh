#!/usr/bin/env bash
# Make the shipped demo from nothing, on a laptop without a GPU: motions, tokenizer, backbone, stages, folder, report.
#
#     runs/demo.sh                         # embedded motions only
#     CMU=~/cmu runs/demo.sh               # and CMU's motion capture, from its own download (subjects/NN/NN.asf, *.amc)
#     SMOLLM2=1 runs/demo.sh               # and the reader of free sentences, an adapter on SmolLM2-135M
#     MAX_MINUTES=30 runs/demo.sh          # says when time is up: run it again to continue
#
# The shipped demo was made with CMU and SMOLLM2=1. Finished steps are skipped, so after Ctrl-C the same command
# continues; a second run only measures and samples.
# Environment variables: PYTHON, WORK (the folder for everything), MAX_MINUTES (per training), CMU (a folder), CMU_FROM
# (asfamc, or joints: a folder of raw_joints/ID.npy at 20 fps, with the ids of data/cmu_captions.json), TOKENIZER (a
# trained one, instead of step 2: TOKENIZER=checkpoints/demo/vqvae), SMOLLM2 (1: step 6, which fetches SmolLM2 if it is
# not there).
set -eu
CMU=${CMU:+$(cd "$CMU" && pwd)}
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-.venv/bin/python}
WORK=${WORK:-outputs/demo}
MAX_MINUTES=${MAX_MINUTES:-0}
CMU_FROM=${CMU_FROM:-asfamc}
TOKENIZER=${TOKENIZER:-}
SMOLLM2=${SMOLLM2:-}
VQVAE=${TOKENIZER:-$WORK/vqvae}

finished() { grep -qs '"finished": true' "$1/meta.json"; }
# a training whose time is up ends well, and so does this story
go_on_if() { "$@" || { echo "run it again to continue"; exit 0; }; }
trained() { grep -qs '"finished": true' "$1/state/last/state.json"; }

# 1) Motions with captions: computed ones, and pairs of them of which one changes the other. Real ones join mirrored,
#    and are listed three times, since there are ten times fewer of them.
made() { [ -f "$1/dataset.json" ]; }
if [ -n "$CMU" ] && ! made "$WORK/cmu" && [ "$CMU_FROM" = joints ]; then
    "$PYTHON" scripts/prepare.py --from joints --input "$CMU" --fps 20 --captions data/cmu_captions.json --mirror \
        --out "$WORK/cmu"
elif [ -n "$CMU" ] && ! made "$WORK/cmu"; then
    "$PYTHON" scripts/prepare.py --from asfamc --input "$CMU" --captions data/cmu_captions.json --mirror \
        --out "$WORK/cmu"
fi
if [ -n "$CMU" ] && ! made "$WORK/data"; then
    "$PYTHON" scripts/prepare.py --from procedural --count 36000 --edits 7000 --add "$WORK/cmu" --repeat 3 \
        --out "$WORK/data"
elif ! made "$WORK/data"; then
    "$PYTHON" scripts/prepare.py --from procedural --count 36000 --edits 7000 --out "$WORK/data"
fi

# 2) The motion tokenizer: four frames become one of 1,024 codes. Losses on head, wrists, jitter and bones; then, from
#    those weights, on the shoulders and the trunk too, which show a mood: see LOG.md. The shipped one took the second
#    part in four goes of 8,600 steps, with larger weights at first.
GO=(--data "$WORK/data" --batch-size 64 --max-steps 8000 --eval-every 1000 --max-minutes "$MAX_MINUTES")
if [ ! -f "$WORK/tokens.json" ]; then
    if [ -z "$TOKENIZER" ]; then
        trained "$WORK/first-vqvae" || "$PYTHON" scripts/train_vqvae.py "${GO[@]}" --out "$WORK/first-vqvae" \
            --codes 1024 --code-dim 64 --width 192 --dead-share 0.1 --acceleration-weight 4 --bone-weight 0.3 \
            --part-weights head=0.5,wrist=0.15 --lr 8e-4
        go_on_if trained "$WORK/first-vqvae"
        trained "$VQVAE" || "$PYTHON" scripts/train_vqvae.py "${GO[@]}" --from "$WORK/first-vqvae" --out "$VQVAE" \
            --part-weights head=0.4,wrist=0.15,shoulder=0.5,collar=0.2,neck=0.2,spine1=0.1,spine2=0.1,spine3=0.1 \
            --lr 5e-4
        go_on_if trained "$VQVAE"
    fi
    "$PYTHON" scripts/tokenize_motions.py --data "$WORK/data" --vqvae "$VQVAE" --out "$WORK/tokens.json"
fi

# 3) The backbone: a small language model that learns the captions as plain text, and to read free ones as plain ones.
finished "$WORK/backbone/stage1" || "$PYTHON" scripts/finetune.py --recipe captions --stage 1 --train full \
    --backbone demo --data "$WORK/tokens.json" --tasks read=0.7 caption=0.3 --out "$WORK/backbone" --max-steps 800 \
    --batch-size 64 --lr 1e-3 --weight-decay 0.05 --eval-every 400 --max-minutes "$MAX_MINUTES"
go_on_if finished "$WORK/backbone/stage1"

# 4) The three stages, training all weights: motion alone; every task; mostly text to motion, with words left out of the
#    captions, so that it does not lean on words that new sentences lack. Half of the requests are in the plain words
#    that a reader writes. Of its last 10,900 steps, the shipped one learnt the first 5,400 on the tokenizer's first part.
STAGE=(--data "$WORK/tokens.json" --vqvae "$VQVAE" --batch-size 32 --grad-accum 1 --warmup 0.05 --max-seq-len 256
    --weight-decay 0.05 --tell-length 0 --max-minutes "$MAX_MINUTES")
MANY=(t2m=0.50 m2t=0.10 read=0.10 predict=0.06 inbetween=0.06 keys=0.04 edit=0.10 t2d=0.02 m2d=0.02)
SOME=(t2m=0.66 m2t=0.06 read=0.08 predict=0.04 inbetween=0.06 keys=0.02 edit=0.06 t2d=0.01 m2d=0.01)
finished "$WORK/run/stage1" || "$PYTHON" scripts/finetune.py --stage 1 --train full --backbone "$WORK/backbone/stage1" \
    --max-steps 150 --lr 1e-3 --out "$WORK/run" "${STAGE[@]}"
go_on_if finished "$WORK/run/stage1"
finished "$WORK/run/stage2" || "$PYTHON" scripts/finetune.py --stage 2 --train full --tasks "${MANY[@]}" \
    --max-steps 700 --lr 1.5e-3 --plain-share 0.5 --out "$WORK/run" "${STAGE[@]}"
go_on_if finished "$WORK/run/stage2"
finished "$WORK/run/stage3" || "$PYTHON" scripts/finetune.py --stage 3 --train full --tasks "${SOME[@]}" \
    --max-steps 1700 --lr 1.5e-3 --plain-share 0.5 --caption-dropout 0.05 --out "$WORK/run" "${STAGE[@]}"
go_on_if finished "$WORK/run/stage3"
LAST=(t2m=0.64 m2t=0.11 read=0.08 predict=0.04 inbetween=0.06 keys=0.02 edit=0.04 t2d=0.01 m2d=0.01)
finished "$WORK/more/stage3" || "$PYTHON" scripts/finetune.py --stage 3 --from "$WORK/run/stage3" --train full \
    --tasks "${LAST[@]}" --max-steps 10900 --lr 1.2e-3 --plain-share 0.5 --caption-dropout 0.05 --out "$WORK/more" \
    "${STAGE[@]}"
go_on_if finished "$WORK/more/stage3"

# 5) The trained model becomes the backbone, and each stage a small adapter on it: three full models would be too large
#    to ship.
ADAPT=(--from "$WORK/more/stage3" --train lora --lora-r 4 --lora-alpha 4 --lora-dropout 0.1 --eval-every 50
    --plain-share 0.5 --out "$WORK/adapted")
finished "$WORK/adapted/stage1" ||
    "$PYTHON" scripts/finetune.py --stage 1 --max-steps 30 --lr 3e-4 "${STAGE[@]}" "${ADAPT[@]}"
go_on_if finished "$WORK/adapted/stage1"
finished "$WORK/adapted/stage2" ||
    "$PYTHON" scripts/finetune.py --stage 2 --tasks "${MANY[@]}" --max-steps 60 --lr 3e-4 "${STAGE[@]}" "${ADAPT[@]}"
go_on_if finished "$WORK/adapted/stage2"
finished "$WORK/adapted/stage3" ||
    "$PYTHON" scripts/finetune.py --stage 3 --tasks "${SOME[@]}" --max-steps 30 --lr 1e-4 "${STAGE[@]}" "${ADAPT[@]}"
go_on_if finished "$WORK/adapted/stage3"

# 6) The reader: a language model that knows English learns to read free sentences as plain ones. It is shipped without
#    its base, which lies beside it: checkpoints/smollm2, so here a link to that.
READ=(--backbone smollm2 --train lora --lora-r 16 --lora-alpha 16 --batch-size 16 --grad-accum 1 --warmup 0.05
    --max-seq-len 160 --max-minutes "$MAX_MINUTES")
if [ "$SMOLLM2" = 1 ] && [ ! -f "$WORK/demo-smollm2/config.json" ]; then
    [ -f checkpoints/smollm2/config.json ] || "$PYTHON" scripts/assets.py --fetch smollm2
    [ -e "$WORK/smollm2" ] || ln -s "$PWD/checkpoints/smollm2" "$WORK/smollm2"
    finished "$WORK/reader/stage1" || "$PYTHON" scripts/finetune.py --stage 1 --tasks read=1 \
        --data "$WORK/tokens.json" --max-steps 1150 --lr 5e-4 --out "$WORK/reader" "${READ[@]}"
    go_on_if finished "$WORK/reader/stage1"
    "$PYTHON" scripts/ship.py --run "$WORK/reader" --out "$WORK/demo-smollm2" --base ../smollm2 \
        --name checkpoints/demo-smollm2
fi

# 7) The folder to ship. Where its reader is not beside it, it reads sentences itself. To put them in place:
#    rm -r checkpoints/demo checkpoints/demo-smollm2 && cp -r "$WORK/demo" "$WORK/demo-smollm2" checkpoints
[ -f "$WORK/demo/config.json" ] || "$PYTHON" scripts/ship.py --run "$WORK/adapted" --data "$WORK/tokens.json" \
    --out "$WORK/demo" --name checkpoints/demo --reader ../demo-smollm2 --clips 780 --best-of 4

# 8) Does it do what the sentence says? This makes the table of docs/EVALUATION.md.
"$PYTHON" scripts/demo_report.py --run "$WORK/demo" --data "$WORK/tokens.json" --sentence-seeds 5 --out "$WORK/report" \
    --sheets "$WORK/sheets"
"$PYTHON" scripts/sample.py --run "$WORK/demo" --prompt "a person walks forward" --output "$WORK/walk"
