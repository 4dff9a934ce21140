# The commands for daily work. Everything else is plain cargo.

.PHONY: abuse-long bench bench-cluster bench-curves bench-curves-quick bench-large \
  bench-nats-publish bench-retention bench-rivals bench-tls bench-tls-rivals check-features \
  clients-table cluster-long counts deb demo dist drain-long examples-long fuzz gearman-long \
  history-long jetstream-long kills-long kills-rust-long lint model-long musl outbox-long quick rolling-long \
  rootfs setup simulate soak test

# Installs what the tests need (Chromium, grpcurl, Python grpcio, …) and runs everything.
test: setup lint
	cargo test --workspace --no-fail-fast

# What needs no real client and no fault injection: seconds, for every change.
quick:
	cargo test --lib --test tidy --test bus --test engines

# The history checker for ten minutes; VIDETTE_SEED chooses the run.
history-long:
	VIDETTE_HISTORY_SECONDS=600 cargo test --test history -- --nocapture

# The attacks of tests/abuse with full counts, on the release build; ABUSE=NAME runs those with that name.
abuse-long:
	cargo build --release --bin vidette
	VIDETTE_ABUSE=long VIDETTE_PROGRAM=target/release/vidette cargo test --test abuse -- $(ABUSE)

# The end of a gateway under 10,000 readers, and when they come back to another one, as a table.
drain-long:
	cargo build --release --bin vidette
	VIDETTE_DRAIN_READERS=10000 VIDETTE_DRAIN_SECONDS=20 VIDETTE_PROGRAM=target/release/vidette \
	cargo test --test reload come_back -- --nocapture

# The outbox of PostgreSQL: 10,000 rows and 100 kills, twice; VIDETTE_SEED chooses the run.
outbox-long:
	VIDETTE_OUTBOX_ROWS=10000 cargo test --test postgres proof -- --nocapture --test-threads=1

# The path from Gearman to five pages in Chromium in full: 10,000 jobs, ten kills; minutes.
gearman-long:
	VIDETTE_JOBS=10000 VIDETTE_KILLS=10 cargo test --test gearman every_page -- --nocapture

# Events a second that one gateway appends to NATS JetStream, on one server and on three, as a table.
bench-nats-publish:
	cargo test --test jetstream publish_speed -- --ignored --nocapture
# Two gateways behind HAProxy and nginx, restarted five times each under readers of all kinds; how late events come.
rolling-long:
	VIDETTE_ROLLING_ROUNDS=5 cargo test --test clients rolling -- --nocapture --test-threads=1

# Servers of NATS that are killed and frozen in turn, and a majority that is gone for a while; minutes.
jetstream-long:
	VIDETTE_CLUSTER=long cargo test --test jetstream -- --nocapture --test-threads=1
# Two gateways on three servers of NATS through every fault that tests/cluster knows; half an hour. CELLS=freeze runs
# the cells whose names contain it.
cluster-long:
	VIDETTE_CLUSTER=long VIDETTE_CLUSTER_CELLS="$(CELLS)" cargo test --test cluster whatever -- --nocapture

# The subscriber in Java, built with Maven, through a gateway that is killed for EXAMPLES_SECONDS.
EXAMPLES_SECONDS ?= 60
examples-long:
	cargo build --release --bin vidette
	bash examples/java/kills.sh target/release/vidette $(EXAMPLES_SECONDS)

# Each client library for SECONDS against a gateway that is killed, over a network that fails, with
# certificates and clocks that change; LIBRARIES=js runs one of them.
SECONDS ?= 600
LIBRARIES ?= python js go php rust
kills-long:
	cargo build --release --bin vidette
	cargo build -p vidette-rust-kit
	@set -e; for library in $(LIBRARIES); do \
	  python3 tests/kit/kills --seconds $(SECONDS) $$library; done

# Each fuzz target for FUZZ_SECONDS, from its seeds; needs cargo-fuzz. Findings are kept in fuzz/corpus.
FUZZ_SECONDS ?= 60
fuzz:
	@export RUSTC_BOOTSTRAP=1; set -e; for target in $$(cargo fuzz list); do mkdir -p fuzz/corpus/$$target; \
	cargo fuzz run $$target fuzz/corpus/$$target fuzz/seeds/$$target -- -max_total_time=$(FUZZ_SECONDS); done

# The whole gateway against a plain list, on far more scripts than by default.
model-long:
	PROPTEST_CASES=5000 cargo test --test model

# The scenarios of docs/performance.md, every server in turn, and their tables into that page: all of them, or one as in
# make bench-A; bench-L are the low rates. Servers that are not installed are left out (make bench-rivals). It says first
# how long it takes; ONLY=vidette,nchan runs these alone.
BENCH_ROUNDS ?= 3
SCENARIOS = cargo bench --bench scenarios -- $(if $(ONLY),--only $(ONLY))
bench:
	$(SCENARIOS) --rounds $(BENCH_ROUNDS) --write docs/performance.md
# Centrifugo, nats-server and nchan, in fixed versions, to compare with.
bench-rivals:
	bash scripts/setup-rivals.sh
# Latency and CPU of the machine over the rate, for 100, 1,000 and 10,000 readers on each transport, drawn into docs/curves
# and shown by docs/performance.md; three quarters of an hour. bench-curves-quick takes 3 s for each of few rates: minutes.
# CURVES=sse-1000 runs one of them.
CURVES_FILE ?= target/curves.jsonl
bench-curves:
	@rm -f $(CURVES_FILE); mkdir -p $(dir $(CURVES_FILE))
	$(SCENARIOS) --curves --json $(CURVES_FILE) $(CURVES)
	$(DRAW_CURVES)
bench-curves-quick:
	@rm -f $(CURVES_FILE); mkdir -p $(dir $(CURVES_FILE))
	$(SCENARIOS) --curves --quick --seconds 3 --json $(CURVES_FILE) $(CURVES)
	$(DRAW_CURVES)
DRAW_CURVES = cargo run -q -p vidette-curves -- $(CURVES_FILE) docs/curves docs/performance.md
# Publishing beside a million topics that expire.
bench-retention:
	cargo bench --bench retention
# A log of ten million events and a million topics, and 100,000 filters; 6 GB of disk for minutes. LARGE_LOG has other
# sizes, or a folder in which the log stays.
LARGE_LOG ?= --events 10000000 --topics 1000000 --patterns 100000
bench-large:
	cargo bench --bench large_log -- $(LARGE_LOG)
# What encryption and tokens cost: scenarios A, D and G without them and with them, in one table.
bench-tls:
	$(SCENARIOS) TLS --rounds $(BENCH_ROUNDS) --write docs/performance.md
# TLS beside nginx with nchan (apt-get install nginx-light libnginx-mod-nchan), as a table.
bench-tls-rivals:
	cargo bench --bench tls_rivals -- --rounds $(BENCH_ROUNDS)
# Gateways on three servers of NATS JetStream beside one on SQLite, as a table for docs/performance.md.
bench-cluster:
	cargo build --release --bin vidette
	python3 scripts/bench-cluster.py --rounds $(BENCH_ROUNDS)
bench-%:
	$(SCENARIOS) $* --rounds $(BENCH_ROUNDS) --write docs/performance.md

# Readers that come and go for half an hour, on a log on disk that is trimmed: nothing may be missing, memory stays flat.
SOAK_SECONDS ?= 1800
SOAK_RATE ?= 1200
soak:
	cargo run --release -- bench fanout --churn 20 --readers 1000 --rate $(SOAK_RATE) --seconds $(SOAK_SECONDS) \
	--coalesce 5 --config benches/soak.toml

# How many machines a fleet needs, and what happens to a million pages: tables and charts of docs/scale.md, from the
# figures in bench/simulate/parameters.toml. scripts/measure_costs.py measures those that no bench has.
simulate:
	cargo run --release -p vidette-simulate

# Instructions of the hot paths in the release build, against tests/counts/counts.json; needs valgrind.
counts:
	cargo test --release --test counts

# Man pages and completions, as packages have them, into target/package.
dist:
	cargo build --release --locked --bin vidette
	rm -rf target/package && mkdir -p target/package/completions
	target/release/vidette man target/package/man
	set -e; for shell in bash zsh fish; do \
	target/release/vidette completions $$shell >target/package/completions/$$shell; done
# A Debian package in target/debian; with cargo-deb where it is installed (cargo install cargo-deb --locked --version 3.6.1).
deb: dist
	mkdir -p target/debian
	if command -v cargo-deb >/dev/null; then cargo deb --no-build; \
	else bash scripts/build-deb.sh target/release/vidette target/debian/vidette.deb; fi
# One file for any Linux on x86-64, linked with musl; needs musl-tools and rustup target add x86_64-unknown-linux-musl.
musl:
	cargo build --release --locked --no-default-features --features cli --bin vidette --target x86_64-unknown-linux-musl
# What the image has in it, as a folder: ROOTFS, from a binary that is built.
ROOTFS ?= target/rootfs
rootfs:
	cargo build --release --locked --no-default-features --features cli --bin vidette
	bash scripts/build-rootfs.sh target/release/vidette $(ROOTFS)

# The features that a library has alone, each by itself; not part of lint, as each has its dependencies compiled anew.
check-features:
	cargo check --no-default-features --features client
	cargo check --no-default-features --features client-grpc

# Plays the kit to every client library, and writes the tables of docs/clients.md anew.
CLIENTS_TABLE = cargo run -q -p vidette-kit --
clients-table:
	cargo build -q -p vidette-rust-kit
	$(CLIENTS_TABLE) run --results target/kit-js.json -- node clients/js/kit/adapter.js
	$(CLIENTS_TABLE) run --results target/kit-python.json -- .tools/venv/bin/python clients/python/kit/adapter.py
	$(CLIENTS_TABLE) run --results target/kit-rust.json -- target/debug/vidette-rust-kit
	$(CLIENTS_TABLE) run --results target/kit-go.json -- .tools/bin/kit-go
	$(CLIENTS_TABLE) run --results target/kit-php.json -- php clients/php/kit/adapter.php
	$(CLIENTS_TABLE) table --out docs/clients.md target/kit-js.json target/kit-python.json \
	  target/kit-rust.json target/kit-go.json target/kit-php.json

# Ten minutes of kills under the Rust client.
kills-rust-long:
	cargo build --release --bin vidette
	cargo run -p vidette-rust-kit --bin vidette-rust-kills -- target/release/vidette 600

# Crates that no client library pulls in.
SERVERS_OWN = axum|rusqlite|async-nats|libsqlite3-sys
lint:
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	@! cargo tree --locked --no-default-features --features client -e normal --prefix none | grep -E '^($(SERVERS_OWN)|tonic) '
	@! cargo tree --locked --no-default-features --features client-grpc -e normal --prefix none | grep -E '^($(SERVERS_OWN)) '
	@if command -v cargo-deny >/dev/null; then cargo fetch --locked && cargo deny --offline check bans licenses sources; \
	else echo "cargo-deny is not installed: licences and sources are not checked"; fi

setup:
	bash scripts/setup-tests.sh

demo:
	cargo run --release -- serve --demo
