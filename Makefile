# What a person runs. Everything else is plain cargo.

.PHONY: test quick lint setup demo

# Installs what the tests need (Chromium, grpcurl, Python grpcio, …) and runs everything.
test: setup lint
	cargo test --no-fail-fast

# What needs no real client and no fault injection: seconds, for every change.
quick:
	cargo test --lib --test tidy --test bus --test engines

lint:
	cargo fmt --check
	cargo clippy --all-targets -- -D warnings
	@if command -v cargo-deny >/dev/null; then cargo deny --offline check bans licenses sources; \
	else echo "cargo-deny is not installed: licences and sources are not checked"; fi

setup:
	bash scripts/setup-tests.sh

demo:
	cargo run --release -- serve --demo
