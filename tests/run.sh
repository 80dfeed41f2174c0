#!/bin/sh
# Builds concave with its tests and runs them.
#
#   sh tests/run.sh              release build, all tests
#   sh tests/run.sh asan         another preset of CMakePresets.json: dev, asan, tsan
#   sh tests/run.sh lint         clang-format, clang-tidy and cppcheck over the sources
#   sh tests/run.sh fuzz         the fuzz targets with clang, a minute each (tests/fuzz/README.md)
#   sh tests/run.sh --ci         release, asan, tsan, lint and fuzz, one after the other
#   sh tests/run.sh --long N ... before any of these: N times the seeds, repetitions and durations
#
# Missing Debian packages are installed first. Each preset builds into build-<preset>; what its tests counted is
# in build-<preset>/report.txt. The output closes with ctest's summary (with --ci that of every preset, behind
# the ends of what failed tests printed); the exit code is 0 only if all of them passed.
set -eu
cd "$(dirname "$0")/.."

usage() {
    echo "usage: sh tests/run.sh [--long N] [release|dev|asan|tsan|lint|fuzz|--ci]" >&2
    exit 2
}
if [ "${1-}" = --long ]; then
    case "${2-}" in
    "" | *[!0-9]* | 0* | ?????*)
        echo "run.sh: --long takes a whole number from 1 to 9999, not '${2-}'" >&2
        exit 2
        ;;
    esac
    export CONCAVE_LONG="$2" # read by the tests, and by CMake for their time limits
    shift 2
fi
if [ $# -gt 1 ]; then usage; fi
ci=""
case "${1-release}" in
release | dev | asan | tsan | lint | fuzz) presets=${1-release} ;;
--ci)
    ci=yes
    presets="release asan tsan lint fuzz"
    ;;
*) usage ;;
esac

sh demos/packages.sh gcc libc6-dev cmake ninja-build 'pkgconf|pkg-config' libevent-dev liblua5.4-dev \
    libxxhash-dev libcjson-dev libmsgpack-dev libinih-dev libcmocka-dev python3 curl
case " $presets " in *" release "*)
    # The browser tests. A node and npm from elsewhere will do: Debian's would get in their way.
    node=""
    for tool in node npm; do
        if ! command -v "$tool" >/dev/null 2>&1; then node="nodejs npm"; fi
    done
    # shellcheck disable=SC2086 # a list of words
    sh demos/packages.sh chromium fonts-dejavu-core $node
    ;;
esac
case " $presets " in *" lint "*) sh demos/packages.sh clang-format clang-tidy cppcheck ;; esac

# Tests share nothing but the machine. Many wait for the disk; but more of them at once would disturb those
# that measure time.
tests_at_once=2

# What the tests of a preset counted, from their output, goes to build-<preset>/report.txt.
write_report() {
    test_log="build-$1/Testing/Temporary/LastTest.log"
    {
        echo "what the properties tried:"
        grep -ahE ' tried: [0-9]|crash points, |failing calls: |full disks that|attempts lost and run|^(history|hermitage|model|sim|mutant): ' \
            "$test_log" || true
        echo "what the sandbox contained: case | shards | how | milliseconds | longest wait of another client, ms"
        grep -ahoE 'sandbox: .* \| .*' "$test_log" || true
        echo "what overload did: case | shards | connections | p99 us without | with | ratio | MiB before / with / after | descriptors"
        grep -ahoE 'overload: .* \| .*' "$test_log" || true
    } >"build-$1/report.txt"
}

# A preset with tests: build, ctest, report.
run_tests() {
    wrapper=""
    case "$1" in
    asan | tsan)
        # Tests that only repeat themselves do it less often where everything is ten times slower.
        export CONCAVE_TEST_SCALE="${CONCAVE_TEST_SCALE-0.25}"
        # gcc 12's runtimes cannot place their shadow memory on kernels that randomise addresses widely.
        if setarch "$(uname -m)" -R true 2>/dev/null; then wrapper="setarch $(uname -m) -R"; fi
        ;;
    esac
    # CI tries every bit, cut and outcome once, where it is fast.
    if [ "$1" = release ] && [ -n "$ci" ]; then export CONCAVE_PROPERTY_FULL=1; fi
    cmake --preset "$1" >/dev/null || return 1
    cmake --build "build-$1" --parallel "$(nproc)" || return 1
    status=0
    # shellcheck disable=SC2086 # an empty wrapper is no word
    $wrapper ctest --test-dir "build-$1" --output-on-failure --no-tests=error \
        --parallel "$tests_at_once" || status=1
    write_report "$1"
    return $status
}

run_lint() {
    find core shard lua net tests perf -name '*.[ch]' -exec clang-format --dry-run --Werror {} + &&
        cmake --preset lint >/dev/null && cmake --build build-lint --parallel "$(nproc)"
}

run_preset() {
    case "$1" in
    lint) run_lint ;;
    fuzz) sh tests/fuzz/run.sh ;;
    *) run_tests "$1" ;;
    esac
}

# ---- CI: all presets, told briefly. What one prints is kept whole in build-<preset>/output.log. ----

# Of a preset's output: every 25th test, and at once each that did not pass.
briefly() {
    awk '$2 == "Test" && $3 ~ /^#/ {
        tests++
        if (!/ Passed /) print; else if (tests % 25 == 0) print "   " $1 " tests"
        fflush()
    }'
}

# What a passed preset found, in a few lines; the rest is in its report.
tell_report() {
    report="build-$1/report.txt"
    if [ ! -f "$report" ]; then return; fi
    if [ "$1" = release ]; then
        grep -aE 'crash points, |failing calls: |failing allocations of |logs tried: |full disks that|^history: (shards|[0-9]+ of)|^sim: [0-9]+ (seeds:|crashes)' "$report" || true
        sed -nE 's/^(mutant: .* \| caught by the [a-z ]+): .*( \| [0-9]+ seeds)$/\1\2/p; /^mutant: .* caught$/p' "$report"
        sed -n '/^model: counterexample/d; /^model: /p' "$report"
    fi
    awk -F'|' '/^sandbox: / {
        cases++
        if ($4 + 0 > slowest) { slowest = $4; name = substr($1, 10) }
        if ($5 + 0 > wait) wait = $5
    }
    END { sub(/ +$/, "", name)
        printf "sandbox: %d cases contained, the slowest in %d ms (%s), others waited %d ms at most\n", cases,
            slowest, name, wait }' "$report"
    echo "all of it: $report"
}

# The end of what each failed test of a preset printed; of the preset itself, if no test did.
tell_failures() {
    tested="build-$1/Testing/Temporary"
    if [ ! -s "$tested/LastTestsFailed.log" ]; then
        tail -n 40 "build-$1/output.log" | cut -c 1-300
        return
    fi
    cut -d : -f 2 "$tested/LastTestsFailed.log" | while read -r name; do
        echo "-- $1: $name"
        awk -v name="$name" '$2 == "Testing:" { on = $3 == name } /^"[^"]*" end time/ { on = 0 } on' \
            "$tested/LastTest.log" | tail -n 60 | cut -c 1-300
    done
}

# How a preset ended: ctest's summary, or its like.
tell_summary() {
    case "$1" in
    lint) case "$failed" in *" lint"*) echo "lint: failed" ;; *) echo "lint: passed" ;; esac ;;
    fuzz) cat build-fuzz/fuzz-*.line 2>/dev/null || echo "fuzz: did not build" ;;
    *)
        echo "$1:"
        if ! grep -aq 'tests passed' "build-$1/output.log"; then echo "did not build"; fi
        sed -n '/tests passed/,$p' "build-$1/output.log"
        ;;
    esac
}

failed=""
for preset in $presets; do
    echo "== $preset"
    started=$(date +%s)
    mkdir -p "build-$preset"
    rm -f "build-$preset/report.txt" "build-$preset/Testing/Temporary/LastTestsFailed.log" "build-$preset"/fuzz-*.line
    # sh has no pipefail: the verdict is left in a file.
    echo 1 >"build-$preset/status"
    { run_preset "$preset" && echo 0 >"build-$preset/status"; } 2>&1 | tee "build-$preset/output.log" |
        if [ -n "$ci" ]; then briefly; else cat; fi
    if [ "$(cat "build-$preset/status")" != 0 ]; then failed="$failed $preset"; fi
    if [ -n "$ci" ]; then
        tell_report "$preset"
    elif [ -f "build-$preset/report.txt" ]; then
        cat "build-$preset/report.txt"
    fi
    echo "== $preset took $(($(date +%s) - started)) s"
done

if [ -n "$ci" ]; then
    for preset in $failed; do
        echo "== what failed: $preset"
        tell_failures "$preset"
    done
fi
for preset in $presets; do tell_summary "$preset"; done
if [ -n "$failed" ]; then
    echo "run.sh: failed:$failed" >&2
    exit 1
fi
