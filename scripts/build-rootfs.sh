#!/usr/bin/env bash
# Puts together, as a folder, what the image of deploy/Dockerfile has in it, for machines without Docker: a binary that is
# built, the libraries that it asks for, certificates of authorities, the user and the data folder.
#   bash scripts/build-rootfs.sh target/release/vidette ROOT
#   chroot --userspec 65532:65532 ROOT /usr/local/bin/vidette serve
set -euo pipefail
binary=$1 root=$2

install -D -m 755 "$binary" "$root/usr/local/bin/vidette"
# None for a static binary.
{ ldd "$binary" || true; } | grep -oE '/[^ ]+' | while read -r library; do
  install -D -m 755 "$library" "$root$library"
done
install -D -m 644 /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt"
printf 'root:x:0:0:root:/root:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin\n' >"$root/etc/passwd"
printf 'root:x:0:\nnonroot:x:65532:\n' >"$root/etc/group"
install -d -m 1777 "$root/tmp"
install -d -m 755 "$root/var/lib"
if [ "$(id -u)" -eq 0 ]; then
  install -d -o 65532 -g 65532 "$root/var/lib/vidette"
else
  install -d "$root/var/lib/vidette"
fi
