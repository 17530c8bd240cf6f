#!/usr/bin/env bash
# Remove the clouds of many scenes on a Dask cluster of this machine, one worker per GPU.
#
#   examples/dask_cluster.sh scenes.csv clear [WORKERS]
#
# On several machines, start the two commands below there instead, with --host and a shared folder; on SLURM, PBS or
# Kubernetes, use dask-jobqueue or dask-kubernetes. CMCR_OPTIONS holds further options for all scenes.
set -euo pipefail

scenes=$1
folder=$2
workers=${3:-1}

work=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$work"' EXIT

dask scheduler --host 127.0.0.1 --port 0 --no-dashboard --scheduler-file "$work/scheduler.json" &
until [[ -s $work/scheduler.json ]]; do sleep 0.2; done
for ((index = 0; index < workers; index++)); do
    # One thread, because one scene keeps a GPU busy; cmcr gives one scene to each resource GPU.
    CUDA_VISIBLE_DEVICES=$index dask worker --scheduler-file "$work/scheduler.json" \
        --nthreads 1 --resources GPU=1 --local-directory "$work" --no-dashboard &
done
address=$(sed -n 's/.*"address": "\([^"]*\)".*/\1/p' "$work/scheduler.json")

# shellcheck disable=SC2086  # the options must be split at blanks
cmcr batch "$scenes" -o "$folder" --scheduler "$address" --skip-existing ${CMCR_OPTIONS:-}
