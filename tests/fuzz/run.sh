#!/bin/sh
# Runs the fuzz targets: each over its corpus, then for a while on inputs that libFuzzer makes up.
#
#   sh tests/fuzz/run.sh [SECONDS [NAME...]]     60 seconds of each target unless said otherwise
#   sh tests/fuzz/run.sh --minimize [NAME...]    takes what the runs have added into the corpora, minimized
#
# Two targets run at once. CONCAVE_SEED sets the seed, CONCAVE_LONG multiplies the seconds. A failing input
# stays in build-fuzz/findings/; new inputs of interest are gathered in build-fuzz/corpus/.
# The build itself (preset fuzz, clang) is part of it; see tests/fuzz/README.md.
set -eu
cd "$(dirname "$0")/../.."

# gcc's and clang's runtimes cannot place their shadow memory on kernels that randomise addresses widely.
wrapper=""
if setarch "$(uname -m)" -R true 2>/dev/null; then wrapper="setarch $(uname -m) -R"; fi
# A small quarantine: fresh memory for each input costs more than what it would find.
export ASAN_OPTIONS="${ASAN_OPTIONS-quarantine_size_mb=8}"

# Longer inputs than these only take longer.
bytes_max_of() {
    case "$1" in
    pattern) echo 400 ;;
    log | template) echo 1024 ;;
    snapshot) echo 2048 ;;
    *) echo 4096 ;;
    esac
}

dictionary_of() {
    if [ -f "tests/fuzz/$1.dict" ]; then echo "-dict=tests/fuzz/$1.dict"; fi
}

# The newest number behind a word in a log of libFuzzer.
number_of() {
    grep -ao "$2[: ]*[0-9]*" "$1" | tail -n 1 | grep -o '[0-9]*$' || echo 0
}

# One target; its line goes to build-fuzz/fuzz-<name>.line.
fuzz_one() {
    name=$1
    program="build-fuzz/tests/fuzz/fuzz_$name"
    log="build-fuzz/fuzz-$name.log"
    mkdir -p "build-fuzz/corpus/$name" build-fuzz/findings
    rm -f "build-fuzz/findings/$name"-*
    set -- -seed="$seed" -rss_limit_mb=2048 -timeout=10 -max_len="$(bytes_max_of "$name")" \
        -artifact_prefix="build-fuzz/findings/$name-" -print_final_stats=1
    # shellcheck disable=SC2046,SC2086 # none or one word
    if $wrapper "$program" "$@" -runs=0 "tests/fuzz/corpus/$name" >"$log" 2>&1; then
        $wrapper "$program" "$@" $(dictionary_of "$name") -max_total_time="$seconds" \
            "build-fuzz/corpus/$name" "tests/fuzz/corpus/$name" >>"$log" 2>&1 || echo "failed" >>"$log"
    else
        echo "failed" >>"$log"
    fi
    findings=0
    for input in "build-fuzz/findings/$name"-*; do
        if [ ! -e "$input" ]; then continue; fi
        findings=$((findings + 1))
        echo "fuzz: $name: a finding: $input; replay with: $program $input"
    done
    # It can also fail without an input of its own (a leak found at the end, no memory).
    if [ "$(tail -n 1 "$log")" = failed ]; then
        if [ "$findings" = 0 ]; then findings=1; fi
        grep -aE 'does not hold|differs|ERROR|SUMMARY|runtime error' "$log" || tail -n 20 "$log"
    fi
    echo "fuzz: $name | $(number_of "$log" number_of_executed_units) |" \
        "$(find "tests/fuzz/corpus/$name" -type f | wc -l) | $(number_of "$log" cov) | $findings" \
        >"build-fuzz/fuzz-$name.line"
}

# The corpus becomes the fewest inputs that reach what it and the runs' inputs reach.
minimize_one() {
    name=$1
    mkdir -p "build-fuzz/corpus/$name"
    rm -rf "build-fuzz/minimized/$name"
    mkdir -p "build-fuzz/minimized/$name"
    # Edges alone, not how often each was passed: a tenth of the inputs.
    $wrapper "build-fuzz/tests/fuzz/fuzz_$name" -set_cover_merge=1 -use_counters=0 -use_value_profile=0 \
        -max_len="$(bytes_max_of "$name")" "build-fuzz/minimized/$name" "tests/fuzz/corpus/$name" \
        "build-fuzz/corpus/$name" >"build-fuzz/minimize-$name.log" 2>&1
    # What was found once stays, whatever it reaches.
    find "tests/fuzz/corpus/$name" -type f ! -name 'found_*' -delete
    cp "build-fuzz/minimized/$name"/* "tests/fuzz/corpus/$name/"
    echo "$name: $(find "tests/fuzz/corpus/$name" -type f | wc -l) inputs," \
        "$(cat "tests/fuzz/corpus/$name"/* | wc -c) bytes"
}

case "${1-}" in
--one) # from below, with seed and seconds in the environment
    fuzz_one "$2"
    exit 0
    ;;
esac

seconds=60
action=fuzz
case "${1-}" in
"") ;;
--minimize)
    action=minimize
    shift
    ;;
*[!0-9]* | 0* | ??????*)
    echo "run.sh: seconds are a whole number from 1 to 99999, not '$1'" >&2
    exit 2
    ;;
*)
    seconds=$1
    shift
    ;;
esac
names="$*"
if [ -z "$names" ]; then
    for source in tests/fuzz/fuzz_*.c; do
        name=$(basename "$source" .c)
        names="$names ${name#fuzz_}"
    done
fi
for name in $names; do
    if [ ! -f "tests/fuzz/fuzz_$name.c" ]; then
        echo "run.sh: there is no target '$name': tests/fuzz/fuzz_$name.c is not there" >&2
        exit 2
    fi
done

sh demos/packages.sh clang 'libclang-rt-dev|libclang-rt-14-dev'
cmake --preset fuzz >/dev/null
cmake --build build-fuzz --target fuzz --parallel "$(nproc)"

if [ "$action" = minimize ]; then
    for name in $names; do minimize_one "$name"; done
    exit 0
fi

seconds=$((seconds * ${CONCAVE_LONG-1}))
seed=${CONCAVE_SEED-$(date +%s)}
export seconds seed
echo "fuzz: seed $seed (CONCAVE_SEED), $seconds s each, two at once"
rm -f build-fuzz/fuzz-*.line
# shellcheck disable=SC2086 # a list of words
printf '%s\n' $names | xargs -n 1 -P 2 sh tests/fuzz/run.sh --one
echo "fuzz: target | executions | corpus inputs | coverage edges | findings"
failed=""
for name in $names; do
    line=$(cat "build-fuzz/fuzz-$name.line" 2>/dev/null || echo "fuzz: $name | 0 | 0 | 0 | did not run")
    echo "$line"
    case "$line" in *"| 0") ;; *) failed="$failed $name" ;; esac
done
if [ -n "$failed" ]; then
    echo "fuzz: findings in:$failed" >&2
    exit 1
fi
