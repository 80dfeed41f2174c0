#!/bin/sh
# Runs the browser tests: the demos in headless Chromium, driven by playwright-core.
#
#   sh tests/browser/run.sh BUILD [FILE...]     BUILD holds the `concave` to test; FILEs instead of all tests
#
# What is kept goes to BUILD/browser: the node module (by `npm ci`, again only if package-lock.json has
# changed), npm's cache, and a screenshot of each demo (*.png). Profiles and data are in a folder of /tmp that goes
# with the run: Chromium puts a socket there, and the path of a socket has 108 bytes at most, wherever BUILD is.
# It needs node 18 or later, npm, and Chromium (Debian's, or what CONCAVE_CHROMIUM names).
set -eu
here=$(cd "$(dirname "$0")" && pwd)
if [ $# -lt 1 ] || [ ! -x "$1/concave" ]; then
    echo "usage: sh tests/browser/run.sh BUILD [FILE...], where BUILD/concave has been built" >&2
    exit 2
fi
build=$(cd "$1" && pwd)
shift
out="$build/browser"
chromium=${CONCAVE_CHROMIUM-/usr/bin/chromium}

for tool in node npm "$chromium"; do
    if ! command -v "$tool" >/dev/null 2>&1; then
        echo "browser tests: '$tool' is missing; on Debian: apt-get install nodejs npm chromium" >&2
        exit 1
    fi
done

mkdir -p "$out/home"
if ! cmp -s "$here/package-lock.json" "$out/installed-package-lock.json"; then
    cp "$here/package.json" "$here/package-lock.json" "$out/"
    if ! (cd "$out" && npm ci --cache "$out/npm-cache" --no-audit --no-fund --no-update-notifier \
        --fetch-retries 2 --fetch-retry-mintimeout 1000 --fetch-retry-maxtimeout 5000 --fetch-timeout 30000); then
        echo "browser tests: npm could not install playwright-core; is the npm registry within reach?" >&2
        exit 1
    fi
    cp "$here/package-lock.json" "$out/installed-package-lock.json"
fi

# A home of its own for the browser: the user's may be read-only, or none.
temporary=$(mktemp -d /tmp/concave-browser.XXXXXX)
trap 'rm -rf "$temporary"' EXIT
trap 'exit 1' HUP INT TERM
export HOME="$out/home" TMPDIR="$temporary" XDG_CONFIG_HOME="$out/home/.config" XDG_CACHE_HOME="$out/home/.cache"
if [ $# -eq 0 ]; then set -- "$here"/*.test.mjs; fi
CONCAVE_BINARY="$build/concave" CONCAVE_CHROMIUM="$chromium" CONCAVE_BROWSER="$out" node --test "$@"
