# `make demo` and `make test` are all the set-up there is: python3 and make suffice. `make check` is what CI runs.
PROTO_SOURCES := $(wildcard proto/lotmark/v1/*.proto)
# uv from the PATH, or one of our own under .uv/.
UV := $(or $(shell command -v uv),.uv/bin/uv)

.PHONY: bench cel-oracle check demo determinism fix help kills proto simulate test test-node test-parts
help: ## what there is to make
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(firstword $(MAKEFILE_LIST))

demo: | $(UV) ## a story told to a real node, verified, and forged three times; under 60 s
	$(UV) run lotmark demo

test: | $(UV) ## all tests
	$(UV) sync --quiet
	$(TESTS)

# Two processes, which take about as long as each other: networks of real processes mostly wait.
TESTS := $(MAKE) --no-print-directory --jobs=2 test-parts test-node
PARTS := tests/network tests/consensus tests/simulation tests/contracts tests/foreign tests/inference \
    tests/adapters tests/proto
test-parts: ## of all tests, those of the parts that a node is made of, of networks and of a foreign verifier
	$(UV) run --no-sync pytest $(PARTS)
test-node: ## of all tests, the others: of nodes, edge sites and commands
	$(UV) run --no-sync pytest $(PARTS:%=--ignore=%)

check: | $(UV) ## everything that must pass before a commit lands
	$(UV) run ruff format --check .
	$(UV) run ruff check .
	$(UV) run mypy
	$(UV) run lint-imports
	$(TESTS)

SEEDS ?= 1..2000
simulate: | $(UV) ## simulate voters under faults; SEEDS=A..B; a violated seed says how to replay it
	$(UV) run python -m tests.simulation.simulate --kind fifo --seeds $(SEEDS)
	$(UV) run python -m tests.simulation.simulate --kind lossy --seeds $(SEEDS)
	$(UV) run python -m tests.simulation.simulate --kind membership --seeds $(SEEDS)

KILLS ?= 200
kills: | $(UV) ## kill voters one after the other, and check the whole history; KILLS=N
	LOTMARK_KILLS=$(KILLS) $(UV) run pytest tests/network/test_voters.py -k kills_one_after

EVENTS ?= 100000
determinism: | $(UV) ## execute EVENTS mixed events under three seeds of Python's hashes, and compare
	LOTMARK_MIXED_EVENTS=$(EVENTS) $(UV) run pytest tests/contracts/test_determinism.py -k whatever_the_seed

N ?= 1000000
cel-oracle: | $(UV) ## compare wcel with Google's CEL over N random expressions; 1,000,000 take about 6 min
	$(UV) run python -m tests.contracts.cel_oracle --count $(N)

bench: | $(UV) ## measure a node on this machine; BENCH=--quick: under 45 s
	$(UV) run lotmark bench ledger $(BENCH)

fix: | $(UV) ## format, and mend what ruff can mend
	$(UV) run ruff format .
	$(UV) run ruff check --fix .

proto: | $(UV) ## regenerate the wire code in place
	PATH="$(CURDIR)/.venv/bin:$$PATH" $(UV) run python -m grpc_tools.protoc -Iproto --python_out=proto --grpc_python_out=proto \
	    --mypy_out=proto --mypy_grpc_out=proto $(PROTO_SOURCES)

.uv/bin/uv:
	python3 -m venv .uv
	.uv/bin/pip install --quiet uv
