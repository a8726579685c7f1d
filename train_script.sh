#!/usr/bin/env bash
# Train SynergyNet. Arguments go on to main_train.py and override what stands here:
#     bash train_script.sh --devices-id 0,1 --amp
# With the published training data in place this is the published run (80 epochs, batch 1024).
# Without it, a synthetic set is rendered into synthetic_data/ first; COUNT=N sets its size.
set -euo pipefail
cd "$(dirname "$0")"
PYTHON=${PYTHON:-python}
WORKERS=${WORKERS:-$(nproc)}

if [[ -d train_aug_120x120 && -f 3dmm_data/param_all_norm_v201.pkl ]]; then
    exec "$PYTHON" main_train.py \
        --arch mobilenet_v2 \
        --start-epoch 1 \
        --epochs 80 \
        --batch-size 1024 \
        --base-lr 0.08 \
        --warmup 5 \
        --milestones 48,64 \
        --devices-id 0 \
        --workers "$WORKERS" \
        --root train_aug_120x120 \
        --filelists-train 3dmm_data/train_aug_120x120.list.train \
        --param-fp-train 3dmm_data/param_all_norm_v201.pkl \
        --print-freq 50 \
        --save_val_freq 10 \
        --snapshot ckpts/SynergyNet \
        --log-file ckpts/SynergyNet.log \
        "$@"
fi

# These runs are short, so they use AdamW; the published run's optimiser would learn little in them.
PROCESSES=1
if "$PYTHON" -c "import sys, torch; sys.exit(not torch.cuda.is_available())"; then
    HARDWARE=GPU COUNT=${COUNT:-60000}
    SETTINGS=(--epochs 60 --milestones 40,52 --batch-size 256 --base-lr 0.001 --ema 0.998 --amp)
else
    HARDWARE=CPU COUNT=${COUNT:-16000}
    SETTINGS=(--epochs 12 --milestones 8,10 --batch-size 32 --base-lr 0.001 --ema 0.995)
    # a process a core trains faster than one process with as many threads
    for PROCESSES in 8 4 2 1; do [[ $(nproc) -ge $PROCESSES ]] && break; done
    export OMP_NUM_THREADS=$(($(nproc) / PROCESSES)) WORKERS=1
fi
echo "no train_aug_120x120/ here: training on $COUNT synthetic faces, settings for a $HARDWARE"
SYNTHESISE=("$PYTHON" prepare_data.py synthetic --workers "$(nproc)")
if [[ ! -f synthetic_data/param_all_norm_v201.pkl ]]; then
    "${SYNTHESISE[@]}" --count "$COUNT" --output synthetic_data --seed 1
fi
if [[ ! -f synthetic_data/validation/AFLW2000-3D_crop.list ]]; then
    "${SYNTHESISE[@]}" --count 200 --output synthetic_data/validation --seed 2 --test-set
fi
exec "$PYTHON" -m torch.distributed.run --standalone --nproc-per-node "$PROCESSES" main_train.py \
    --morphable 3dmm_data/open \
    --root synthetic_data/train_aug_120x120 \
    --filelists-train synthetic_data/train_aug_120x120.list.train \
    --param-fp-train synthetic_data/param_all_norm_v201.pkl \
    --validation synthetic_data/validation \
    --optimizer adamw \
    --warmup 0 \
    --workers "$WORKERS" \
    --save_val_freq 1 \
    --snapshot ckpts/SynergyNet \
    --log-file ckpts/SynergyNet.log \
    "${SETTINGS[@]}" \
    "$@"
