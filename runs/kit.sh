#!/usr/bin/env bash
# From KIT Motion-Language files to a motion for your own sentence, without tokens: docs/KIT.md explains every step.
#
#     runs/kit.sh DIR                                   # DIR: NNNNN_mmm.xml and NNNNN_annotations.json, as KIT has them
#     HEAD=regression PROMPT="a person waves" runs/kit.sh DIR
#     WORK=outputs/try STEPS=200 SIZE=64 runs/kit.sh DIR    # a try, in minutes without a GPU
#     EVALUATE=1 runs/kit.sh DIR                        # also trains an evaluator, and measures
#
# DIR may also be a dataset folder that scripts/prepare.py made, or a folder of joints (raw_joints/ and texts/), as it
# is or packed with an unpack.py. Finished steps are skipped; a training that was stopped goes on. Other files and other
# settings need another WORK.
# Environment variables: PYTHON, WORK (the folder for everything), HEAD (flow, regression, autoregressive), TEXT
# (trainable, clip, smollm2), STEPS, SIZE (width of the transformer), MAX_MINUTES (per training), PROMPT, EVALUATE.
set -eu
DIR=$(cd "${1:?usage: runs/kit.sh DIR, a folder with the NNNNN_mmm.xml of KIT}" && pwd)
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-.venv/bin/python}
WORK=${WORK:-outputs/kit}
HEAD=${HEAD:-flow}
RUN=$WORK/$HEAD
STEPS=${STEPS:-3000}
MAX_MINUTES=${MAX_MINUTES:-0}
PROMPT=${PROMPT:-a person walks forward}

trained() { grep -qs '"finished": true' "$1/state/last/state.json"; }
or_elsewhere() {
    "$@" || {
        code=$?
        ! trained "$RUN" || echo "kit.sh: to keep that run and train another, give a folder: WORK=outputs/other" >&2
        exit $code
    }
}
go_on_if() { "$@" || { echo "run it again to continue"; exit 0; }; }

# 1) XML to features: joints by forward kinematics, one skeleton, 20 frames a second, 263 numbers a frame.
DATA=$WORK/data
MADE_OF=$WORK/made_of.txt
if [ -d "$DIR/new_joint_vecs" ]; then
    DATA=$DIR
elif [ ! -f "$DATA/dataset.json" ]; then
    mkdir -p "$WORK"
    echo "$DIR" >"$MADE_OF"
    if [ -f "$DIR/unpack.py" ]; then
        "$PYTHON" "$DIR/unpack.py" "$WORK/joints"
        DIR=$WORK/joints
    fi
    if [ -d "$DIR/raw_joints" ]; then
        "$PYTHON" scripts/prepare.py --from joints --input "$DIR" --fps 20 --out "$DATA"
    else
        "$PYTHON" scripts/prepare.py --from kit-xml --input "$DIR" --out "$DATA"
    fi
elif [ -f "$MADE_OF" ] && [ "$(cat "$MADE_OF")" != "$DIR" ]; then
    echo "kit.sh: $DATA was made of $(cat "$MADE_OF"), not of $DIR; give another folder: WORK=outputs/other" >&2
    exit 2
fi

# 2) Does the data load, does the model run? One batch, forwards and backwards, and nothing is written.
mkdir -p "$WORK"
printf '{"head": "%s", "text_encoder": "%s", "hidden_size": %d}\n' "$HEAD" "${TEXT:-trainable}" "${SIZE:-128}" \
    >"$WORK/$HEAD.json"
trained "$RUN" || "$PYTHON" scripts/train_continuous.py --data "$DATA" --out "$RUN" --config "$WORK/$HEAD.json" \
    --max-steps "$STEPS" --dry-run

# 3) The training, chosen by its validation loss. One that is finished stays as it is, or says that its settings differ.
or_elsewhere "$PYTHON" scripts/train_continuous.py --data "$DATA" --out "$RUN" --config "$WORK/$HEAD.json" \
    --max-steps "$STEPS" --max-minutes "$MAX_MINUTES"
go_on_if trained "$RUN"

# 4) A sentence, drawn.
"$PYTHON" scripts/sample.py --run "$RUN" --prompt "$PROMPT" --output "$WORK/sample"
[ -n "${EVALUATE:-}" ] || exit 0

# 5) How good it is: an evaluator of these motions and captions, then the field's protocol on the test split.
trained "$WORK/evaluator" || "$PYTHON" scripts/train_evaluator.py --data "$DATA" --out "$WORK/evaluator" \
    --motion-width 512 --movement-width 256 --movement-dim 256 --text-width 256 --lr 4e-4 --max-steps 500 \
    --eval-every 50 --patience 4 --max-minutes "$MAX_MINUTES"
go_on_if trained "$WORK/evaluator"
"$PYTHON" scripts/evaluate.py --what t2m --data "$DATA" --run "$RUN" --evaluator "$WORK/evaluator" \
    --out "$WORK/evaluation-$HEAD"
