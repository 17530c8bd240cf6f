#!/usr/bin/env bash
# Remove the clouds of many scenes, each in a task of a SLURM job array.
#
#   sbatch --array=1-$(wc -l <scenes.csv)%8 examples/slurm_array.sh scenes.csv clear
#
# Each line of scenes.csv is S2,S1 or S2,S1,OUTPUT, without a heading. Scenes whose output exists are skipped, so the same command
# continues after a time limit; sacct lists the tasks that failed. CMCR_OPTIONS holds further options for all
# scenes.
#SBATCH --job-name=cmcr
#SBATCH --gres=gpu:1
#SBATCH --cpus-per-task=4
#SBATCH --mem=8G
#SBATCH --time=00:30:00
#SBATCH --signal=B:TERM@60
set -euo pipefail

scenes=$1
folder=$2

# exec passes SLURM's signal to cmcr, which then leaves no partial file.
# shellcheck disable=SC2086  # the options must be split at blanks
exec cmcr batch <(sed -n "${SLURM_ARRAY_TASK_ID}p" "$scenes") -o "$folder" --skip-existing ${CMCR_OPTIONS:-}
