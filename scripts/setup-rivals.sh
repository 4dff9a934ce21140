#!/usr/bin/env bash
# Installs the servers that `make bench` compares with, in fixed versions: Centrifugo and nats-server into .tools/bin, built
# by Go, and nchan from Debian's packages. What is installed already is not changed, and one that cannot be installed does not
# stop the others: the benches leave it out and say so. bash scripts/setup-rivals.sh
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1

CENTRIFUGO_VERSION=v6.9.1
NATS_SERVER_VERSION=v2.15.3
NCHAN_MODULE=/usr/lib/nginx/modules/ngx_nchan_module.so
LOG=.tools/rivals.log
failed=0

step() { printf '%-12s %s\n' "$1" "$2"; }
has() { command -v "$1" >/dev/null 2>&1; }

# Says why something is left out, with the end of what its command printed.
left_out() {
  step "$1" "left out: $2"
  [ -s "$LOG" ] && tail -n 5 "$LOG" | sed 's/^/             /'
  failed=1
}

# The version that Go has written into a program that it built.
built_version() { go version -m "$1" 2>/dev/null | awk '$1 == "mod" { print $3 }'; }

# install_go_program NAME MODULE VERSION: minutes at first, while Go fetches and compiles.
install_go_program() {
  local name=$1 module=$2 version=$3 program=.tools/bin/$1
  : >"$LOG"
  if ! has go; then
    if [ -x "$program" ]; then
      step "$name" 'ready (its version is unknown without go)'
    else
      left_out "$name" 'go is missing (https://go.dev/dl)'
    fi
    return
  fi
  if [ -x "$program" ] && [ "$(built_version "$program")" = "$version" ]; then
    step "$name" "$version is ready"
    return
  fi
  step "$name" "building $version; output in $LOG"
  local begun=$SECONDS
  if GOBIN="$PWD/.tools/bin" go install "$module@$version" >"$LOG" 2>&1; then
    step "$name" "$version built in $((SECONDS - begun)) s"
  else
    left_out "$name" "go install $module@$version failed"
  fi
}

install_nchan() {
  local as_root=()
  : >"$LOG"
  if [ -e "$NCHAN_MODULE" ]; then
    step nchan ready
    return
  fi
  if ! has apt-get; then
    left_out nchan 'there is no apt-get to install nginx-light and libnginx-mod-nchan with'
    return
  fi
  [ "$(id -u)" -eq 0 ] || as_root=(sudo)
  step nchan 'installing nginx-light and libnginx-mod-nchan'
  if ! { "${as_root[@]}" apt-get update -qq && "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends nginx-light libnginx-mod-nchan; } >"$LOG" 2>&1; then
    left_out nchan 'apt-get install failed'
  elif [ ! -e "$NCHAN_MODULE" ]; then
    left_out nchan "the package has no $NCHAN_MODULE"
  else
    step nchan installed
  fi
}

mkdir -p .tools/bin
install_go_program centrifugo github.com/centrifugal/centrifugo/v6 "$CENTRIFUGO_VERSION"
install_go_program nats-server github.com/nats-io/nats-server/v2 "$NATS_SERVER_VERSION"
install_nchan
if [ "$failed" -eq 0 ]; then
  step done 'make bench, make bench-curves'
else
  step done 'make bench and make bench-curves leave out what is named above'
fi
