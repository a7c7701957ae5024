//go:build linux && amd64

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"tsnswitch/internal/api"
	"tsnswitch/internal/config"
)

// Where the second clock starts: ahead by this, so that it is no whole number
// of cycles, and too fast by this.
const (
	ahead    = 1000*time.Second + 4*time.Millisecond
	detuning = 100 // ppm
)

// bound is what the lab promises of two clocks that follow gPTP.
const bound = time.Millisecond

// enough is the share of frames and readings that have to be within it: a host
// that is busy lets a guest stand still now and then.
const enough = 0.98

// A lab is one run.
type lab struct {
	options
	net   *config.Network
	pair  [2]*guest
	table []result
}

// A result is a line of the table at the end.
type result struct{ what, off, on string }

func newLab(o options) (*lab, error) {
	network, err := config.LoadNetwork(o.lab)
	if err != nil {
		return nil, err
	}
	// Logs and state of an earlier run would be read as this one's.
	for _, dir := range []string{"conf", "log", "keys"} {
		if err := os.RemoveAll(filepath.Join(o.out, dir)); err != nil {
			return nil, err
		}
		if err := os.MkdirAll(filepath.Join(o.out, dir), 0o755); err != nil {
			return nil, err
		}
	}
	return &lab{options: o, net: network}, nil
}

func (l *lab) close() {
	for _, g := range l.pair {
		g.quit()
	}
}

// run goes through the steps; one that fails ends the lab, because the next
// ones stand on it.
func (l *lab) run(ctx context.Context) error {
	begin := time.Now()
	all := []struct {
		name string
		run  func(context.Context) error
	}{
		{"two kernels, one cable, two clocks", l.stepBoot},
		{"gPTP off: equal gates on unequal clocks", l.stepOff},
		{"gPTP on, clock not steered: status says so, no schedule is taken", l.stepUnsteered},
		{"gPTP on, clock steered: one time", l.stepSteered},
		{"a schedule: gates of both kernels are aligned", l.stepSchedule},
		{"gPTP lost, or a clock stepped by hand: status says so, and recovers", l.stepLost},
	}
	for i, s := range all {
		fmt.Printf("\n== %d. %s\n", i+1, s.name)
		start := time.Now()
		if err := s.run(ctx); err != nil {
			fmt.Printf("   FAILED after %.1f s: %v\n", time.Since(start).Seconds(), err)
			return fmt.Errorf("step %d (%s): %w", i+1, s.name, err)
		}
		fmt.Printf("   held, %.1f s\n", time.Since(start).Seconds())
	}
	fmt.Printf("\n%-44s %16s %16s\n", "", "gPTP off", "gPTP on")
	for _, r := range l.table {
		fmt.Printf("%-44s %16s %16s\n", r.what, r.off, r.on)
	}
	fmt.Printf("\nevery step held; the lab took %.0f s\n", time.Since(begin).Seconds())
	return nil
}

func say(format string, a ...any) { fmt.Printf("   "+format+"\n", a...) }

// wait looks with probe, about 5 times a second, until it says done or the
// limit; what it saw last is printed.
func wait(ctx context.Context, what string, limit time.Duration, probe func(context.Context) (saw string, done bool, err error)) error {
	start := time.Now()
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("not within %v", limit))
	defer cancel()
	look := time.NewTicker(200 * time.Millisecond)
	defer look.Stop()
	saw := "nothing yet"
	for {
		now, done, err := probe(ctx)
		if now != "" && ctx.Err() == nil {
			saw = now
		}
		if done && err == nil {
			say("waited %.1f s for %s: %s", time.Since(start).Seconds(), what, saw)
			return nil
		}
		if err != nil {
			return fmt.Errorf("waiting for %s: %w (seen last: %s)", what, err, saw)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waited for %s: %w (seen last: %s)", what, context.Cause(ctx), saw)
		case <-look.C:
		}
	}
}

// configure writes the configuration of a guest's daemon and returns its
// file's name.
func (l *lab) configure(g *guest, steer bool) (string, error) {
	c, err := l.net.DaemonConfig(g.name, config.Dirs{Run: "/run/tsnswitchd", State: "/run/tsnswitchd/state", Keys: filepath.Join(l.out, "keys")})
	if err != nil {
		return "", err
	}
	c.GPTP.Clock = config.Clock{Kind: "system", Steer: steer}
	if g.name != l.net.GPTP.GrandMaster {
		c.GPTP.Priority1 = 255 // never grand master: without one it has no time
	}
	for i := range c.Ports {
		for j := range c.Ports[i].Stations {
			c.Ports[i].Stations[j].Address = config.Addr{} // no daemon runs there
		}
	}
	text, err := c.Marshal()
	if err != nil {
		return "", err
	}
	file := filepath.Join(l.out, "conf", g.name+".yaml")
	return file, os.WriteFile(file, text, 0o644)
}

// start starts a guest's daemon and waits until it answers.
func (l *lab) start(ctx context.Context, g *guest, steer bool) error {
	file, err := l.configure(g, steer)
	if err != nil {
		return err
	}
	d := Daemon{
		Args: []string{filepath.Join(l.bin, "tsnswitchd"), "--config", file},
		Log:  filepath.Join(l.out, "log", g.name+".log"),
	}
	return g.call(ctx, "StartDaemon", d, &None{})
}

// tsnctl runs tsnctl in a guest.
func (l *lab) tsnctl(ctx context.Context, g *guest, args ...string) (string, error) {
	return g.run(ctx, slices.Concat([]string{filepath.Join(l.bin, "tsnctl")}, args)...)
}

// status reads `tsnctl status`.
func (l *lab) status(ctx context.Context, g *guest) (*api.Status, error) {
	var st api.Status
	return &st, l.query(ctx, g, &st, "status")
}

// query reads what tsnctl says as JSON.
func (l *lab) query(ctx context.Context, g *guest, into any, args ...string) error {
	out, err := l.tsnctl(ctx, g, append(args, "-o", "json")...)
	if err != nil {
		return err
	}
	if err := json.Unmarshal([]byte(out), into); err != nil {
		return fmt.Errorf("tsnctl %s: %w", strings.Join(args, " "), err)
	}
	return nil
}
