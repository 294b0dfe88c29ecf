#!/usr/bin/env bash
# One training on several machines over ssh: a worker on each host, the chief on the first.
#
#     deploy/hosts.sh HOSTS train DATA --model gru4rec --out RUN ...
#
# HOSTS is a file with one host, or host:port, per line. Every host needs this package (in $VENV, if that is set), and the prepared DATA
# and this working directory at the same paths. ssh must connect without a prompt. The chief's output is shown; the others
# write to worker-N.log in this directory on this machine. All workers are stopped if one fails, and by Ctrl-C.
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
    echo "error: the file of hosts must name at least one" >&2
    exit 2
fi
addresses=""
for host in "${hosts[@]}"; do
    case $host in *:*) addresses+=,$host ;; *) addresses+=,$host:$port ;; esac
done
quoted=$(printf ' %q' "$command" "$@" --workers "${addresses#,}")

# A worker ends with its ssh: -tt gives it a terminal, and losing the terminal stops it.
workers=()
stop() { kill "${workers[@]}" 2>/dev/null; }
trap stop EXIT
trap 'exit 130' INT TERM
for index in "${!hosts[@]}"; do
    log=/dev/stdout
    [ "$index" -gt 0 ] && log=worker-$index.log
    ${SSH:-ssh -tt -o BatchMode=yes -o ServerAliveInterval=10} "${hosts[$index]%%:*}" \
        "cd $(printf %q "$PWD") && exec$quoted --worker $index" </dev/null >"$log" 2>&1 &
    workers+=($!)
done

left=${#workers[@]}
while [ "$left" -gt 0 ]; do
    wait -n "${workers[@]}"
    code=$?
    if [ "$code" -ne 0 ]; then
        sleep 5 # so that the others can report errors
        echo "error: a worker ended with code $code, so all are stopped; see worker-*.log, then start again" >&2
        exit "$code"
    fi
    left=$((left - 1))
done
