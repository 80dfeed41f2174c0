#!/bin/sh
# Installs those of the named Debian packages that are missing, and says which; when none is, it does nothing.
#
#   sh demos/packages.sh gcc cmake 'pkgconf|pkg-config'
#
# "a|b" is satisfied by either and installs the first. Whether a package is there is asked of dpkg, not
# found out by running its tools.
set -eu

installed() {
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

if ! command -v dpkg-query >/dev/null 2>&1; then
    echo "packages: this is no Debian, so nothing is installed; what the build needs: $*" >&2
    exit 0
fi

missing=""
for wanted in "$@"; do
    found=no
    for package in $(echo "$wanted" | tr '|' ' '); do
        if installed "$package"; then found=yes; fi
    done
    if [ "$found" = no ]; then missing="$missing ${wanted%%|*}"; fi
done
if [ -z "$missing" ]; then exit 0; fi

echo "packages: installing$missing" >&2
as_root=""
if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null 2>&1; then
        echo "packages: neither root nor sudo here; as root, run: apt-get install$missing" >&2
        exit 1
    fi
    as_root=sudo
fi
# `env`, because sudo drops the environment; an empty $as_root is no word.
apt_get() {
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0 "$@" >&2
}
apt_get update
# shellcheck disable=SC2086 # a list of words
apt_get install -y --no-install-recommends $missing
