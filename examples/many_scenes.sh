#!/usr/bin/env bash
# Remove the clouds of many scenes, a few at a time.
#
#   examples/many_scenes.sh scenes.txt [JOBS]
#
# Each line of scenes.txt names three files without blanks in their names: S2 S1 OUTPUT. Outputs that exist are
# skipped, so that it can be started again; a scene that fails does not stop the others. Further options for every
# scene go into CMCR_OPTIONS. Use one job per GPU, or per four CPU cores.
set -euo pipefail

scenes=$1
jobs=${2:-1}

one_scene() {
    local s2=$1 s1=$2 output=$3
    if [[ -e $output ]]; then
        echo "$output: exists, skipped" >&2
        return
    fi
    # shellcheck disable=SC2086  # options are meant to be split
    cmcr remove "$s2" "$s1" -o "$output" --provenance "${output%.tif}_provenance.tif" ${CMCR_OPTIONS:-}
}
export -f one_scene

# xargs ends with 123 when any scene failed.
xargs -P "$jobs" -L 1 bash -c 'one_scene "$@"' one_scene <"$scenes"
