#!/usr/bin/env bash
# Makes a Debian package of a binary that is built already, without cargo-deb, from the same list of files:
#   bash scripts/build-deb.sh target/release/vidette vidette.deb [VERSION]
set -euo pipefail
binary=$1 package=$2
cd_root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
version=${3:-$(sed -n 's/^version = "\(.*\)"/\1/p' "$cd_root/Cargo.toml" | head -n 1)}
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
chmod 755 "$tree"

# The assets of [package.metadata.deb] in Cargo.toml: source, folder or path, mode.
assets() {
  sed -n '/^\[package.metadata.deb\]/,/^\[\[/p' "$cd_root/Cargo.toml" |
    sed -n 's/^ *\["\(.*\)", "\(.*\)", "\(.*\)"\],*$/\1 \2 \3/p'
}

"$binary" man "$tree/man"
mkdir "$tree/completions"
for shell in bash zsh fish; do
  "$binary" completions "$shell" >"$tree/completions/$shell"
done

mkdir "$tree/root" && chmod 755 "$tree/root"
while read -r source target mode; do
  case $source in
    target/release/vidette) from=("$binary") ;;
    target/package/*) from=("$tree"/${source#target/package/}) ;;
    *) from=("$cd_root"/$source) ;;
  esac
  case $target in
    */) for file in "${from[@]}"; do install -D -m "$mode" "$file" "$tree/root/$target$(basename "$file")"; done ;;
    *) install -D -m "$mode" "${from[0]}" "$tree/root/$target" ;;
  esac
done < <(assets)
gzip -9n "$tree"/root/usr/share/man/man1/*.1
find "$tree/root" -type d -exec chmod 755 {} +

mkdir "$tree/root/DEBIAN"
for script in postinst prerm postrm; do
  install -m 755 "$cd_root/deploy/debian/$script" "$tree/root/DEBIAN/$script"
done
echo /etc/vidette/vidette.toml >"$tree/root/DEBIAN/conffiles"
cat >"$tree/root/DEBIAN/control" <<CONTROL
Package: vidette
Version: $version
Architecture: $(dpkg --print-architecture)
Maintainer: vidette <vidette@localhost>
Section: net
Priority: optional
Depends: passwd, libc6
Description: push gateway: one event bus over SSE, long-poll and gRPC
 Publishers append events, subscribers read them from their own cursor.
CONTROL
dpkg-deb --root-owner-group -Znone --build "$tree/root" "$package" >/dev/null
