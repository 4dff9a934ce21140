# Installs, runs, upgrades, removes and purges the package, on a copy of this machine's file system
# that is gone with this process, and with a network and processes of its own.
#   package.sh OLD_PACKAGE NEW_PACKAGE FOLDER
set -euo pipefail

if [ "${4:-}" != inside ]; then
  mount -t tmpfs tmpfs "$3"
  mkdir "$3"/upper "$3"/work "$3"/root
  mount -t overlay overlay -o "lowerdir=/,upperdir=$3/upper,workdir=$3/work" "$3/root"
  mount -t proc proc "$3/root/proc"
  mount --rbind /dev "$3/root/dev"
  mount -t tmpfs tmpfs "$3/root/run"
  mkdir "$3/root/packages"
  cp "$1" "$3/root/packages/old.deb"
  cp "$2" "$3/root/packages/new.deb"
  cp "$0" "$3/root/packages/package.sh"
  ip link set lo up
  exec chroot "$3/root" bash /packages/package.sh - - - inside
fi

export DEBIAN_FRONTEND=noninteractive PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
url=http://127.0.0.1:8080
unit=/lib/systemd/system/vidette.service

# The unit's own command line, as its own user.
start() {
  local command
  command=$(sed -n 's/^ExecStart=//p' $unit)
  setpriv --reuid vidette --regid vidette --clear-groups $command >/dev/null 2>/tmp/journal </dev/null &
  gateway=$!
  vidette ready --wait 10s || { cat /tmp/journal; exit 1; }
}
end() { kill "$gateway"; wait "$gateway" || true; }
last() { curl -sf "$url/v1/bus" | grep -o '"last":[0-9]*'; }
expect() { [ "$2" = "$3" ] || { echo "$1: $2 instead of $3"; exit 1; }; }

dpkg --no-triggers -i /packages/old.deb >/dev/null
expect user "$(stat -c %U:%G:%a /var/lib/vidette)" vidette:vidette:750
expect configuration "$(stat -c %U:%G:%a /etc/vidette)" root:vidette:750
expect version "$(dpkg-query -W -f '${Version}' vidette)" 1.0
gzip -dc /usr/share/man/man1/vidette-serve.1.gz | grep 'in which the log is kept' >/dev/null
grep -q vidette /usr/share/bash-completion/completions/vidette
start
vidette publish door.3 '{"doorno":3}' >/dev/null
end

# An upgrade keeps what the operator has written, and the log.
echo '# ours' >>/etc/vidette/vidette.toml
dpkg --no-triggers -i /packages/new.deb >/dev/null
expect version "$(dpkg-query -W -f '${Version}' vidette)" 2.0
grep -q '^# ours' /etc/vidette/vidette.toml
start
expect log "$(last)" '"last":1'
vidette publish door.3 '{"doorno":3}' >/dev/null
expect log "$(last)" '"last":2'
end

# What is removed comes back with its log; what is purged is gone.
dpkg --no-triggers -r vidette >/dev/null
[ ! -e /usr/bin/vidette ]
[ -s /var/lib/vidette/vidette.db ]
grep -q '^# ours' /etc/vidette/vidette.toml
dpkg --no-triggers -i /packages/new.deb >/dev/null
start
expect log "$(last)" '"last":2'
end
dpkg --no-triggers -P vidette >/dev/null
for gone in /usr/bin/vidette /var/lib/vidette /etc/vidette $unit; do
  [ ! -e $gone ] || { echo "$gone is left"; exit 1; }
done
! getent passwd vidette >/dev/null
echo purged
