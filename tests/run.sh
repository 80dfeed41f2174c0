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
# Missing Debian packages are installed first. Each preset builds into build-<preset>. The output closes
# with ctest's summary of every preset; the exit code is 0 only if all of them passed.
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

# One preset; its ctest output goes to the terminal and to build-<preset>/ctest.log.
run_tests() (
    preset=$1
    wrapper=""
    case "$preset" in
    asan | tsan)
        # Tests that only repeat themselves do it less often where everything is ten times slower.
        export CONCAVE_TEST_SCALE="${CONCAVE_TEST_SCALE-0.25}"
        # gcc 12's runtimes cannot place their shadow memory on kernels that randomise addresses widely.
        if setarch "$(uname -m)" -R true 2>/dev/null; then wrapper="setarch $(uname -m) -R"; fi
        ;;
    esac
    # CI tries every bit, cut and outcome once, where it is fast.
    if [ "$preset" = release ] && [ -n "$ci" ]; then export CONCAVE_PROPERTY_FULL=1; fi
    cmake --preset "$preset" >/dev/null || exit 1
    cmake --build "build-$preset" --parallel "$(nproc)" || exit 1
    # sh has no pipefail: ctest leaves its verdict in a file.
    status_file="build-$preset/ctest.status"
    echo 1 >"$status_file"
    # shellcheck disable=SC2086 # an empty wrapper is no word
    { $wrapper ctest --test-dir "build-$preset" --output-on-failure --no-tests=error \
        --parallel "$tests_at_once" && echo 0 >"$status_file"; } 2>&1 |
        tee "build-$preset/ctest.log"
    echo "what the properties tried:"
    grep -ahE ' tried: [0-9]|crash points, |failing calls: |full disks that|attempts lost and run|^(history|hermitage|model|sim|mutant): ' \
        "build-$preset/Testing/Temporary/LastTest.log" || true
    echo "what the sandbox contained: case | shards | how | milliseconds | longest wait of another client, ms"
    grep -ahoE 'sandbox: .* \| .*' "build-$preset/Testing/Temporary/LastTest.log" || true
    echo "what overload did: case | shards | connections | p99 us without | with | ratio | MiB before / with / after | descriptors"
    grep -ahoE 'overload: .* \| .*' "build-$preset/Testing/Temporary/LastTest.log" || true
    exit "$(cat "$status_file")"
)

run_lint() {
    find core shard lua net tests perf -name '*.[ch]' -exec clang-format --dry-run --Werror {} + &&
        cmake --preset lint >/dev/null && cmake --build build-lint --parallel "$(nproc)"
}

failed=""
for preset in $presets; do
    echo "== $preset"
    rm -f "build-$preset/ctest.log"
    started=$(date +%s)
    if [ "$preset" = lint ]; then
        run_lint || failed="$failed lint"
    elif [ "$preset" = fuzz ]; then
        rm -f build-fuzz/fuzz-*.line
        sh tests/fuzz/run.sh || failed="$failed fuzz"
    else
        run_tests "$preset" || failed="$failed $preset"
    fi
    echo "== $preset took $(($(date +%s) - started)) s"
done

if [ -n "$failed" ]; then echo "run.sh: failed:$failed" >&2; fi
# Where several ran, their summaries once more, together. (One alone has just printed its own.)
case "$presets" in *" "*)
    for preset in $presets; do
        echo
        echo "== $preset"
        if [ "$preset" = lint ]; then
            case "$failed" in *" lint"*) echo "failed" ;; *) echo "passed" ;; esac
        elif [ "$preset" = fuzz ]; then
            cat build-fuzz/fuzz-*.line 2>/dev/null || echo "did not build"
            case "$failed" in *" fuzz"*) echo "failed" ;; *) echo "passed" ;; esac
        elif [ -f "build-$preset/ctest.log" ]; then
            sed -n '/tests passed/,$p' "build-$preset/ctest.log"
        else
            echo "did not build"
        fi
    done
    ;;
esac
[ -z "$failed" ]
