# Everything a developer or a CI does to notifier. `make help` lists it.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unversioned)
LDFLAGS := -s -w -X main.version=$(VERSION)

# Tools are pinned here and run by `go run`: nothing to install.
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
GOVULNCHECK := golang.org/x/vuln/cmd/govulncheck@v1.8.0

# What it does a second before a process ends adds up: the tests run hundreds of them.
export GORACE := atexit_sleep_ms=0

# The race detector needs a C compiler; without one the tests still run.
RACE := $(shell command -v "$$(go env CC)" >/dev/null && echo -race)
PACKAGES ?= ./...
IMAGE ?= notifier
FUZZTIME ?= 10s
TORTURE ?= 10m
# Major versions of Postgres, each with the folder of its binaries or without: 14=/usr/lib/postgresql/14/bin 18
VERSIONS ?=

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 15
	@echo
	@echo 'Variables: PACKAGES=$(PACKAGES) (test), VERSIONS=$(VERSIONS) (test-versions), TORTURE=$(TORTURE), FUZZTIME=$(FUZZTIME), IMAGE=$(IMAGE), VERSION=$(VERSION)'

.PHONY: run
run: build ## build, and start a server with an embedded Postgres on 127.0.0.1:8080
	./bin/notifier dev

.PHONY: build
build: ## compile bin/notifier, one static binary
	CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)' -o bin/notifier ./cmd/notifier

# What a builder behind other registries needs is taken from the environment, if it is there.
.PHONY: image
image: ## build the container image IMAGE, with Docker
	docker build -f cmd/notifier/deploy/Dockerfile --build-arg VERSION=$(VERSION) \
		$(foreach name,GO_IMAGE GOPROXY GOSUMDB,$(if $($(name)),--build-arg $(name))) -t $(IMAGE) .

.PHONY: test-image
test-image: ## try the image IMAGE: by itself, in compose.yaml, and for tests of applications (needs docker-compose)
	NOTIFIER_TEST_IMAGE=$(IMAGE) go test $(RACE) -count=1 -timeout 10m -v ./cmd/notifier/deploy
	NOTIFIER_TEST_IMAGE=$(IMAGE) go test $(RACE) -count=1 -timeout 10m -run TestImage -v ./testcontainers

.PHONY: test
test: ## run every test, with the race detector where there is a C compiler
	$(if $(RACE),,@echo 'no C compiler: without the race detector')
	go test $(RACE) -timeout 20m $(PACKAGES)
	$(if $(filter ./...,$(PACKAGES)),@$(MAKE) example)

.PHONY: example
example: ## run the tests of the sample application, a module of its own that uses package testcontainers
	cd testcontainers/example && go vet ./... && go test $(RACE) -timeout 10m ./...

.PHONY: test-versions
test-versions: ## run what depends on Postgres' version on 14 to 18, or on VERSIONS="14=/folder/bin 18"
	go run ./cmd/versions $(VERSIONS)

.PHONY: torture
torture: ## run the torture tests for TORTURE each
	NOTIFIER_TORTURE=$(TORTURE) go test $(RACE) -count=1 -timeout 24h -run Torture -v $(PACKAGES)

.PHONY: bench
bench: ## measure commits, latency, fan-out and memory, and print a table (BENCH=-quick: roughly)
	go run ./cmd/bench $(BENCH)

.PHONY: fuzz
fuzz: ## run each fuzz target for FUZZTIME
	@grep -rHoE --include='*_test.go' '^func Fuzz\w+' cmd db httpapi migrations notifier testcontainers | sort | \
	while IFS=: read -r file target; do \
		target=$${target#func }; \
		echo "$$target in $${file%/*}, $(FUZZTIME)"; \
		go test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) "./$${file%/*}" </dev/null; \
	done

.PHONY: lint
lint: ## check format, vet, staticcheck, go fix, and known vulnerabilities if their list is in reach
	@unformatted=$$(gofmt -l cmd db httpapi migrations notifier testcontainers); \
	if [ -n "$$unformatted" ]; then echo "not formatted (make fmt): $$unformatted"; exit 1; fi
	go vet ./...
	go run $(STATICCHECK) -checks all ./...
	@echo 'go fix -diff ./...'; fixes=$$(go fix -diff ./... 2>&1) || true; \
	if [ -n "$$fixes" ]; then echo "$$fixes"; echo 'go fix has something to modernize (make fmt)'; exit 1; fi
	@if found=$$(go run $(GOVULNCHECK) ./... 2>&1); then echo 'govulncheck: nothing known'; \
	elif grep -q 'exit status 3' <<<"$$found"; then echo "$$found"; exit 1; \
	else echo "govulncheck skipped: $$(grep -v '^exit status' <<<"$$found" | tail -1)"; fi

.PHONY: fmt
fmt: ## format the sources and let go fix modernize them
	gofmt -w cmd db httpapi migrations notifier testcontainers
	go fix ./...

.PHONY: cover
cover: ## measure what the tests cover, into cover.out
	go test -timeout 20m -coverpkg=./... -coverprofile=cover.out $(PACKAGES)
	go tool cover -func=cover.out | tail -1
