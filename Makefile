# SPDX-License-Identifier: Apache-2.0
#
# make demo     checkpoint and restore a Redis server under load
# make demo-riscv  the same on RISC-V: a small kernel with our patch in an emulator, a program that counts, stage × kernel function
# make test     every test (root; installs the Debian packages that the tests drive)
# make quick    the short ones, below two minutes
# make bench    side by side with CRIU 4.1; BENCH=1MiB,threads RUNS=5 WRITE=1 (writes docs/benchmarks.md);
#               BENCH=probes, or one of its cases, with bpftrace; BENCH=profile, what profiling costs
# make lint     go vet, staticcheck, gofumpt, clang-format
# make build    bin/trapline
# make cross    does every package compile for every architecture
# make kernel   builds the patched RISC-V kernel that guests boot and prints its directory; KERNEL_SERIES=6.1 KERNEL_CONFIG=kprobes
# make guest    run CMD as root in a QEMU guest with Debian's kernel: make guest KERNEL=6.12 CMD='uname -a'
# make generate regenerates what is generated and fails if that changed something
# make fuzz     each fuzz target for FUZZTIME (10s)
# make bench-riscv  what the kernel patch costs, in instructions, beside native kprobes; WRITE=1 (writes docs/benchmarks.md)
# make stress   every function probed, 100,000 cycles, killed loaders, a fuzzer, kernels that check themselves, in RISC-V guests;
#               STRESSTIME=10m is for what has no end of its own, TRAPLINE_SEED=N repeats the random choices of a run

GO       ?= go
BENCH    ?= all
RUNS     ?= 5
WRITE    ?=
FUZZTIME ?= 10s
TESTTIME ?= 40m
STRESSTIME ?= 10m
KERNEL   ?= 6.1
CMD      ?= bash
KERNEL_SERIES ?= 6.12
KERNEL_CONFIG ?= small

.PHONY: all build test quick stress bench bench-riscv demo demo-riscv kernel kernels guest lint vet staticcheck format cross generate fuzz clean packages

all: build

# Static: it runs in any container and starts half a millisecond sooner.
build:
	CGO_ENABLED=0 $(GO) build -trimpath -o bin/trapline ./cmd/trapline

demo: build
	internal/ci/packages demo
	$(GO) run ./internal/demo -trapline bin/trapline

demo-riscv:
	internal/ci/packages test
	$(GO) run ./internal/demo/riscv

packages:
	internal/ci/packages test

# -count=1: the tests depend on the kernel and on installed programs, which go's cache of results does not see.
# -p 1: a guest that boots beside several others on two processors takes its clock's rate wrong, once by a factor of five.
test: packages kernels
	$(GO) test -count=1 -p 1 -timeout $(TESTTIME) ./...

quick:
	$(GO) test -count=1 -short -timeout 5m ./...

stress: packages
	TRAPLINE_STRESS=$(STRESSTIME) $(GO) test -count=1 -timeout 12h -v -run TestGuest ./kernel-patch/faults
	TRAPLINE_STRESS=$(STRESSTIME) $(GO) test -count=1 -timeout 1h -v -run TestStacks ./loader/patch
	TRAPLINE_STRESS=$(STRESSTIME) $(GO) test -count=1 -timeout 2h -v ./checkpoint/guest

bench: build
	internal/ci/packages bench
	$(GO) run ./internal/bench -trapline bin/trapline -cases '$(BENCH)' -runs $(RUNS) $(if $(WRITE),-write docs/benchmarks.md)

bench-riscv:
	internal/ci/packages test
	$(GO) run ./internal/bench/riscv -series $(KERNEL_SERIES) $(if $(WRITE),-write docs/benchmarks.md)

# Those that tests boot. Built before the tests, which have other things to do with the processors and a time limit.
kernels:
	@for series in 6.12 6.1; do $(GO) run ./internal/vm/run -kernel riscv64-$$series -build || exit 1; done

kernel:
	internal/ci/packages test
	@$(GO) run ./internal/vm/run -kernel riscv64-$(KERNEL_SERIES) -config $(KERNEL_CONFIG) -build

# The guest sees this machine's files; what it writes is gone when it ends.
guest:
	$(GO) run ./internal/vm/run -kernel $(KERNEL) -- sh -c '$(subst ','\'',$(CMD))'

lint: vet staticcheck format

vet:
	$(GO) vet ./...

staticcheck:
	$(GO) tool staticcheck ./...

format:
	@unformatted=$$($(GO) tool gofumpt -l .); if [ -n "$$unformatted" ]; then \
		echo "not gofumpt-clean:"; echo "$$unformatted"; exit 1; fi
	clang-format --dry-run -Werror bpf/*.h bpf/*.c

cross:
	GOOS=linux GOARCH=amd64 $(GO) build ./...
	GOOS=linux GOARCH=riscv64 $(GO) build ./...
	GOOS=linux GOARCH=riscv64 $(GO) vet ./...

generate:
	$(GO) generate ./...
	git diff --exit-code

# go test -fuzz takes one target of one package at a time.
fuzz:
	@$(GO) list ./... | while read -r package; do \
		for target in $$($(GO) test -list '^Fuzz' "$$package" | grep '^Fuzz' || true); do \
			echo "fuzz $$package $$target"; \
			$(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) "$$package" || exit 1; \
		done; \
	done
	$(GO) test -count=1 -run '^TestFuzzTarget$$' -v ./kernel-patch/engine/tests -libfuzzer $(FUZZTIME)

clean:
	rm -rf bin
