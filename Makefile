# Everything a person types. `make help` lists it.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: help install demo test test-cross test-cuda check-cuda lint cross bench plugin train check-leaks check-valgrind soak

# The file to convert; none: a clip the project renders itself.
IN ?=
# The file to write: .mp4, .mkv or .webm.
OUT ?= demo-out/demo.mp4
# Frames a second, whole or a fraction (60, 60000/1001); none: twice the input's.
RATE ?=
export IN OUT RATE

help: ## List the commands
	@echo "make demo [IN=movie.mp4] [OUT=smooth.mp4] [RATE=60]"
	@echo
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 17

install: ## Install missing packages (Debian, Ubuntu), nothing when all are there
	@scripts/install.sh

demo: install ## Convert IN to OUT at RATE, sound kept; without IN a clip of our own
	@cargo build --release --quiet --example demo
	@target/release/examples/demo $${IN:+--in "$$IN"} --out "$$OUT" $${RATE:+--rate "$$RATE"}

# Not empty: with CUDA, for NVIDIA cards, in a folder of its own.
CUDA ?=
WITH_CUDA := scripts/cuda.sh
plugin: install ## Build the plugin: target/release/libgstvideointerpolate.so; [CUDA=1] target/cuda/release/...
	$(if $(CUDA),$(WITH_CUDA)) cargo build --release $(if $(CUDA),--features cuda)

lint:
	@cargo fmt --version >/dev/null 2>&1 && cargo clippy --version >/dev/null 2>&1 \
		|| rustup component add rustfmt clippy
	cargo fmt --check
	cargo clippy --quiet --all-targets -- -D warnings
	cargo clippy --quiet --all-targets --no-default-features -- -D warnings
	RUSTDOCFLAGS='-D warnings' cargo doc --quiet --no-deps --lib

# Kernels choose their code by the architecture: the other one has to compile, too.
# Below the element only, since GStreamer's libraries for it are rarely installed.
CROSS := aarch64-unknown-linux-gnu
# Whoever installed it, rustup or a distribution's package.
HAVE_CROSS = ls "$$(rustc --print target-libdir --target $(CROSS))"/libstd-* >/dev/null 2>&1
cross:
	@if $(HAVE_CROSS); then \
		cargo clippy --quiet --no-default-features --target $(CROSS) -- -D warnings; \
	else \
		echo "skipped: check for $(CROSS) (rustup target add $(CROSS))"; \
	fi

# Unit tests of the kernels, and the network's, on the other architecture, emulated. The first time it builds all for it.
QEMU := qemu-aarch64
CROSS_GCC := aarch64-linux-gnu-gcc
test-cross: ## Run the tests of the kernels and of the network for aarch64 under qemu-user
	@if command -v $(QEMU) $(CROSS_GCC) >/dev/null && $(HAVE_CROSS); then \
		export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=$(CROSS_GCC) && \
		export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER="$(QEMU) -L /usr/aarch64-linux-gnu" && \
		run="cargo test --quiet --manifest-path cross/Cargo.toml --target $(CROSS)" && \
		$$run --lib kernels:: && $$run --test network; \
	else \
		echo "skipped: tests for $(CROSS) (apt install qemu-user gcc-aarch64-linux-gnu; rustup target add $(CROSS))"; \
	fi

test: install lint cross ## Format, lints, all tests, leaks; the build with CUDA where there is no card
	G_DEBUG=fatal-warnings cargo test
	scripts/check-leaks.sh
	@$(MAKE) --no-print-directory check-cuda

# The tests of cards are built first: tests/cuda.rs runs them, too.
check-cuda: install ## Build with CUDA: it loads without a driver, falls back, and says why
	@if [ "$$(uname -sm)" = "Linux x86_64" ]; then \
		$(WITH_CUDA) cargo clippy --quiet --features cuda --lib --test cuda --test card -- -D warnings && \
		$(WITH_CUDA) cargo test --features cuda --no-run --test card && \
		$(WITH_CUDA) cargo test --features cuda --test cuda; \
	else \
		echo "skipped: the build with CUDA ($$(uname -sm) is not Linux x86_64)"; \
	fi

test-cuda: install ## On a machine with an NVIDIA card: compare it with the CPU
	$(WITH_CUDA) cargo test --release --features cuda --test card -- --nocapture --test-threads=1

bench: install ## Run the benches; a table of ratios to others at the end
	cargo bench --quiet --bench '*'
	@cargo build --quiet --release --example costs
	@for size in 640x480 1280x720 1920x1080 3840x2160; do \
		echo; echo "$$size, the element alone"; target/release/examples/costs $$size qos=false; done
	benches/peers.sh

check-leaks: install ## Run every line of pipelines/ under GStreamer's leak tracer
	scripts/check-leaks.sh

check-valgrind: ## Run a short pipeline under valgrind's memcheck
	@scripts/install.sh valgrind
	scripts/check-valgrind.sh

soak: install ## 10,000 frames: memory stays flat
	scripts/soak.sh

# A folder of videos to learn from, anyone's; none: procedural textures alone.
CLIPS ?=
# More options for training/train.py, as "--steps 20000".
ARGS ?=
export CLIPS
DATA := training/data$(if $(CLIPS),,/procedural)
RUN := training/runs/$(if $(CLIPS),own,procedural)
train: training/venv/done ## Train the network, on from where it stopped: [CLIPS=folder] [ARGS="--steps 20000"]
	@test -z "$$CLIPS" || test -d "$$CLIPS" || { echo "CLIPS=$$CLIPS: wanted a folder of videos"; exit 1; }
	training/venv/bin/python training/clips.py "$$CLIPS" $(DATA)
	training/venv/bin/python training/train.py --data $(DATA) --out $(RUN) \
		$(if $(wildcard $(RUN)/checkpoint.pt),--resume) $(ARGS)
	training/venv/bin/python training/export.py $(RUN) -o $(RUN)/model.safetensors

training/venv/done: training/requirements.txt
	@scripts/install.sh python3-venv ffmpeg
	python3 -m venv training/venv
	training/venv/bin/pip install --quiet --requirement $<
	@touch $@
