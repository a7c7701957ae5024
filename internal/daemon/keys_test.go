package daemon

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tsnswitch"
	"tsnswitch/internal/config"
	"tsnswitch/internal/nodeconfig"
	"tsnswitch/internal/record"
	"tsnswitch/spb"
)

// The keys are told when they change and not otherwise; a key whose time is over
// is a warning, once.
func TestTellKeys(t *testing.T) {
	var text bytes.Buffer
	d := &Daemon{log: slog.New(slog.NewTextHandler(&text, nil)), control: newLoop("control", nil, nil, nil)}
	day := func(n int) time.Time { return time.Date(2027, 1, n, 0, 0, 0, 0, time.UTC) }
	tell := func(now time.Time) (time.Duration, []tsn.Event) {
		next := d.tellKeys(now)
		var told []tsn.Event
		for len(d.control.events) > 0 {
			told = append(told, <-d.control.events)
		}
		return next, told
	}
	if _, told := tell(day(1)); len(told) != 0 {
		t.Errorf("without keys, told %v", told)
	}
	d.keys.auth.Keys = []config.AuthKey{
		{ID: 2, Algorithm: spb.HMACSHA256, Secret: "xyzzy", SendFrom: config.Time{Time: day(2)}, SendUntil: config.Time{Time: day(5)}},
		{ID: 1, Algorithm: spb.HMACSHA256, Secret: "plugh"},
	}
	d.keys.auth.Keys[1].SendUntil = d.keys.auth.Keys[0].SendUntil
	for _, c := range []struct {
		at   time.Time
		told int
		key  uint16
		next time.Duration
	}{
		{day(1), 1, 1, time.Minute},
		{day(1).Add(time.Hour), 0, 0, time.Minute},
		{day(2).Add(-3 * time.Second), 0, 0, 3*time.Second + time.Millisecond},
		{day(2), 1, 2, time.Minute},
		{day(1), 1, 1, time.Minute}, // the clock was set back
		{day(5), 1, 2, time.Minute},
		{day(6), 0, 0, time.Minute},
	} {
		next, told := tell(c.at)
		if len(told) != c.told || next != c.next {
			t.Fatalf("%s: told %d, next %s; want %d, %s", c.at, len(told), next, c.told, c.next)
		}
		if c.told == 0 {
			continue
		}
		var send uint16
		for _, k := range told[0].(spb.SetKeys).Authentication.LSP.Keys {
			if k.Send {
				send = k.ID
			}
		}
		if send != c.key {
			t.Errorf("%s: key %d signs, want %d", c.at, send, c.key)
		}
	}
	if n := strings.Count(text.String(), "level=WARN"); n != 1 || strings.Contains(text.String(), "xyzzy") || strings.Contains(text.String(), "plugh") {
		t.Errorf("%d warnings:\n%s", n, text.String())
	}
}

// A configuration read again brings its keys at once, and a key that is due is
// told when it is.
func TestKeepKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &Daemon{log: slog.New(slog.DiscardHandler), control: newLoop("control", nil, nil, nil)}
		ctx, cancel := context.WithCancel(context.Background())
		reload := make(chan *config.Daemon)
		go d.keepKeys(ctx, reload)
		c := config.DefaultDaemon()
		c.SPB.Auth.Keys = []config.AuthKey{
			{ID: 2, Algorithm: spb.HMACSHA256, Secret: "b", SendFrom: config.Time{Time: time.Now().Add(10 * time.Minute)}},
			{ID: 1, Algorithm: spb.HMACSHA256, Secret: "a"},
		}
		reload <- &c
		synctest.Wait()
		if n := len(d.control.events); n != 1 {
			t.Fatalf("told %d times after a reload", n)
		}
		time.Sleep(10*time.Minute + time.Second)
		synctest.Wait()
		if n := len(d.control.events); n != 2 {
			t.Fatalf("told %d times after the key was due", n)
		}
		cancel()
		synctest.Wait()
	})
}

// A trace holds no secret, and replays all the same with the configuration: a
// key that had been told is found there. Two bridges, of which b1 is recorded.
func TestTraceOfKeys(t *testing.T) {
	text := func(name, mac string) *config.Daemon {
		c, err := config.ParseDaemon(name, []byte(`role: bridge
name: `+name+`
systemId: `+mac+`
ports:
  - {port: 1, ifname: p1, role: fabric}
spb: {baseVids: [{vid: 100}], auth: {keys: [
  {id: 2, algorithm: hmac-sha-512, secret: plugh, sendFrom: 2027-01-02T00:00:00Z}, {id: 1, algorithm: hmac-md5, secret: xyzzy}]}}
`))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	machine := func(c *config.Daemon) *spb.Instance {
		n, err := nodeconfig.Of(c)
		if err != nil {
			t.Fatal(err)
		}
		m, err := spb.New(*n.SPB)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	c1, c2 := text("b1", "02:00:00:00:00:01"), text("b2", "02:00:00:00:00:02")
	file := filepath.Join(t.TempDir(), "trace.jsonl")
	trace, err := record.Create(record.Config{Path: file, Machine: "spb"})
	if err != nil {
		t.Fatal(err)
	}
	b1, b2 := machine(c1), machine(c2)
	var effects []string
	var toB1, toB2 []tsn.Event
	now := tsn.Instant(0)
	b1Step := func(ev tsn.Event) {
		trace.Record(now, ev)
		out := b1.Step(now, ev)
		effects = append(effects, fmt.Sprint(out))
		for _, e := range out {
			if s, ok := e.(tsn.Send); ok {
				toB2 = append(toB2, tsn.Received{Port: 1, Frame: s.Frame})
			}
		}
	}
	later, _ := nodeconfig.Keys(c1.SPB.Auth, time.Date(2027, 2, 1, 0, 0, 0, 0, time.UTC))
	toB1 = append(toB1, spb.SetKeys{Authentication: later}, tsn.LinkChanged{Port: 1, Up: true, Rate: tsn.Gbps})
	toB2 = append(toB2, spb.SetKeys{Authentication: later}, tsn.LinkChanged{Port: 1, Up: true, Rate: tsn.Gbps})
	for range 200 {
		now = now.Add(int64(10 * time.Millisecond))
		in1, in2 := append(toB1, tsn.Timeout{}), append(toB2, tsn.Timeout{})
		toB1, toB2 = nil, nil
		for _, ev := range in1 {
			b1Step(ev)
		}
		for _, ev := range in2 {
			for _, e := range b2.Step(now, ev) {
				if s, ok := e.(tsn.Send); ok {
					toB1 = append(toB1, tsn.Received{Port: 1, Frame: s.Frame})
				}
			}
		}
	}
	if n := b1.Neighbours()[0]; n.State != "Up" {
		t.Fatalf("b2 is %s: %+v", n.State, b1.Counters().Drops)
	}
	if err := trace.Close(); err != nil {
		t.Fatal(err)
	}
	recorded, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(recorded, []byte("hmac-sha-512")) || bytes.Contains(recorded, []byte("xyzzy")) || bytes.Contains(recorded, []byte("plugh")) {
		t.Errorf("the trace begins with\n%s", recorded[:min(len(recorded), 600)])
	}
	step := 0
	err = record.Replay(bytes.NewReader(recorded), machine(c1), func(at tsn.Instant, _ tsn.Event, out []tsn.Effect) {
		if step < len(effects) && fmt.Sprint(out) != effects[step] {
			t.Fatalf("step %d at %d replays as\n%v, was\n%s", step, at, out, effects[step])
		}
		step++
	})
	if err != nil || step != len(effects) {
		t.Errorf("%d of %d steps replayed: %v", step, len(effects), err)
	}
}
