#!/usr/bin/env bash
# Kills a real gateway again and again under the subscriber: nothing is lost, doubled or out of order.
#
#   bash examples/java/kills.sh target/release/vidette 60
set -euo pipefail
gateway=$(realpath "${1:-target/release/vidette}")
seconds=${2:-60}
cd "$(dirname "${BASH_SOURCE[0]}")"

mvn -q -B compile dependency:build-classpath -Dmdep.outputFile=target/classpath
folder=$(mktemp -d)
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')

serve() {
  "$gateway" serve --listen "127.0.0.1:$port" --data-dir "$folder/log" 2>>"$folder/gateway" >/dev/null &
  serving=$!
}
serve
java -cp "target/classes:$(cat target/classpath)" example.Subscriber "127.0.0.1:$port" "$folder/cursor" 'kills.>' \
  >"$folder/read" 2>"$folder/subscriber" &
subscriber=$!
trap 'kill -9 $serving $subscriber $publisher 2>/dev/null || true' EXIT

# Each number is its event's id, so that a second try is no second event.
(
  SECONDS=0
  for ((n = 1; SECONDS < seconds; n++)); do
    until curl -sf "127.0.0.1:$port/v1/topics/kills.numbers?id=$n" --data "$n" -H 'Content-Type: text/plain' >/dev/null; do
      sleep 0.1
    done
    echo "$n" >>"$folder/published"
  done
) &
publisher=$!

kills=0
while kill -0 "$publisher" 2>/dev/null; do
  sleep "$((RANDOM % 3 + 1)).$((RANDOM % 10))"
  kill -9 "$serving"
  wait "$serving" 2>/dev/null || true
  kills=$((kills + 1))
  serve
done

for _ in $(seq 300); do
  cmp -s "$folder/published" <(cut -d' ' -f3 "$folder/read") && break
  sleep 0.1
done
echo "$kills kills, $(wc -l <"$folder/published") events published, $(wc -l <"$folder/read") read"
cmp "$folder/published" <(cut -d' ' -f3 "$folder/read") && echo 'nothing lost, nothing doubled, in order'
