package daemon

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"tsnswitch"
	"tsnswitch/gptp"
	"tsnswitch/internal/config"
	"tsnswitch/srp"
)

// What MSRP knew is taken up again if it is fresh and of this start of the machine,
// and never keeps the daemon from starting.
func TestRecallMSRP(t *testing.T) {
	known := msrpMemory{Boot: bootID(), Memory: srp.Memory{Registrations: []srp.RememberedValue{{Port: 1, Type: 1, Octets: []byte{0, 0xff}}}}}
	stale := known
	stale.Boot = "another"
	for name, c := range map[string]struct {
		prepare func(t *testing.T, s store[msrpMemory])
		want    bool
	}{
		"fresh":    {func(t *testing.T, s store[msrpMemory]) { must(t, s.save(known)) }, true},
		"no file":  {func(*testing.T, store[msrpMemory]) {}, false},
		"rebooted": {func(t *testing.T, s store[msrpMemory]) { must(t, s.save(stale)) }, false},
		"nothing":  {func(t *testing.T, s store[msrpMemory]) { must(t, s.save(msrpMemory{Boot: bootID()})) }, false},
		"damaged":  {func(t *testing.T, s store[msrpMemory]) { must(t, os.WriteFile(s.path, []byte("{"), 0o600)) }, false},
		"long past": {func(t *testing.T, s store[msrpMemory]) {
			must(t, s.save(known))
			past := time.Now().Add(-2 * msrpLife)
			must(t, os.Chtimes(s.path, past, past))
		}, false},
	} {
		d := &Daemon{
			cfg: &config.Daemon{SRP: config.SRP{MSRP: true}}, log: slog.New(slog.DiscardHandler),
			msrpStore: store[msrpMemory]{filepath.Join(t.TempDir(), "msrp.json")}, control: newLoop("control", nil, nil, nil),
		}
		c.prepare(t, d.msrpStore)
		d.recallMSRP()
		got := false
		select {
		case ev := <-d.control.events:
			r, ok := ev.(srp.Restore)
			got = ok && len(r.Memory.Registrations) == 1 && string(r.Memory.Registrations[0].Octets) == "\x00\xff"
		default:
		}
		if got != c.want || d.capable.grace.IsZero() == c.want {
			t.Errorf("%s: restored %t, grace until %v", name, got, d.capable.grace)
		}
	}
}

// MSRP hears of a port that is not capable at once, but not in the first seconds
// of a daemon that goes on where another one ended.
func TestTellCapable(t *testing.T) {
	status := func(capable bool) gptp.Status {
		return gptp.Status{Domains: []gptp.DomainStatus{{Ports: []gptp.PortStatus{{Port: 1, AsCapable: capable, MeanLinkDelayNS: 500}}}}}
	}
	for _, grace := range []bool{false, true} {
		c := capable{told: map[tsn.Port]srp.SetASCapable{}}
		if grace {
			c.grace = time.Now().Add(time.Hour)
		}
		var got []tsn.Event
		for _, now := range []bool{false, false, true, true, false} {
			c.tell(status(now), func(ev tsn.Event) { got = append(got, ev) })
		}
		want := []tsn.Event{
			srp.SetASCapable{Port: 1, LinkDelay: 500}, srp.SetASCapable{Port: 1, Capable: true, LinkDelay: 500}, srp.SetASCapable{Port: 1, LinkDelay: 500},
		}
		if grace {
			want = want[1:]
		}
		if len(got) != len(want) || got[0] != want[0] || got[len(got)-1] != want[len(want)-1] {
			t.Errorf("grace %t: %+v", grace, got)
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
