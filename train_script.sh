#!/usr/bin/env bash
# Train SynergyNet. Arguments go on to main_train.py and override what stands here:
#     bash train_script.sh --devices-id 0,1 --amp
# With the published training data in place this is the published run (80 epochs, batch 1024).
# train_aug_120x120.npy, of `prepare_data.py pack`, is read instead of the folder when it is there.
# Without data, COUNT=N synthetic faces are rendered into synthetic_data/ first, unless it has them;
# with ASSETS=DIR they wear MakeHuman's assets (docs/SYNTHETIC.md says where to get them).
set -euo pipefail
cd "$(dirname "$0")"
PYTHON=${PYTHON:-python}
CORES=$(nproc 2>/dev/null || getconf _NPROCESSORS_ONLN 2>/dev/null || echo 1) # macOS has no nproc
WORKERS=${WORKERS:-$CORES}

if ! "$PYTHON" -c "import torch" 2>/dev/null; then
    echo "error: $PYTHON has no torch; activate your environment, or run \`make train\`" >&2
    exit 2
fi
CROPS=train_aug_120x120
if [[ -f $CROPS.npy ]]; then
    CROPS=$CROPS.npy
fi
if [[ -e $CROPS && -f 3dmm_data/param_all_norm_v201.pkl ]]; then
    exec "$PYTHON" main_train.py \
        --arch mobilenet_v2 \
        --morphable 3dmm_data \
        --start-epoch 1 \
        --epochs 80 \
        --batch-size 1024 \
        --base-lr 0.08 \
        --warmup 5 \
        --milestones 48,64 \
        --devices-id 0 \
        --workers "$WORKERS" \
        --root "$CROPS" \
        --filelists-train 3dmm_data/train_aug_120x120.list.train \
        --param-fp-train 3dmm_data/param_all_norm_v201.pkl \
        --print-freq 50 \
        --save_val_freq 10 \
        --snapshot ckpts/SynergyNet \
        --log-file ckpts/SynergyNet.log \
        "$@"
fi

# These runs are short, so they use AdamW, which learns sooner than the published run's optimiser.
if "$PYTHON" -c "import sys, torch; sys.exit(not torch.cuda.is_available())"; then
    HARDWARE=GPU COUNT=${COUNT:-60000}
    SETTINGS=(--epochs 60 --milestones 40,52 --batch-size 256 --base-lr 0.001 --ema 0.998 --amp)
else
    HARDWARE=CPU COUNT=${COUNT:-16000}
    SETTINGS=(--epochs 10 --milestones 7,9 --batch-size 32 --base-lr 0.001 --ema 0.995)
    if ((CORES > 1)); then # two processes train faster than one with twice the threads
        SETTINGS+=(--processes 2)
        export OMP_NUM_THREADS=$((CORES / 2))
        WORKERS=$(((WORKERS + 1) / 2))
    fi
fi
echo "no published training data here: training on synthetic faces, settings for a $HARDWARE"
SYNTHESISE=("$PYTHON" prepare_data.py synthetic --workers "$CORES" ${ASSETS:+--assets "$ASSETS"})
if [[ ! -f synthetic_data/param_all_norm_v201.pkl ]]; then
    "${SYNTHESISE[@]}" --count "$COUNT" --margin 30 --output synthetic_data --seed 1
fi
if [[ ! -f synthetic_data/validation/AFLW2000-3D_crop.list ]]; then
    "${SYNTHESISE[@]}" --count 200 --output synthetic_data/validation --seed 2 --test-set
fi
exec "$PYTHON" main_train.py \
    --morphable 3dmm_data/open \
    --root synthetic_data/train_aug_120x120 \
    --filelists-train synthetic_data/train_aug_120x120.list.train \
    --param-fp-train synthetic_data/param_all_norm_v201.pkl \
    --validation synthetic_data/validation \
    --optimizer adamw \
    --mirror \
    --geometry 180,0.15,0.08 \
    --warmup 0 \
    --workers "$WORKERS" \
    --save_val_freq 1 \
    --snapshot ckpts/SynergyNet \
    --log-file ckpts/SynergyNet.log \
    "${SETTINGS[@]}" \
    "$@"
