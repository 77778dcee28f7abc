#!/usr/bin/env bash
# @WRITTEN@
#
#   bash @FILE@                submit @PARTS@ parts as a job array, and the merge that follows them
#   bash @FILE@ --wait         the same; wait, and end with the merge's exit code
#   bash @FILE@ again 3,7      make these parts again, and merge once more (--wait as above)
#   bash @FILE@ merge          merge what there is, here
#
# Submit it in the checkout, on a file system that the nodes share. The nodes need recrash (RECRASH=PATH names it) and what
# `recrash setup` provides in $XDG_CACHE_HOME or ~/.cache; set up once before. Account, partition and time limit are sbatch's
# own variables: SBATCH_ACCOUNT, SBATCH_PARTITION, SBATCH_TIMELIMIT. RECRASH_OUT is where parts and result are kept.
set -euo pipefail
parts=@PARTS@
at_once=@AT_ONCE@
# A task that fails for other reasons than the kernel's is made again so often.
again_at_most=2
recrash="${RECRASH:-recrash}"
export RECRASH_OUT="${RECRASH_OUT:-$PWD/recrash-parts}"

# $1: numbers of the parts; what follows are further options for the merge's sbatch.
submit() {
    local array
    mkdir -p "$RECRASH_OUT/logs"
    array=$(sbatch --parsable --job-name=recrash --array="$1%$at_once" --requeue --open-mode=append \
        --output="$RECRASH_OUT/logs/part-%a.log" "$0" part)
    echo "parts: job ${array%%;*}"
    # afterany: a part that failed must not keep the others' result back; the merge names what is missing.
    sbatch --job-name=recrash-merge --dependency="afterany:${array%%;*}" "${@:2}" \
        --output="$RECRASH_OUT/logs/merge-%j.log" "$0" merge
}

# Inside a task: recrash reads SLURM_ARRAY_TASK_ID.
part() {
    local code=0
    "$recrash" run @RUN@ --partition auto/@PARTS@ --out "$RECRASH_OUT" || code=$?
    case $code in
        # A verdict, whatever it is: part.json has it, and the merge judges all of them.
        0 | 1 | 3) return 0 ;;
        # Wrong arguments or no set-up: it would be the same again.
        2) return 2 ;;
    esac
    # 4, or killed: says nothing about the kernel.
    if ((${SLURM_RESTART_COUNT:-0} < again_at_most)); then
        echo "exit code $code: made again"
        scontrol requeue "$SLURM_JOB_ID"
        # Slurm ends this task now.
        sleep 60
    fi
    return "$code"
}

merge() {
    "$recrash" merge "$RECRASH_OUT" --out "$RECRASH_OUT/merged"
}

case "${1:-}" in
    "") submit "1-$parts" ;;
    --wait) submit "1-$parts" --wait ;;
    again) submit "${2:?which parts, for example 3,7}" "${@:3}" ;;
    part) part ;;
    merge) merge ;;
    *) sed -n '2,/^set /{/^#/p}' "$0" >&2 && exit 2 ;;
esac
