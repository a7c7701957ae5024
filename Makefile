# One entry for everything. Run `make demo` first; it installs what it needs.
#
#   make demo [LAB=line3]   a TSN fabric in namespaces, end to end, with a report
#             (LAB is a name in lab/, or a file of the same form: LAB=my/net.yaml)
#             VIRTUAL=1: in virtual time, so that no busy machine disturbs; builds its kernel first
#   make demo LAB=twokernels  two kernels with two clocks: gates follow gPTP
#   make demo LAB=control [FOR=10m]  a control loop between Erlang nodes: deadlines missed idle, flooded,
#             reserved; in virtual time, or with VIRTUAL= in real time
#   make test               all tests, on the real kernel (User-mode Linux where needed)
#   make test-otp [SUITE=trixie]  tests with Erlang nodes, on another Debian's Erlang (fetched, not installed)
#   make check              format, vet, staticcheck, tidy, cross-builds
#   make bench              benchmarks of the cores, and bench-qbv
#   make soak [SEEDS=2000]  the SPB core in random fabrics with faults, on each kind of board
#   make soak-srp [SEEDS=200]  MSRP in random networks with faults, and 100 bridges with 1,000 streams
#   make mutation           bugs planted in the SPB and SRP cores: the simulations have to notice each
#   make bench-scale        500 bridges in virtual time, from a failing link to the last kernel entry
#   make bench-converge     from a link that fails to the last kernel entry, ten bridges
#   make bench-qbv [TSNKIT=dir] [BUDGET=150s]  schedules: ours, first fit, and tsnkit's methods on the same problems
#   make bench-gptp         tsnswitchd beside ptp4l: accuracy, start, take-over, what it costs
#   make bench-dist [ROWS=words] [ERL=erl]  Erlang distribution: stock TCP, tuned TCP, distlink
#   make soak-srp-lab [ROUNDS=20]  three bridges in a ring with daemons: LeaveAll storms, kill -9, link flaps
#   make soak-dist [FOR=10m]  random signals between Erlang nodes on a bad network
#   make soak-bulk [ROUNDS=3] 64 MiB messages at 100 Mbit/s with drops: they always finish
#   make soak-mesh [NODES=20] a full mesh of Erlang nodes forms, is cut in two, and heals; memory beside TCP
#   make soak-gptp [FOR=1h] eight hops that lose frames, and relays that die
#   make soak-distcore [SEEDS=2000]  distlink's core, in Go and in Erlang, through random networks
#   make kernel             the second test kernel, built once and cached
#   make generate           protobuf code (needs protoc)

export CGO_ENABLED = 0
# Random tests draw the same every time; RAPID_SEED=0 draws anew.
export RAPID_SEED ?= 1
GO  ?= go
BIN := bin
LAB ?= ring4
LABFILE = $(if $(filter %.yaml,$(LAB)),$(LAB),$(if $(filter control,$(LAB)),lab/control/network.yaml,lab/$(LAB).yaml))
OUT ?= out/$(basename $(notdir $(LAB)))

# Packages whose goroutines are worth the race detector, on the host.
RACE := ./internal/daemon/... ./internal/api/... ./internal/link/... ./distlink/...

.PHONY: all build demo test test-otp check soak soak-srp soak-srp-lab mutation bench bench-scale bench-converge bench-qbv bench-gptp bench-dist soak-dist soak-bulk soak-mesh soak-distcore soak-gptp kernel generate setup-demo setup-test clean

all: build

build: $(BIN)/tsnswitchd $(BIN)/tsnctl $(BIN)/demo $(BIN)/umlrun erlang

$(BIN)/tsnswitchd $(BIN)/tsnctl: FORCE
	@$(GO) build -trimpath -o $@ ./cmd/$(@F)
$(BIN)/demo: FORCE
	@$(GO) build -trimpath -o $@ ./lab/demo
$(BIN)/twokernels: FORCE
	@$(GO) build -trimpath -o $@ ./lab/twokernels
$(BIN)/umlrun: FORCE
	@$(GO) build -trimpath -o $@ ./internal/kerneltest/umlrun

.PHONY: FORCE erlang
FORCE:
erlang:
	@mkdir -p erlang/ebin $(BIN)/control
	@erlc -Wall -o $(BIN)/control lab/control/*.erl
	@erlc -Wall -o erlang/ebin erlang/src/gen_dist.erl
	@erlc -Wall -pa erlang/ebin -o erlang/ebin $(filter-out erlang/src/gen_dist.erl,$(wildcard erlang/src/*.erl))

setup-demo:
	@scripts/setup.sh demo
setup-test:
	@scripts/setup.sh test
	@scripts/otp.sh >/dev/null || echo "no Erlang/OTP 27: the tests with it are skipped"

# The lab's own time is printed by the demo; this prints the preparation's.
# A lab in a folder of its own is a program of its own.
ifeq ($(LAB),twokernels)
demo:
	@start=$$(date +%s); scripts/setup.sh twokernels && $(MAKE) --no-print-directory $(BIN)/tsnswitchd $(BIN)/tsnctl $(BIN)/twokernels && \
	  echo "prepared (installed and built) in $$(( $$(date +%s) - start )) s" && \
	  $(BIN)/twokernels -out $(OUT)
else
demo: FOR = 25s
# Virtual time is about the network alone, and does not mind a busy machine.
ifeq ($(LAB),control)
demo: VIRTUAL = 1
endif
demo:
	@$(if $(VIRTUAL),internal/kerneltest/kernel/build.sh)
	@start=$$(date +%s); scripts/setup.sh demo && $(MAKE) --no-print-directory build && \
	  echo "prepared (installed and built) in $$(( $$(date +%s) - start )) s" && \
	  $(BIN)/demo -lab $(LABFILE) -out $(OUT) $(if $(filter control,$(LAB)),-control $(FOR)) $(if $(VIRTUAL),-virtual)
endif

test: setup-test build
	$(GO) test -timeout 20m ./...

# All tests with Erlang nodes, on one Erlang that is not the installed one.
SUITE ?= trixie
test-otp:
	erl=$$(scripts/otp.sh $(SUITE)) && PATH=$${erl%/*}:$$PATH $(GO) test -count=1 -timeout 20m ./erlang ./distlink/... ./internal/erlnode

check:
	@unformatted=$$($(GO) tool gofumpt -l $$(git ls-files '*.go' | grep -v '\.pb\.go$$\|connect\.go$$')); \
	  if [ -n "$$unformatted" ]; then echo "not gofumpt-clean:"; echo "$$unformatted"; exit 1; fi
	$(GO) vet ./...
	$(GO) tool staticcheck ./...
	$(GO) mod tidy -diff
	GOARCH=arm64 $(GO) build ./...
	GOARCH=arm GOARM=7 $(GO) build ./...
	@if command -v $${CC:-gcc} >/dev/null; then echo "race detector:"; CGO_ENABLED=1 $(GO) test -race -short $(RACE); \
	  else echo "no C compiler: the tests under the race detector are left out (install gcc)"; fi

bench:
	$(GO) test -run '^$$' -bench . -benchmem ./spb/... ./qbv/... ./srp/... ./gptp/... ./distlink/...
	$(MAKE) --no-print-directory bench-qbv

SEEDS ?= 2000
soak:
	$(GO) test ./internal/sim/spbsim -run '^Test(Software|Felix|LAN966x|MV88E6xxx|Mixed)$$' -seeds $(SEEDS) -timeout 0 -v

soak-srp: SEEDS = 200
soak-srp:
	$(GO) test ./internal/sim/srpsim -run '^TestTrial$$' -seeds $(SEEDS) -timeout 0
	$(GO) test ./internal/sim/srpsim -run '^TestLarge$$' -large -timeout 0 -v

mutation:
	$(GO) test ./internal/sim/spbsim ./internal/sim/srpsim -run '^TestMutations$$' -mutations all -timeout 60m -v

bench-scale:
	$(GO) test ./internal/sim/spbsim -run '^TestScale$$' -scale 500 -timeout 30m -v

# On this kernel, and on one with VLAN filtering if this one has none.
CUTS ?= 50
bench-converge: $(BIN)/umlrun
	$(GO) test ./internal/daemon -run '^$$' -bench Converge -benchtime $(CUTS)x -timeout 20m
	$(GO) test -exec "$(CURDIR)/$(BIN)/umlrun -timeout 1200s" ./internal/daemon -run '^$$' -bench Converge -benchtime $(CUTS)x -timeout 20m

TSNKIT ?=
BUDGET ?= 150s
SETS ?= A,B,C,X
ONLY ?=
PEERS ?= dt,ls,ls_tb,smt_wa,smt_pr
bench-qbv:
	$(GO) test ./internal/qbvbench -run '^$$' -bench Compare -benchtime 1x -timeout 0 -v \
	  -tsnkit "$(TSNKIT)" -budget $(BUDGET) -sets $(SETS) -only "$(ONLY)" -peers $(PEERS)

bench-gptp:
	$(GO) test ./internal/gptptest -run '^$$' -bench BesidePtp4l -benchtime 1x -timeout 30m

ROWS ?=
ERL ?= erl
bench-dist: ROUNDS = 3
bench-dist:
	@scripts/setup.sh bench-dist
	$(GO) test ./internal/distbench -run '^$$' -bench Carriers -benchtime 1x -timeout 0 -v -rounds $(ROUNDS) -rows "$(ROWS)" -erl $(ERL)

FOR ?= 1h
soak-srp-lab: ROUNDS = 20
soak-srp-lab:
	$(GO) test ./internal/srptest -run '^TestRing$$' -rounds $(ROUNDS) -timeout 0 -v

soak-dist: FOR = 10m
soak-dist:
	$(GO) test ./erlang -run '^TestSoak$$' -soak $(FOR) -timeout 0 -v

soak-bulk: ROUNDS = 3
soak-bulk:
	$(GO) test ./erlang -run '^TestBulkWithDrops$$' -bulk $(ROUNDS) -timeout 0 -v

NODES ?= 20
soak-mesh:
	$(GO) test ./erlang -run '^(TestMesh|TestCosts)$$' -mesh $(NODES) -costs -timeout 0 -v

soak-gptp:
	$(GO) test ./internal/gptptest -run '^TestSoak$$' -soak $(FOR) -timeout 0 -v

soak-distcore:
	$(GO) test ./distlink -run '^TestDelivery' -seeds $(SEEDS) -timeout 0
	$(GO) test ./erlang -run '^TestSimulation$$' -seeds $(SEEDS) -timeout 0

kernel:
	@internal/kerneltest/kernel/build.sh

generate:
	$(GO) generate ./...

clean:
	rm -rf $(BIN) out erlang/ebin
