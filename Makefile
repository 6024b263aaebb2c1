# Every target runs from a fresh clone with nothing but Go installed.

GO      ?= go
T       ?= 30s
N       ?= 10000
TURN    ?= -1
# The packages with goroutines or atomics. The others are pure, which a test checks.
RACE    ?= ./agent ./crdt ./gossip/transport/... ./internal/api ./internal/dashboard ./internal/httpapi ./internal/journal \
           ./internal/mcpbridge ./internal/mcpserver ./internal/metrics ./lockservice/...
TOOLS   := $(GO) tool -modfile=.ci/go.mod
VERSION ?= $(shell git describe --tags --always --dirty)
PLATFORMS ?= linux/amd64 linux/arm64 darwin/amd64 darwin/arm64 windows/amd64 windows/arm64
FUZZ    := agent clock crdt gossip gossip/transport internal/journal internal/mcpserver internal/wire lockservice

.DEFAULT_GOAL := help
.PHONY: help build demo test race lint mutants fuzz sim golden bench cross release promtool browser openapi check clean

help: ## list the targets
	@awk -F':.*## ' '/^[a-z]+:.*## /{printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## build bin/sentinel-peer
	CGO_ENABLED=0 $(GO) build -trimpath -o bin/sentinel-peer ./cmd/sentinel-peer

demo: build ## run three real peers: share, cut, heal, kill, restart, agree
	./bin/sentinel-peer demo

test: ## run every test: unit, laws, simulator, golden vectors, examples, real processes
	$(GO) test -timeout 8m ./...
	cd internal/tests && $(GO) test -timeout 8m ./...

race: ## run the concurrent packages under the race detector
	$(GO) test -race -short -timeout 8m $(RACE)
	$(GO) test -race -short -run Alike -timeout 8m ./sim

lint: ## run gofmt, vet and staticcheck
	@test -z "$$(gofmt -l .)" || { echo "gofmt would change:"; gofmt -l .; exit 1; }
	$(GO) vet ./...
	$(TOOLS) staticcheck ./...
	cd internal/tests && $(GO) vet ./... && $(GO) tool -modfile=$(CURDIR)/.ci/go.mod staticcheck ./...

browser: build ## test the dashboard of real daemons in a real browser; as root, installs Debian's chromium
	@command -v chromium >/dev/null || test "$$(id -u)" != 0 || \
	  { apt-get update -qq && apt-get install -qqy --no-install-recommends chromium fonts-dejavu-core; }
	cd internal/dashboard/browser && SENTINEL_PEER=$(CURDIR)/bin/sentinel-peer $(GO) test -count=1 -timeout 4m ./...

openapi: ## lint the OpenAPI document, and compile a TypeScript client from it; needs node 20
	cd internal/httpapi/openapi && npm ci --silent --no-audit --no-fund --ignore-scripts
	$(GO) run ./internal/httpapi/openapi > internal/httpapi/openapi/openapi.json
	cd internal/httpapi/openapi && npm test --silent

mutants: ## break each rule of the core and check that a test fails; TURN=n takes every 24th
	$(GO) test ./internal/mutants -mutants -turn $(TURN) -timeout 8m

sim: build ## run N seeds of the simulator (N=10000)
	./bin/sentinel-peer sim --seeds $(N)

# A target that fails is run again. An input that was found is in testdata by then and fails again, while
# a run that reached its time limit on a busy machine ("context deadline exceeded") passes.
fuzz: ## run each fuzz target for T (T=30s)
	@for p in $(FUZZ); do \
	  for f in $$(grep -ho 'func Fuzz[A-Za-z0-9_]*' $$p/*_test.go | cut -c6-); do \
	    echo "fuzz $$p $$f"; once="$(GO) test -run ^$$ -fuzz ^$$f\$$ -fuzztime $(T) ./$$p"; \
	    $$once || $$once || exit 1; \
	  done; \
	done

golden: ## rewrite the golden files and show what changed
	$(GO) test ./gossip -run Golden -update
	$(GO) test ./internal/journal -run Golden -update
	$(GO) test ./internal/metrics -run Table -update
	$(GO) test ./internal/cli/status -run Top -update
	$(GO) test ./sim -run 'Alike|Scripts' -update -rewrite
	$(GO) test ./internal/mutants -record -run Simulator -timeout 30m
	git --no-pager diff --stat -- '*testdata*'

bench: ## measure the goals of this project beside its rivals, in one run
	cd bench && $(GO) run ./all

cross: ## compile for each platform of a release
	@for p in $(PLATFORMS); do \
	  echo "$$p"; CGO_ENABLED=0 GOOS=$${p%/*} GOARCH=$${p#*/} $(GO) build -o /dev/null ./cmd/sentinel-peer || exit 1; \
	done

release: ## build archives for each platform, and their checksums, in dist (VERSION=)
	GO=$(GO) deploy/release $(VERSION) $(PLATFORMS)

promtool: build ## check the alerts, their tests and the names of metrics with Prometheus' own tool
	promtool check rules deploy/prometheus/alerts.yml
	promtool test rules deploy/prometheus/alerts_test.yml
	deploy/prometheus/check

check: lint test race ## run the checks that CI runs on a change

clean: ## remove what the targets made
	rm -rf bin dist
	$(GO) clean -testcache
