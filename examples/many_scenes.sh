#!/usr/bin/env bash
# Remove the clouds of many scenes, a few at a time.
#
#   examples/many_scenes.sh scenes.txt [JOBS]
#
# Each line of scenes.txt has three paths without blanks: S2 S1 OUTPUT. Scenes whose output exists are skipped, so
# the script can be started again; a scene that fails does not stop the others. CMCR_OPTIONS holds further options
# for all scenes. Use one job per GPU, or per four CPU cores.
set -euo pipefail

scenes=$1
jobs=${2:-1}

one_scene() {
    local s2=$1 s1=$2 output=$3
    if [[ -e $output ]]; then
        echo "$output: exists, skipped" >&2
        return
    fi
    # shellcheck disable=SC2086  # the options must be split at blanks
    cmcr remove "$s2" "$s1" -o "$output" --provenance "${output%.tif}_provenance.tif" ${CMCR_OPTIONS:-}
}
export -f one_scene

# xargs ends with 123 when any scene failed.
xargs -P "$jobs" -L 1 bash -c 'one_scene "$@"' one_scene <"$scenes"
