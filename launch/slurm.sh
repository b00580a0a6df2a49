#!/usr/bin/env bash
# Slurm: sbatch launch/slurm.sh RECIPE RUN     (RUN: a folder that all nodes see, or an address such as s3://...)
# Three minutes before its time is over the job saves, ends, and queues again; --resume goes on where it was.
#SBATCH --job-name=u2a
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=64
#SBATCH --time=04:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --signal=B:USR1@180
set -euo pipefail
recipe=$1 run=$2

stop() { # torchrun passes SIGTERM on; u2a saves after the step that it is in
    kill -TERM "$training"
    wait "$training" || true
    scontrol requeue "$SLURM_JOB_ID"
    exit 0
}

first=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
srun torchrun \
    --nnodes "$SLURM_NNODES" --nproc-per-node "$SLURM_GPUS_ON_NODE" \
    --rdzv-id "$SLURM_JOB_ID" --rdzv-backend c10d --rdzv-endpoint "$first:${PORT:-29500}" \
    -m u2a -- train "$recipe" --run "$run" --resume &
training=$!
trap stop USR1
wait "$training"
