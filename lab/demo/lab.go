package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"tsnswitch"
	"tsnswitch/internal/api"
	"tsnswitch/internal/config"
)

// lab is one run: the fabric, and what was found about it so far.
type lab struct {
	*fabric
	report *report
	// schedule is what step 4 applied last.
	schedule *api.Schedule
	gantt    string
	// coldPings counts the fresh addresses given out.
	coldPings int
	beams     []*beamPair
	control   []*controlPhase
}

// runLab builds the fabric in this kernel and goes through the steps. The
// exit status is 0 only if every step held.
func runLab(ctx context.Context, o options, where string) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, o.limit())
	defer cancel()
	network, err := config.LoadNetwork(o.lab)
	if err != nil {
		return 2, err
	}
	var uts unix.Utsname
	_ = unix.Uname(&uts)
	l := &lab{
		fabric: &fabric{opt: o, net: network, rate: tsn.Rate(network.Links[0].Rate)},
		report: &report{
			Lab: network.Name, Where: where, Kernel: unix.ByteSliceToString(uts.Release[:]), Started: time.Now(),
			ReadBack: map[string]string{}, out: os.Stdout,
		},
	}
	if o.control > 0 {
		l.extra = l.answersErlang
	}
	defer l.close()
	fmt.Printf("lab %s: %d bridges, %d hosts, %d links at %s; %s, kernel %s\n", network.Name,
		countKind(network, config.KindBridge), countKind(network, config.KindHost), len(network.Links), l.rate, where, l.report.Kernel)
	runErr := l.steps(ctx)
	l.report.Seconds = time.Since(l.report.Started).Seconds()
	l.report.Passed = runErr == nil
	l.then(ctx)
	if err := l.write(); err != nil {
		runErr = errors.Join(runErr, err)
	}
	if runErr != nil {
		return 1, runErr
	}
	fmt.Printf("\nevery step held; the lab took %.0f s\n", l.report.Seconds)
	return 0, nil
}

func countKind(n *config.Network, kind string) (c int) {
	for _, x := range n.Nodes {
		if x.Kind == kind {
			c++
		}
	}
	return c
}

// steps runs one after the other; a step that fails ends the run, because the
// next ones stand on it.
func (l *lab) steps(ctx context.Context) error {
	type step struct {
		name string
		run  func(context.Context, *stepReport) error
	}
	all := []step{
		{"namespaces, cables, wires and daemons", l.stepBuild},
		{"IS-IS-SPB: one fabric, one broadcast, one ping", l.stepSPB},
		{"gPTP: one time", l.stepGPTP},
		{"streams: admitted, and one refused", l.stepStreams},
		{"schedule: gates on every port of the path", l.stepSchedule},
		{"Erlang distribution over distlink", l.stepErlang},
		{"round-trip times under load", l.stepLatency},
		{"a ring link is cut, and returns", l.stepCut},
	}
	if l.opt.control > 0 {
		all = append(all[:3], step{"a control loop: idle, flooded, reserved and gated", l.stepControl})
	}
	for i, s := range all {
		if l.opt.until != 0 && i > l.opt.until {
			return nil
		}
		if err := l.report.step(ctx, i, s.name, s.run); err != nil {
			return errors.Join(err, l.alive())
		}
	}
	return nil
}

// then runs the commands of -then inside the nodes they name.
func (l *lab) then(ctx context.Context) {
	for line := range strings.SplitSeq(l.opt.then, ";") {
		words := strings.Fields(line)
		if len(words) < 2 || l.node(words[0]) == nil {
			continue
		}
		n := l.node(words[0])
		fmt.Printf("\n%s$ %s\n", n.Name, strings.Join(words[1:], " "))
		var out string
		var err error
		if words[1] == "tsnctl" {
			out, err = l.tsnctl(ctx, n, words[2:]...)
		} else {
			out, err = n.space.run(ctx, words[1], words[2:]...)
		}
		fmt.Print(out)
		if err != nil {
			fmt.Println(err)
		}
	}
}

// write leaves the report and the picture.
func (l *lab) write() error {
	for _, n := range l.nodes {
		l.readBack(context.Background(), n)
	}
	svg := filepath.Join(l.opt.out, "picture.svg")
	drawn := picture("Lab "+l.report.Lab, l.gantt, l.report.Tables)
	if len(l.control) > 0 {
		drawn = controlPicture(l.control, l.report.Where)
	}
	if err := os.WriteFile(svg, []byte(drawn), 0o644); err != nil {
		return fmt.Errorf("write the picture: %w", err)
	}
	file, err := l.report.write(l.opt.out)
	if err == nil {
		fmt.Printf("\nreport %s\npicture %s\n", file, svg)
	}
	return err
}

// readBack keeps the kernel's text of a node, as its daemon reads it.
func (l *lab) readBack(ctx context.Context, n *labNode) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	text, err := n.client.KernelText(ctx)
	if err != nil {
		l.report.ReadBack[n.Name] = err.Error()
		return
	}
	for _, s := range text.Sections {
		l.report.ReadBack[n.Name+" "+s.Title] = s.Text
	}
}

// stepBuild makes everything and waits until every daemon answers.
func (l *lab) stepBuild(ctx context.Context, s *stepReport) error {
	start := time.Now()
	// Logs of an earlier run would be read as this one's.
	if err := os.RemoveAll(filepath.Join(l.opt.out, "log")); err != nil {
		return err
	}
	if err := l.build(ctx); err != nil {
		return err
	}
	s.say("%d spaces, %d cables, %d wires of %s in %.1f s", len(l.nodes), len(l.net.Links), 2*len(l.net.Links), l.rate, time.Since(start).Seconds())
	if err := l.start(time.Now()); err != nil {
		return err
	}
	return s.wait(ctx, "every daemon to answer", 30*time.Second, func(ctx context.Context) (string, bool, error) {
		var up []string
		for _, n := range l.nodes {
			if _, err := n.client.Status(ctx); err == nil {
				up = append(up, n.Name)
			}
		}
		return fmt.Sprint(up), len(up) == len(l.nodes), l.alive()
	})
}

// links are the links between bridges.
func (l *lab) fabricLinks() []config.Link {
	return slices.DeleteFunc(slices.Clone(l.net.Links), func(x config.Link) bool {
		return !l.node(x.A.Node).bridge() || !l.node(x.B.Node).bridge()
	})
}
