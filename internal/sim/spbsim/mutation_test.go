package spbsim

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

var mutationsFlag = flag.String("mutations", "", `which planted bugs TestMutations tries: "all", or part of a name; otherwise a few`)

// Not in the list, because the simulation notices them in fewer than one of
// several hundred seeds, or not at all, since another mechanism repairs the same:
// agreement without echo or without numbers (it takes a hello that is overtaken
// by a whole change and its undoing), stations that move without waiting, links that open
// before the neighbour has agreed, and one of the two ways in which
// a CSNP helps. Tests by clause in package spb have these.

// mutation is a bug planted in package spb: one text replaced by another in a
// copy of one file. The simulation, built with that copy, has to fail.
type mutation struct {
	name     string
	file     string
	old, new string
}

var mutations = []mutation{
	// Which path: RFC 6329 s11, s12.
	{"two masks exchanged", "ect.go", "0x00, 0xff, 0x88, 0x77, 0x44, 0x33, 0xcc, 0xbb", "0x00, 0xff, 0x77, 0x88, 0x33, 0x44, 0xbb, 0xcc"},
	{"mask on the system id only", "ect.go", "*0x0101010101010101", "*0x0000010101010101"},
	{"only the last bridge breaks the tie", "ect.go", "lowP, lowQ = min(lowP, ids[p]), min(lowQ, ids[q])", ""},
	{"the higher PATHID wins", "ect.go", "return lowP < lowQ", "return lowP > lowQ"},
	{"the metric of the near end counts", "graph.go", "metric: max(h.metric, f.metric)", "metric: h.metric"},
	{"the highest of parallel ports", "graph.go", "rank(e) < rank(best)", "rank(e) > rank(best)"},
	{"transit through overloaded bridges", "graph.go", "a.bridgeID, !a.overload", "a.bridgeID, true"},
	// Flooding and ageing: ISO/IEC 10589 7.3.
	{"no flooding behind the neighbour", "database.go", "			i.setSRM(q, l.ID, 0)\n			delete(q.ssn, l.ID)\n		}\n	}\n}\n\n// checkLifetime", "		}\n	}\n}\n\n// checkLifetime"},
	{"an LSP is sent once", "flooding.go", "p.srm[id] = srmFlag{due: i.now.Add(i.cfg.RetransmitInterval), sent: true}", "delete(p.srm, id)"},
	{"CSNPs are not read", "flooding.go", "listed := map[isispdu.LSPID]bool{}", "listed := map[isispdu.LSPID]bool{}\n	if c.End == isispdu.MaxLSPID {\n		return\n	}"},
	{"an old LSP replaces a new one", "database.go", "case e.SequenceNumber < seq:\n		return older", "case e.SequenceNumber < seq:\n		return newer"},
	{"an LSP of an earlier life is not overtaken", "database.go", "		i.overtake(p, l.ID, l.SequenceNumber)\n	case same:", "	case same:"},
	{"the own LSP is not refreshed", "originate.go", "o.refreshAt = i.now.Add(i.cfg.RefreshInterval - i.rng.below(i.cfg.RefreshInterval/10))", "o.refreshAt = tsn.Never - 1"},
	{"LSPs do not age", "database.go", "			i.purge(l.pdu)\n		}\n	}\n	i.db.nextAge", "		}\n	}\n	i.db.nextAge"},
	{"a silent neighbour is never given up", "adjacency.go", "p.adj.state != isispdu.Down && p.adj.expires <= i.now", "p.adj.state != isispdu.Down && false"},
	// Agreement: RFC 6329 s13.2, 802.1Q 28.4.
	{"nobody is asked for agreement", "exchange.go", "return x.known && x.theirsValid && x.theirs == i.agree.digest && x.valid && x.sent == i.agree.digest && x.echoed", "return true"},
	{"the digest is told before the kernel has withdrawn", "agreement.go", "if !i.top.published || a.confirmed < a.withdrawn {", "if !i.top.published {"},
	{"a place that changed stands", "places.go", "case now.parent != old.parent || now.dist != old.dist:", "case false:"},
	{"the digest leaves links out", "digest.go", "sum = sum.plus(sums[u])", "_ = sums[u]"},
	{"an echo once is an echo for ever", "exchange.go", "i.agree.digest, false, agreementRetry", "i.agree.digest, x.echoed, agreementRetry"},
	{"edge ports flood while the fabric changes", "forwarding.go", "McastFlood: i.agree.flooding, BcastFlood: i.agree.flooding}", "McastFlood: true, BcastFlood: true}"},
	// The ingress check, groups and stations.
	{"the way back to a station is another port", "forwarding.go", "default:\n			ports[v] = ports[u]", "default:\n			ports[v] = ports[u] + tsn.Port(v&u&1)"},
	{"a receiver behind another is forgotten", "groups.go", "receivers = append(receivers, int32(k))", "receivers = []int32{int32(k)}"},
	{"two bridges keep one SPSourceID", "sourceid.go", "i.cfg.SPSourceID == 0 && (s.value == 0 || i.sourceTaken(s.value) != nil)", "i.cfg.SPSourceID == 0 && s.value == 0"},
	{"a restarted bridge forgets its SPSourceID", "database.go", "i.recallSourceID(l)", ""},
	{"stations of bridges out of reach count", "forwarding.go", "if !n.spb || !t.connected[k] {", "if !n.spb {"},
	{"broadcast goes to bridges that cannot check it", "places.go", "if !t.nodes[e.to].bare {", "if true {"},
}

// few are tried when nothing else is asked for.
var few = []string{"the higher PATHID wins", "LSPs do not age", "nobody is asked for agreement"}

// mutationSeeds are played on each of three kinds of boards; the first failure is enough.
const mutationSeeds = 150

// TestMutations: the simulation notices bugs.
func TestMutations(t *testing.T) {
	root, err := filepath.Abs("../../..")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range mutations {
		source := filepath.Join(root, "spb", m.file)
		text, err := os.ReadFile(source)
		if err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(string(text), m.old); n != 1 {
			t.Errorf("%s: spb/%s has the text to replace %d times", m.name, m.file, n)
			continue
		}
		if wanted(m.name) {
			t.Run(strings.ReplaceAll(m.name, " ", "_"), func(t *testing.T) {
				m.try(t, source, strings.Replace(string(text), m.old, m.new, 1))
			})
		}
	}
}

func wanted(name string) bool {
	switch *mutationsFlag {
	case "":
		for _, f := range few {
			if f == name {
				return !testing.Short()
			}
		}
		return false
	case "all":
		return true
	}
	return strings.Contains(name, *mutationsFlag)
}

func (m mutation) try(t *testing.T, source, text string) {
	dir := t.TempDir()
	write := func(name string, b []byte) string {
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return p
	}
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{source: write(m.file, []byte(text))}})
	if err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join(dir, "mutant.test")
	if out, err := exec.Command("go", "test", "-c", "-vet=off", "-overlay", write("overlay.json", overlay), "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("%s does not build: %v\n%s", m.name, err, out)
	}
	out, err := exec.Command(binary, "-test.run", "^Test(Mixed|Software|Felix|RestartUnnoticed|FlapStorm)$", "-seeds", fmt.Sprint(mutationSeeds), "-stop", "-test.failfast", "-test.timeout", "5m").CombinedOutput()
	var exit *exec.ExitError
	switch {
	case err == nil:
		t.Errorf("nobody noticed: %s", m.name)
	case !errors.As(err, &exit):
		t.Fatal(err)
	default:
		t.Logf("%s: %s", m.name, firstFailure(string(out)))
	}
}

// firstFailure is what the mutant's test says first.
func firstFailure(out string) string {
	for line := range strings.Lines(out) {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, "spbsim_test.go") || strings.HasPrefix(line, "restart_test.go") || strings.HasPrefix(line, "storm_test.go") || strings.HasPrefix(line, "panic:") {
			return line
		}
	}
	return out
}
