package srpsim

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

// Not in the list, because a LeaveAll repairs what they break before anybody
// looks: a New that is said once, a restart that asks nobody. Nor a link that
// becomes slower and keeps all, since all that it holds has more latency then.
// Tests by clause have these.

// mutation is a bug planted in package srp or srp/mrp: one text replaced by
// another in a copy of one file. The trial, built with that copy, has to fail.
type mutation struct {
	name     string
	file     string
	old, new string
}

var mutations = []mutation{
	// Who has declared what: 802.1Q clause 10.
	{"registrations do not age", "mrp/registrar.go", "if r.mode == Normal && r.state == in {", "if false && r.state == in {"},
	{"a leavetimer that ran out runs out again", "mrp/table.go", "a.reg.leave <= now; a = a.next", "a.reg.leave <= now && false; a = a.next"},
	{"who is asked to declare again does not", "mrp/participant.go", "			p.leftAll(now, a)\n		}\n	})\n}", "		}\n	})\n}"},
	{"a LeaveAll ages all types and asks for the first", "mrp/transmit.go", "		if leaveAll && k.asks(t) {", "		if leaveAll && t.Type == 1 && k.asks(t) {"},
	{"who stopped is still registered", "mrp/participant.go", "	p.attrs.each(func(a *attribute) {\n		p.gone(a)\n", "	p.attrs.each(func(a *attribute) {\n"},
	{"a Leave is not said", "mrp/applicant.go", "case sayLeave:\n		return Lv", "case sayLeave:\n		return In"},
	// Which way, and what is said there: 35.2.4.
	{"trees that change are not followed", "msrp.go", "if slices.ContainsFunc(s.talkers, moved) {", "if false && slices.ContainsFunc(s.talkers, moved) {"},
	{"blocked ports are declared to", "propagate.go", "	return !p.blocked\n}", "	return true\n}"},
	{"a stream comes in anywhere", "propagate.go", "		return !b.ports[t.port].blocked\n", "		return true\n"},
	{"the old talker declaration stays", "propagate.go", "		p.Leave(b.now, o.declared)\n", ""},
	{"a failure has no bridge", "propagate.go", "d.Failed, d.BridgeID, d.FailureCode = true, b.cfg.BridgeID, code", "d.Failed, d.FailureCode = true, code"},
	{"who hears of a failure is ready", "merge.go", "if failed && wants(p) {", "if false && failed && wants(p) {"},
	{"ready and failed are ready", "merge.go", "		mrp.ListenerReady, mrp.ListenerReadyFailed, mrp.ListenerReady, mrp.ListenerReadyFailed,\n", "		mrp.ListenerReady, mrp.ListenerReady, mrp.ListenerReady, mrp.ListenerReadyFailed,\n"},
	{"the answer to a talker stays", "propagate.go", "if s.answered != none && (s.answered != to", "if false && (s.answered != to"},
	// What is reserved.
	{"there is always room", "reserve.go", "ports[q], with, beside)", "ports[q], beside, with)"},
	{"who does not listen has a reservation, too", "merge.go", "return p == mrp.ListenerReady || p == mrp.ListenerReadyFailed }", "return p != mrp.ListenerAskingFailed }"},
	{"what is given back is offered to nobody", "msrp.go", "if p.moved || moved && all {", "if moved && all {"},
	{"a link that is down keeps all", "msrp.go", "b.indicated(i, p.Stop())", "p.Stop()"},
	{"a boundary port is as good as any", "reserve.go", "case b.boundary(q, class):", "case b.boundary(q, class) && false:"},
	{"who is pushed aside is not told", "reserve.go", "		b.releaseAs(NoticePreempted, v, q)\n		b.dirty[v.id] = true\n", "		b.releaseAs(NoticePreempted, v, q)\n"},
	{"a stream that moves keeps its old ports", "propagate.go", "	if t != nil && s.in == t.port && s.wish", "	if t != nil && s.in != none && s.wish"},
	{"the data plane is told of streams that are not held", "publish.go", "		if o.held {\n			out = append", "		if o.declared.Type != 0 {\n			out = append"},
}

// few are tried when nothing else is asked for.
var few = []string{"what is given back is offered to nobody"}

// mutationSeeds are played in each topology and mode; the first failure is enough.
const mutationSeeds = 5

// TestMutations: the trial notices bugs.
func TestMutations(t *testing.T) {
	root, err := filepath.Abs("../../..")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range mutations {
		if !wanted(m.name) {
			continue
		}
		source := filepath.Join(root, "srp", m.file)
		text, err := os.ReadFile(source)
		if err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(string(text), m.old); n != 1 {
			t.Errorf("%s: srp/%s has the text to replace %d times", m.name, m.file, n)
			continue
		}
		t.Run(strings.ReplaceAll(m.name, " ", "_"), func(t *testing.T) {
			m.try(t, source, strings.Replace(string(text), m.old, m.new, 1))
		})
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
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{source: write("mutant.go", []byte(text))}})
	if err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join(dir, "mutant.test")
	if out, err := exec.Command("go", "test", "-c", "-vet=off", "-overlay", write("overlay.json", overlay), "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("%s does not build: %v\n%s", m.name, err, out)
	}
	out, err := exec.Command(binary, "-test.run", "^TestTrial$", "-seeds", fmt.Sprint(mutationSeeds), "-test.failfast", "-test.timeout", "5m").CombinedOutput()
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

// firstFailure is what the mutant's trial says first, but for what went well.
func firstFailure(out string) string {
	for line := range strings.Lines(out) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "panic:") || strings.HasPrefix(line, "srpsim_test.go") && !strings.Contains(line, "out of reach") && !strings.Contains(line, "frames,") {
			return line
		}
	}
	return out
}
