# Everything that is done to this repository by hand or by CI is a target here.
#   make run     builds bin/holdfast and starts it with ./holdfast-data
#   make test    installs what the tests lack, checks and tests everything
# The other targets are told in CONTRIBUTING.md.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := build

PREFIX  ?= /usr/local
DESTDIR ?=
BIN     ?= bin/holdfast

# One static binary: nothing to install beside it. The version comes from git
# through Go's build information; where git cannot be asked (a tarball, a
# checkout owned by somebody else) the build goes on without it.
VCS     := $(shell git rev-parse HEAD >/dev/null 2>&1 && echo true || echo false)
GOBUILD := CGO_ENABLED=0 go build -trimpath -buildvcs=$(VCS) -ldflags '-s -w'

# The packages where several goroutines meet; they run under the race detector.
RACED   := row|internal/(disk|segment|journal|catalog|deliver|rejects|pgwire|syslog|flatlog|dedupe|gate|roller|daemon)
FUZZTIME ?= 60s

.PHONY: build run test unit race e2e grammar faults mutants lint bench nightly install clean deps

build:
	@$(GOBUILD) -o $(BIN) ./cmd/holdfast

run: build
	@exec $(BIN) serve

deps:
	@scripts/install-deps

lint:
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { echo "not formatted by gofmt:"; gofmt -l $$(git ls-files '*.go'); exit 1; }
	go vet ./...
	cd test/blocks && go vet ./...
	go tool staticcheck ./...

test: deps lint race unit e2e grammar faults

# Without a C compiler the race detector cannot be linked; then the same tests
# run without it, and say so.
race:
	@flag=-race; command -v gcc >/dev/null || { flag=; echo "make: no gcc, so the race detector is left out" >&2; }; \
	set -x; CGO_ENABLED=$${flag:+1} go test -timeout 20m $$flag $$(go list ./... | grep -E '^holdfast/($(RACED))(/|$$)')

unit:
	@set -x; go test -timeout 20m $$(go list ./... | grep -vE '^holdfast/($(RACED)|test)(/|$$)')
	HOLDFAST_SESSIONS=1000000 go test -run '^TestMillionSessions$$' ./internal/pgwire

# The end-to-end tests drive a binary that Go's test cache does not see. Those
# that cut the power are run by faults.
e2e:
	@set -x; go test -count=1 -timeout 30m $$(go list ./test/... | grep -v /test/power)

# INSERTs changed at random, as the door reads them and as PostgreSQL's own
# grammar does. That is C, in a module of its own: it takes two minutes to build
# the first time, and is in Go's build cache after that. The seed is the same
# every time, so that only a change of the code can make it red; nightly hunts.
INSERTS ?= 150000
SEED ?= 1
grammar:
	@command -v gcc >/dev/null || { echo "make: no gcc, so PostgreSQL's grammar cannot be built" >&2; test -z "$${CI:-}"; exit; }; \
	set -x; cd test/grammar && CGO_ENABLED=1 go vet ./... && CGO_ENABLED=1 go test -count=1 -v . -args -count $(INSERTS) -seed $(SEED)

# Everything that can go wrong with a disk, in the amounts of
# test/tally/amounts.txt, with a table of what was done. Less of it is red.
AMOUNT ?= ci
faults: deps
	@tally=$$(mktemp); trap 'rm -f "$$tally"' EXIT; \
	export HOLDFAST_AMOUNT=$(AMOUNT) HOLDFAST_TALLY="$$tally"; \
	scripts/faults; go run ./test/tally/check

# Whether those tests notice anything: bugs that journals have had are put in,
# one at a time (BUGS="4 23" for these alone), and each must be caught.
BUGS ?=
mutants: deps
	scripts/mutants $(BUGS)

# The other journals are in a module of their own, which is large to download
# and to build; -quick takes a minute instead of eight.
PEERS ?=
bench: build
	$(BIN) bench
	go test -run '^$$' -bench . -benchmem ./...
	cd test/peers && go vet ./... && go run . -dir "$(CURDIR)/bin" $(PEERS)

# What takes too long for each push: the long forms of the tests, all under the
# race detector, the faults in their larger amounts, closings of large tables, and
# then each fuzz target for FUZZTIME.
nightly: deps lint build
	HOLDFAST_LONG=1 go test -count=1 -timeout 4h -race ./...
	$(MAKE) faults AMOUNT=nightly
	HOLDFAST_TEN=10000 go test -count=1 -timeout 1h -v -run '^TestTenClosings$$' ./archive/closing
	HOLDFAST_HELD="10000 100000 1000000 10000000" go test -count=1 -timeout 4h -v -run '^TestHeldByKeys$$' ./archive/closing
	MUTANTS_ALL=1 scripts/mutants
	cd test/peers && go vet ./... && go test -count=1 ./... && go run . -dir "$(CURDIR)/bin" -flushes
	$(MAKE) grammar INSERTS=2000000 SEED=0
	FUZZTIME=$(FUZZTIME) scripts/fuzz

install: build
	install -D -m 0755 $(BIN) $(DESTDIR)$(PREFIX)/bin/holdfast
	install -d -m 0755 $(DESTDIR)$(PREFIX)/lib/systemd/system $(DESTDIR)/etc/holdfast
	sed 's|/usr/local/bin/|$(PREFIX)/bin/|' contrib/systemd/holdfast.service > $(DESTDIR)$(PREFIX)/lib/systemd/system/holdfast.service
	chmod 0644 $(DESTDIR)$(PREFIX)/lib/systemd/system/holdfast.service
	test -e $(DESTDIR)/etc/holdfast/holdfast.yaml || install -m 0644 contrib/holdfast.yaml $(DESTDIR)/etc/holdfast/holdfast.yaml

clean:
	rm -rf bin
