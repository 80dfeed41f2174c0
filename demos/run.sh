#!/bin/sh
# Builds concave and serves a demo.
#
#   sh demos/run.sh                     the bank, demos/bank.lua
#   sh demos/run.sh todo --shards 2     another demo; what follows its name goes to `concave serve`
#
# The first run installs what the build needs (Debian packages). Data stays in data/<demo>, so a second
# run goes on where the first one stopped.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)

demo=bank
case "${1-}" in
"" | -*) ;;
*)
    demo=$1
    shift
    ;;
esac
app="$root/demos/$demo.lua"
case "$demo" in */* | .* | *_test) app="" ;; esac
if [ ! -f "$app" ]; then
    echo "run.sh: there is no demo '$demo'; there are:" >&2
    for file in "$root"/demos/*.lua; do
        case "$file" in
        *_test.lua) ;;
        *) echo "  $(basename "$file" .lua)" >&2 ;;
        esac
    done
    exit 2
fi

sh "$root/demos/packages.sh" gcc libc6-dev cmake make 'pkgconf|pkg-config' libevent-dev \
    liblua5.4-dev libxxhash-dev libcjson-dev libmsgpack-dev libinih-dev

# No generator is named: a build folder that exists keeps its own.
cmake -S "$root" -B "$root/build" -DCMAKE_BUILD_TYPE=Release >/dev/null
cmake --build "$root/build" --target concave --parallel "$(nproc)"

# The address and the data folder as `serve` will see them: flag, then environment, then what we choose.
addr=${CONCAVE_ADDR-127.0.0.1:8080}
data=${CONCAVE_DATA-"$root/data/$demo"}
previous=""
for argument in "$@"; do
    case "$argument" in
    --addr=*) addr=${argument#--addr=} ;;
    --data | --data=*) data="" ;;
    *) if [ "$previous" = --addr ]; then addr=$argument; fi ;;
    esac
    previous=$argument
done
# `serve` creates the folder itself, but not those above it.
if [ -n "$data" ]; then
    mkdir -p "$(dirname "$data")"
    set -- --data "$data" "$@"
fi

# A demo's README shows its page's address and its lines to try first, each indented on a line of its own.
url="http://$addr"
readme="$root/demos/$demo/README.md"
shown() {
    if [ -f "$readme" ]; then
        sed -n "s|^    \($1.*\)|  \1|p" "$readme" | head -n "$2" | sed "s|http://127.0.0.1:8080|$url|g"
    fi
}
page=$(shown http:// 1)
lines=$(shown 'curl ' 3)
if [ -z "$lines" ]; then lines="  curl '$url/v1/range?limit=10'"; fi
echo
echo "The demo '$demo' will be at"
echo "${page:-  $url}"
echo "In another terminal, try:"
echo "$lines"
echo

exec "$root/build/concave" serve --app "$app" "$@"
