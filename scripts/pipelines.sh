#!/bin/bash
# Prints the lines of pipelines/, one a line as "NAME<tab>LINE", shortened for a test.
#
#   scripts/pipelines.sh CLIP OUT
#
# CLIP is a short film with sound, OUT the start of the names of files that are written.
set -euo pipefail
cd "$(dirname "$0")/.."
for file in pipelines/*.launch; do
    line=$(grep -v '^#' "$file" | tr -s ' \n' ' ')
    while IFS= read -r rule; do
        case $rule in
            '#'*) ;;
            *' => '*) line=${line//"${rule%% => *}"/"${rule#* => }"} ;;
        esac
    done <pipelines/shortened.txt
    line=${line//"{clip}"/"$1"}
    line=${line//"{out}"/"$2"}
    printf '%s\t%s\n' "$(basename "$file" .launch)" "$line"
done
