#!/usr/bin/env bash
# One training on several machines over ssh: a worker on each host, the chief on the first.
#
#     deploy/hosts.sh HOSTS train DATA --model gru4rec --out RUN ...
#
# HOSTS is a file with a host, or host:port, a line. Every host has this package (in $VENV, if that is set), the prepared DATA and this
# working directory at the same path, and is reached by ssh without a question. The chief's output is shown; the others
# write to worker-N.log in this directory, here. When one worker ends badly, all are stopped, and so they are by Ctrl-C.
set -u

if [ $# -lt 2 ]; then
    sed -n '2,9s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi
port=${PORT:-2222}
command=${VENV:+$VENV/bin/}tfrecsession
mapfile -t hosts < <(sed 's/#.*//; s/[[:space:]]//g; /^$/d' "$1")
shift
if [ ${#hosts[@]} -lt 1 ]; then
    echo "error: the file of hosts names none" >&2
    exit 2
fi
addresses=""
for host in "${hosts[@]}"; do
    case $host in *:*) addresses+=,$host ;; *) addresses+=,$host:$port ;; esac
done
quoted=$(printf ' %q' "$command" "$@" --workers "${addresses#,}")

# A worker ends with its ssh: it has a terminal (-tt), and losing it stops it.
workers=()
stop() { kill "${workers[@]}" 2>/dev/null; }
trap stop EXIT
trap 'exit 130' INT TERM
for number in "${!hosts[@]}"; do
    log=/dev/stdout
    [ "$number" -gt 0 ] && log=worker-$number.log
    ${SSH:-ssh -tt -o BatchMode=yes -o ServerAliveInterval=10} "${hosts[$number]%%:*}" \
        "cd $(printf %q "$PWD") && exec$quoted --worker $number" </dev/null >"$log" 2>&1 &
    workers+=($!)
done

left=${#workers[@]}
while [ "$left" -gt 0 ]; do
    wait -n "${workers[@]}"
    code=$?
    if [ "$code" -ne 0 ]; then
        sleep 5 # in which the others say what they saw
        echo "error: a worker ended with code $code, so all are stopped; see worker-*.log, then start again" >&2
        exit "$code"
    fi
    left=$((left - 1))
done
