#!/bin/sh
# Makes sure that the programs are here which tests check ours against. Installs them from Debian's packages if it may.
set -eu
missing=""
command -v kcat >/dev/null || missing="$missing kcat"
command -v pg_ctl >/dev/null || ls /usr/lib/postgresql/*/bin/pg_ctl >/dev/null 2>&1 || missing="$missing postgresql"
[ -n "$missing" ] || exit 0
if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
    echo "installing$missing"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
else
    echo "tests need these programs, and can't install them here:$missing" >&2
    echo "install them with your package manager (Debian: sudo apt-get install$missing), then run make test again" >&2
    exit 1
fi
