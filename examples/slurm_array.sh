#!/usr/bin/env bash
# Remove the clouds of many scenes, each in a task of a SLURM job array.
#
#   sbatch --array=1-$(wc -l <scenes.csv)%8 examples/slurm_array.sh scenes.csv clear
#
# Each line of scenes.csv is S2,S1 or S2,S1,OUTPUT. Scenes whose output exists are skipped, so that the same command
# does what is left after a time limit; sacct lists the tasks that failed. Further options for every scene go into
# CMCR_OPTIONS.
#SBATCH --job-name=cmcr
#SBATCH --gres=gpu:1
#SBATCH --cpus-per-task=4
#SBATCH --mem=8G
#SBATCH --time=00:30:00
#SBATCH --signal=TERM@60
set -euo pipefail

scenes=$1
folder=$2

# exec, so that SLURM's signal reaches cmcr, which then leaves no half file.
# shellcheck disable=SC2086  # options are meant to be split
exec cmcr batch <(sed -n "${SLURM_ARRAY_TASK_ID}p" "$scenes") -o "$folder" --skip-existing ${CMCR_OPTIONS:-}
