package daemon

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tsnswitch"
	"tsnswitch/internal/config"
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
