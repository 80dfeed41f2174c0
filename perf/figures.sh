#!/bin/sh
# The table of perf/RESULTS.md: requests/s, server CPU a request and latency of the main workloads, for
# 1 and 2 shards, with --durability always and interval:100. Builds nothing; ends only what it starts.
#
#   sh perf/figures.sh [SECONDS] [WORKLOAD...]
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
seconds=${1-3}
if [ $# -gt 0 ]; then shift; fi
if [ $# -eq 0 ]; then set -- get put transfer hot execute; fi
work=$(mktemp -d)
server=""
cleanup() {
    if [ -n "$server" ]; then kill "$server" 2>/dev/null && wait "$server" 2>/dev/null || true; fi
    rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 1' INT TERM

echo "| shards | durability | workload | req/s | CPU us/req | p50 us | p99 us | txn/sync | errors | conflicts | books |"
echo "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |"
for shards in 1 2; do
    for durability in always interval:100; do
        for workload in "$@"; do
            "$root/build/concave" serve --app "$root/perf/load.lua" --data "$work/data" --shards "$shards" \
                --durability "$durability" --addr 127.0.0.1:0 >"$work/out" 2>"$work/err" &
            server=$!
            tries=0
            until url=$(sed -n 's/^listening on //p' "$work/out") && [ -n "$url" ]; do
                tries=$((tries + 1))
                if [ "$tries" -gt 100 ]; then cat "$work/err" >&2; exit 1; fi
                sleep 0.05
            done
            "$root/build/concave-load" "$workload" --url "$url" --connections 64 --accounts 10000 \
                --seconds "$seconds" --server-pid "$server" --json >"$work/report" || true
            kill "$server"
            wait "$server" || true
            server=""
            rm -rf "$work/data"
            python3 - "$work/report" "$shards" "$durability" <<'P'
import json, sys
d = json.load(open(sys.argv[1]))
per_sync = d["transactions_per_sync"]
print("| %s | %s | %s | %d | %.1f | %d | %d | %s | %d | %d | %s |" % (
    sys.argv[2], sys.argv[3], d["workload"], d["requests_per_s"], d["server_cpu_us_per_request"],
    d["latency_us"]["p50"], d["latency_us"]["p99"], "-" if per_sync is None else "%.1f" % per_sync,
    d["outcomes"]["errors"], d["txn_conflicts"] or 0, "WRONG" if d["books"]["balanced"] is False else "right"))
P
        done
    done
done
