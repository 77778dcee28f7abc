#!/usr/bin/env bash
# @WRITTEN@
#
#   bash @FILE@                submit @PARTS@ parts as a task array, wait, and merge: ends with the merge's exit code
#   bash @FILE@ again 3,7      make these parts again, and merge once more
#   bash @FILE@ merge          merge what there is
#
# Submit it in the checkout, on a file system that the workers share, with a HyperQueue server and workers running. The workers
# need recrash (RECRASH=PATH names it) and what `recrash setup` provides in $XDG_CACHE_HOME or ~/.cache; set up once before.
# RECRASH_OUT is where parts and result are kept.
set -euo pipefail
parts=@PARTS@
# A task that fails for other reasons than the kernel's is made again so often; a worker that is lost, HyperQueue sees to.
again_at_most=2
recrash="${RECRASH:-recrash}"
export RECRASH_OUT="${RECRASH_OUT:-$PWD/recrash-parts}"

# $1: numbers of the parts.
submit() {
    local variables=(--env "RECRASH_OUT=$RECRASH_OUT" --env "RECRASH=$recrash")
    if [ -n "${XDG_CACHE_HOME:-}" ]; then
        variables+=(--env "XDG_CACHE_HOME=$XDG_CACHE_HOME")
    fi
    mkdir -p "$RECRASH_OUT/logs"
    # A part that failed must not keep the others' result back; the merge names what is missing.
    hq submit --name recrash --array "$1" --cpus @CPUS@ "${variables[@]}" --wait \
        --stdout "$RECRASH_OUT/logs/part-%{TASK_ID}.log" --stderr "$RECRASH_OUT/logs/part-%{TASK_ID}.log.err" \
        -- bash "$(realpath -- "$0")" part || echo "hq submit: exit code $?" >&2
    merge
}

# Inside a task: recrash reads HQ_TASK_ID.
part() {
    local code attempt
    for ((attempt = 0; attempt <= again_at_most; attempt++)); do
        code=0
        "$recrash" run @RUN@ --partition auto/@PARTS@ --out "$RECRASH_OUT" || code=$?
        case $code in
            # A verdict, whatever it is: part.json has it, and the merge judges all of them.
            0 | 1 | 3) return 0 ;;
            # Wrong arguments or no set-up: it would be the same again.
            2) return 2 ;;
        esac
        # 4, or killed: says nothing about the kernel.
        echo "exit code $code"
    done
    return "$code"
}

merge() {
    "$recrash" merge "$RECRASH_OUT" --out "$RECRASH_OUT/merged"
}

case "${1:-}" in
    "") submit "1-$parts" ;;
    again) submit "${2:?which parts, for example 3,7}" ;;
    part) part ;;
    merge) merge ;;
    *) sed -n '2,/^set /{/^#/p}' "$0" >&2 && exit 2 ;;
esac
