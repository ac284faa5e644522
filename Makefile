# What can be done here: make help.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
REVISION ?= $(shell git rev-parse HEAD 2>/dev/null)
PREFIX  ?= /usr/local
ARGS    ?=
# How long each fuzz target runs under make fuzz.
FUZZTIME ?= 10s

export GOFLAGS ?= -buildvcs=false
LDFLAGS := -s -w -X main.release=$(VERSION) -X github.com/kuberelay/kuberelay/admin.vcsRevision=$(REVISION)

.PHONY: help
help: ## Show this list.
	@awk 'BEGIN {FS = ":.*## "} /^[a-z0-9-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

##
.PHONY: build
build: ## Build bin/kuberelay, and bin/kubectl-relay for kubectl.
	@echo "building bin/kuberelay $(VERSION) (a first build compiles client-go: 1 to 3 minutes)"
	@CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)' -o bin/kuberelay ./cmd/kuberelay
	@ln -sf kuberelay bin/kubectl-relay

.PHONY: install
install: build ## Install both into PREFIX/bin (/usr/local), below DESTDIR.
	@install -D -m 0755 bin/kuberelay "$(DESTDIR)$(PREFIX)/bin/kuberelay"
	@ln -sf kuberelay "$(DESTDIR)$(PREFIX)/bin/kubectl-relay"
	@echo "installed $(DESTDIR)$(PREFIX)/bin/kuberelay and kubectl-relay"

.PHONY: test
test: ## Run all tests, race detector on: unit, lab, end to end.
	@hack/test.sh . hack/package test/lab test/docs test/e2e

.PHONY: unit
unit: ## Run the tests of the product's own module only.
	@hack/test.sh .

.PHONY: race
race: ## Run the unit tests ten times over, in search of races.
	@hack/test.sh -count=10 .

.PHONY: e2e
e2e: ## Run the end-to-end tests on real API servers.
	@hack/test.sh test/e2e

.PHONY: docs
docs: ## Run the commands of README.md and docs/ as they are written (root).
	@[ "$$(id -u)" = 0 ] || echo "not root: the documents are read, and their commands are NOT run"
	@hack/test.sh test/docs

.PHONY: page
page: ## Test the status page in headless Chromium, with screenshots.
	@hack/page.sh $(ARGS)

.PHONY: chaos
chaos: ## Kill, stop, cut off and restart API servers under 30 s of load each.
	@echo "starting a cluster (built for minutes the first time), then about ten minutes of faults"
	@cd test/e2e && KUBERELAY_E2E_LOAD=30s go test -count=1 -timeout=40m -v -run='Kill|Hang|Restart|Etcd|AllDown|Informer' .

.PHONY: mesh
mesh: ## Cut hosts that gossip off from each other, for up to ten minutes (root).
	@echo "starting a cluster (built for minutes the first time), then about fifteen minutes of partitions"
	@KUBERELAY_E2E_LONG=1 go test -count=1 -v -run=Twenty ./gossip
	@cd test/e2e && KUBERELAY_E2E_LONG=1 go test -count=1 -timeout=40m -v -run=Mesh .

.PHONY: fuzz
fuzz: ## Run every fuzz target for FUZZTIME (10s).
	@hack/fuzz.sh "$(FUZZTIME)"

.PHONY: bench
bench: ## Compare CPU and latency with kubectl proxy, in one run.
	@go run ./test/bench $(ARGS)

.PHONY: rules
rules: ## Check the Prometheus rules and the dashboard on a real Prometheus.
	@hack/prometheus.sh

.PHONY: package
package: ## Make the .deb and the .rpm in dist/ (ARCH=arm64: for another machine).
	@hack/package.sh "$(VERSION)"

.PHONY: package-lint
package-lint: package ## Check the packages with lintian, rpm, mandoc and shells.
	@hack/package-lint.sh

.PHONY: units
units: ## Check the systemd units: systemd-analyze verify and security.
	@hack/units.sh

.PHONY: image-test
image-test: ## Build the container image and run it (root, buildah).
	@hack/image-test.sh

.PHONY: systemd-test
systemd-test: ## Install, restart, upgrade and break it on hosts with systemd (root).
	@echo "needs root, debootstrap and systemd-nspawn; three to six minutes, the first time more"
	@cd test/systemd && go test -count=1 -timeout=30m -v $(ARGS) .

.PHONY: lint
lint: ## Check formatting, go vet and golangci-lint.
	@hack/lint.sh

.PHONY: fmt
fmt: ## Format the code.
	@hack/lint.sh fmt

.PHONY: lab
lab: ## Bring up etcd, three kube-apiservers and kwok until Ctrl-C.
	@cd test/lab && go run ./cmd/lab $(ARGS)

.PHONY: demo
demo: build ## Show it all on the lab (ARGS=--script: by itself).
	@cd test/lab && go run ./cmd/demo $(ARGS)

.PHONY: clean
clean: ## Remove what was built here.
	@rm -rf bin dist
