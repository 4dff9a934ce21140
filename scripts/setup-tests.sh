#!/usr/bin/env bash
# Installs what the tests need beside the Rust toolchain, on Debian, as root or with sudo. What is installed already is not
# changed, so it can be run at any time: bash scripts/setup-tests.sh
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

GRPCURL_VERSION=v1.9.3
NATS_SERVER_VERSION=v2.15.3
TYPESCRIPT_VERSION=5.9.3
PROTOTYPE_JS=/usr/share/javascript/prototype/prototype.js
REQUIREMENTS=tests/clients/python/requirements.txt
LOG=.tools/setup.log

step() { printf '%-10s %s\n' "$1" "$2"; }
fail() { printf 'setup-tests: %s\n' "$*" >&2; exit 1; }
has() { command -v "$1" >/dev/null 2>&1; }

# Runs a command quietly; prints its output only when it fails.
quietly() {
  local what=$1
  shift
  "$@" >"$LOG" 2>&1 || { tail -n 30 "$LOG" >&2; fail "$what failed: $*"; }
}

check_toolchain() {
  local missing=()
  has cargo || missing+=('cargo (https://rustup.rs)')
  has cc || missing+=('cc (apt-get install build-essential)')
  node -e 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)' 2>/dev/null && has npm \
    || missing+=('node 20 or later with npm (https://nodejs.org)')
  has go || missing+=('go 1.24 (https://go.dev/dl, for the Go library, grpcurl, nats-server and a client of CloudEvents)')
  if [ ${#missing[@]} -gt 0 ]; then
    fail "missing: $(printf '%s; ' "${missing[@]}" | sed 's/; $//')"
  fi
  step toolchain ready
}

missing_packages() {
  has chromium || echo chromium
  has chromedriver || echo chromium-driver
  has firefox-esr || echo firefox-esr
  [ -r "$PROTOTYPE_JS" ] || echo libjs-prototype
  has curl || echo curl
  has sqlite3 || echo sqlite3
  has valgrind || echo valgrind
  compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || echo postgresql
  has python3 || echo python3
  python3 -c 'import ensurepip, venv' 2>/dev/null || echo python3-venv
  # The package starts a job server of its own on loopback; the tests start theirs on other ports.
  [ -x /usr/sbin/gearmand ] || has gearmand || echo gearman-job-server
  has gearman || echo gearman-tools
  has php || echo php-cli
  has npm || echo npm
  php -m 2>/dev/null | grep -qx gearman || echo php-gearman
  php -m 2>/dev/null | grep -qx pdo_sqlite || echo php-sqlite3
  # For the library for PHP, with the frameworks that it has bridges to.
  has composer || echo composer
  has phpunit || echo phpunit
  local php_package
  for php_package in psr-http-client psr-log nyholm-psr7 symfony-messenger illuminate-broadcasting; do
    dpkg -s "php-$php_package" >/dev/null 2>&1 || echo "php-$php_package"
  done
  [ -x /usr/sbin/nginx ] || has nginx || echo nginx-light
  [ -x /usr/sbin/haproxy ] || has haproxy || echo haproxy
  # Without the package that starts it as a service.
  [ -x /usr/sbin/apache2 ] || echo apache2-bin
  [ -x /usr/sbin/varnishd ] || echo varnish
  has caddy || echo caddy
  has prometheus && has promtool || echo prometheus
  # For a network of their own, in which the package and the image are started.
  has ip || echo iproute2
}

# Says that no service is to be started, until the packages are installed: Varnish and Caddy would take ports.
no_services() {
  local policy=/usr/sbin/policy-rc.d
  [ ! -e "$policy" ] || { "$@"; return; }
  printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$policy" >/dev/null
  "${as_root[@]}" chmod 755 "$policy"
  trap '"${as_root[@]}" rm -f /usr/sbin/policy-rc.d' EXIT
  "$@"
  "${as_root[@]}" rm -f "$policy"
  trap - EXIT
}

install_packages() {
  local packages
  as_root=()
  mapfile -t packages < <(missing_packages)
  if [ ${#packages[@]} -eq 0 ]; then
    step packages ready
    return
  fi
  has apt-get || fail "missing: ${packages[*]}, and there is no apt-get to install them with"
  if [ "$(id -u)" -ne 0 ]; then
    has sudo || fail "missing: ${packages[*]}; install them as root"
    as_root=(sudo)
  fi
  step packages "installing ${packages[*]}"
  quietly 'apt-get update' "${as_root[@]}" apt-get update -qq
  no_services quietly 'apt-get install' "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends "${packages[@]}"
  mapfile -t packages < <(missing_packages)
  [ ${#packages[@]} -eq 0 ] || fail "still missing after apt-get install: ${packages[*]}"
}

install_grpcurl() {
  if [ -x .tools/bin/grpcurl ]; then
    step grpcurl ready
    return
  fi
  step grpcurl "building $GRPCURL_VERSION"
  quietly 'go install' env GOBIN="$PWD/.tools/bin" \
    go install "github.com/fullstorydev/grpcurl/cmd/grpcurl@$GRPCURL_VERSION"
}

install_nats_server() {
  if [ -x .tools/bin/nats-server ] && .tools/bin/nats-server --version | grep -qF "$NATS_SERVER_VERSION"; then
    step nats ready
    return
  fi
  step nats "building nats-server $NATS_SERVER_VERSION"
  quietly 'go install' env GOBIN="$PWD/.tools/bin" \
    go install "github.com/nats-io/nats-server/v2@$NATS_SERVER_VERSION"
}

build_go_clients() {
  # Pinned by go.mod and go.sum; nothing is built where nothing has changed.
  quietly 'go build' go build -C tests/clients/go -o "$PWD/.tools/bin/cloudevents-go" .
  quietly 'go build' go build -C examples/go-sse -o "$PWD/.tools/bin/go-sse-reader" .
  quietly 'go build' go build -C clients/go -o "$PWD/.tools/bin/kit-go" ./kit
  quietly 'go test -c' go test -C clients/go/grpcsub -c -o "$PWD/.tools/bin/grpcsub-go" .
  step go-clients ready
}

install_examples() {
  local node=examples/door-alarms/node php=examples/door-alarms/php
  quietly 'go build' go build -C examples/door-alarms/go -o "$PWD/.tools/bin/door-alarms-go" .
  # What composer would make of the library beside it.
  mkdir -p "$php/vendor"
  printf "<?php require '%s';\n" "$PWD/clients/php/tests/bootstrap.php" >"$php/vendor/autoload.php"
  if [ -d "$node/node_modules/libsql" ]; then
    step examples ready
    return
  fi
  step examples "installing into $node"
  quietly 'npm install' npm install --prefix "$node" --no-package-lock --no-audit --no-fund
}

make_venv() {
  # The copy is written last, so an unfinished venv is made again.
  if cmp -s "$REQUIREMENTS" .tools/venv/requirements.txt && .tools/venv/bin/python -c 'import grpc' 2>/dev/null; then
    step python ready
    return
  fi
  python3 -c 'import sys; sys.exit(sys.version_info < (3, 9))' || fail "$(python3 --version) is too old; 3.9 is needed"
  step python "installing into .tools/venv"
  rm -rf .tools/venv
  quietly 'python3 -m venv' python3 -m venv .tools/venv
  quietly 'pip install' .tools/venv/bin/python -m pip install --quiet --disable-pip-version-check -r "$REQUIREMENTS"
  cp "$REQUIREMENTS" .tools/venv/requirements.txt
}

install_typescript() {
  local folder=.tools/typescript
  if [ -x $folder/node_modules/.bin/tsc ] && $folder/node_modules/.bin/tsc --version | grep -qF "$TYPESCRIPT_VERSION"; then
    step types ready
    return
  fi
  step types "installing typescript $TYPESCRIPT_VERSION"
  quietly 'npm install' npm install --prefix $folder --no-package-lock --no-audit --no-fund "typescript@$TYPESCRIPT_VERSION"
}

mkdir -p .tools/bin
check_toolchain
install_packages
install_grpcurl
install_nats_server
build_go_clients
make_venv
install_examples
install_typescript
step done 'cargo test'
