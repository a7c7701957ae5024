package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tsnswitch"
	"tsnswitch/internal/api"
	"tsnswitch/internal/kerneltest"
)

// Two bridges on a real kernel, from the first hello to what a bad day brings.
// The parts build on each other: one boot of the guest, one network.
func TestBridges(t *testing.T) {
	runSite(t, func(s *site) []part {
		return []part{
			{"bring-up", s.testBringUp},
			{"keys", s.testKeys},
			{"operator", s.testOperator},
			{"stream", s.testStream},
			{"schedule", s.testSchedule},
			{"second daemon", s.testSecondDaemon},
			{"wrong order", s.testWrongOrder},
			{"abort after commit", s.testTakeBack},
			{"full disk", s.testFullDisk},
			{"bad frames", s.testBadFrames},
			{"restart", func(t *testing.T) { s.testRestart(t, syscall.SIGTERM) }},
			{"restart after a kill", func(t *testing.T) { s.testRestart(t, syscall.SIGKILL) }},
			{"hot plug", s.testHotPlug},
			{"edge loop", s.testEdgeLoop},
			{"lost kernel", s.testLostKernel},
		}
	})
}

// part is a part of a test, in the order of the day.
type part struct {
	name string
	test func(*testing.T)
}

// runSite runs parts on two bridges in one guest, until one fails.
func runSite(t *testing.T, parts func(*site) []part) {
	if testing.Short() {
		t.Skip("boots a kernel")
	}
	needs := kerneltest.Needs{Taprio: true, CBS: true, Flower: true, VLANFiltering: true, VLANDevices: true}
	kerneltest.Run(t, needs, func(t *testing.T) {
		for _, tool := range []string{"bridge", "tc", "ip"} {
			if _, err := exec.LookPath(tool); err != nil {
				t.Skipf("%s is missing: install the Debian package iproute2", tool)
			}
		}
		s := newSite(t)
		s.smallState(t)
		s.b1.start(t)
		s.b2.start(t)
		for _, p := range parts(s) {
			if !t.Run(p.name, p.test) {
				break
			}
		}
		for _, b := range []*bridge{s.b1, s.b2} {
			if err := b.end(t, syscall.SIGTERM); err != nil {
				t.Errorf("%s: %v\n%s", b.name, err, b.log)
			}
			if strings.Contains(b.log.String(), "panic") {
				t.Errorf("%s: %s", b.name, b.log)
			}
		}
	})
}

// smallState gives b1 a disk that can be filled.
func (s *site) smallState(t *testing.T) {
	if err := unix.Mount("tmpfs", s.b1.cfg.StateDir, "tmpfs", 0, "size=64k"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(s.b1.cfg.StateDir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
}

func (s *site) testBringUp(t *testing.T) {
	s.b1.settled(t)
	s.b2.settled(t)
	var digests []string
	for _, b := range []*bridge{s.b1, s.b2} {
		n, err := b.client.Neighbours(t.Context())
		if err != nil || len(n) != 1 || n[0].State != "Up" {
			t.Errorf("%s: %+v, %v", b.name, n, err)
		}
		if d, err := b.client.Diff(t.Context()); err != nil || !d.InSync {
			t.Errorf("%s: %+v, %v", b.name, d, err)
		}
		b.until(t, "has the other's database", func(ctx context.Context) error {
			st, err := b.client.Status(ctx)
			if err != nil {
				return err
			}
			digests = append(digests, st.SPB.LSDBDigest)
			if n := len(digests); n < 2 || digests[n-1] != digests[n-2] {
				return fmt.Errorf("digest %s", st.SPB.LSDBDigest)
			}
			return nil
		})
	}
	// A port whose interface does not exist: down, told, and nothing else.
	st, err := s.b2.client.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if i := slices.IndexFunc(st.Ports, func(p api.PortStatus) bool { return p.Ifname == absent }); i < 0 || st.Ports[i].Up {
		t.Errorf("ports %+v", st.Ports)
	}
	if !strings.Contains(strings.Join(st.Degraded, "\n"), "port 9 has no interface: there is no "+absent+" here") {
		t.Errorf("degraded: %q", st.Degraded)
	}
	if text := s.b1.text(t); !strings.Contains(text, "locked on") || !strings.Contains(text, "taprio") {
		t.Errorf("the kernel reads\n%s", text)
	}
}

// testOperator: what a person asks of the fabric. Loopback messages cross the
// real data path in each Base VID, and a drain of one bridge, asked for at the
// other, is known at both with its reason until it ends.
func (s *site) testOperator(t *testing.T) {
	ctx := t.Context()
	for _, b := range s.b1.cfg.SPB.BaseVIDs {
		sum, err := s.b1.client.Ping(ctx, api.PingRequest{To: "b2", VLAN: b.VID, Count: 3, Interval: 20_000_000}, func(api.PingReply) error { return nil })
		if err != nil || sum.Received != 3 || sum.Target != s.b2.cfg.SystemID {
			t.Errorf("ping in VLAN %d: %+v, %v", b.VID, sum, err)
		}
		end, err := s.b2.client.Trace(ctx, api.TraceRequest{To: "b1", VLAN: b.VID}, func(api.TraceHop) error { return nil })
		if err != nil || !end.Reached || end.Hops != 1 {
			t.Errorf("trace in VLAN %d: %+v, %v", b.VID, end, err)
		}
	}
	top, err := s.b1.client.Topology(ctx)
	if err != nil || len(top.Nodes) != 2 || len(top.Links) != 1 {
		t.Errorf("%+v, %v", top, err)
	}
	for _, reason := range []string{"fan 2 failed", ""} {
		v, err := s.b2.client.At("b1").Drain(ctx, api.DrainRequest{On: reason != "", Reason: reason})
		if err != nil || v.Node != "b1" || v.Overload != (reason != "") {
			t.Fatalf("%+v, %v", v, err)
		}
		for _, b := range []*bridge{s.b1, s.b2} {
			b.until(t, "knows of the drain of b1", func(ctx context.Context) error {
				nodes, err := b.client.Nodes(ctx)
				if err != nil {
					return err
				}
				if i := slices.IndexFunc(nodes, func(n api.FabricNode) bool { return n.Name == "b1" }); i < 0 || nodes[i].Overload != (reason != "") || nodes[i].Reason != reason {
					return fmt.Errorf("%+v", nodes)
				}
				return nil
			})
		}
	}
	s.b1.settled(t)
}

// group is the stream's destination: it shows in the MDB.
var group = tsn.MAC{0x91, 0xe0, 0xf0, 0, 0xfe, 1}

func spec(name string, size uint16) tsn.Stream {
	return tsn.Stream{Name: name, PCP: 6, Interval: 10_000_000, MaxFrameSize: size, MaxIntervalFrames: 1, MaxLatency: 9_000_000}
}

func (s *site) add(ctx context.Context, spec tsn.Stream) (*api.StreamState, error) {
	return s.b1.client.AddStream(ctx, api.StreamRequest{Talker: "h1", Listener: "h2", Spec: spec})
}

// 802.1Q 35.2.4: admitted on every hop, or refused with code and place.
func (s *site) testStream(t *testing.T) {
	one := spec("one", 500)
	one.DestinationAddress = group
	begun := time.Now()
	st, err := s.add(t.Context(), one)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("added in %v", time.Since(begun))
	if len(st.Path) != 2 || st.Path[0].Node != "b1" || st.Path[1].Node != "b2" || st.State != api.StreamReserved {
		t.Errorf("%+v", st)
	}
	for _, b := range []*bridge{s.b1, s.b2} {
		n, err := b.client.Status(t.Context())
		if err != nil || n.Streams.Here != 1 || !n.Kernel.InSync {
			t.Errorf("%s: %+v %+v, %v", b.name, n.Streams, n.Kernel, err)
		}
		if text := b.text(t); !strings.Contains(text, "grp "+group.String()) {
			t.Errorf("%s has no entry of the stream:\n%s", b.name, text)
		}
	}
	// The bridge of the talker polices it, and no other does.
	if text := s.b1.text(t); !strings.Contains(text, "dst_mac "+group.String()) || strings.Count(text, "police") != 2 {
		t.Errorf("b1 does not police the talker:\n%s", text)
	}
	if text := s.b2.text(t); strings.Contains(text, "police") {
		t.Errorf("b2 polices:\n%s", text)
	}
	before1, before2 := s.b1.text(t), s.b2.text(t)
	big := spec("big", 1500)
	big.Interval, big.MaxLatency = 100_000, 90_000 // 123 Mbit/s
	_, err = s.add(t.Context(), big)
	var e *api.Error
	if !errors.As(err, &e) || e.Code != api.CodeRefused || e.Failure == tsn.FailureNone || e.Hop.Node != "b1" || e.Hop.Port != 1 {
		t.Errorf("%#v", err)
	}
	s.b1.stays(t, before1, "for a stream that was refused")
	s.b2.stays(t, before2, "for a stream that was refused")
}

func (s *site) testSchedule(t *testing.T) {
	for _, b := range []*bridge{s.b1, s.b2} {
		b.until(t, "takes schedules", func(ctx context.Context) error {
			st, err := b.client.Status(ctx)
			if err != nil {
				return err
			}
			if d := strings.Join(st.Degraded, "; "); !st.GPTP.Synchronized || strings.Contains(d, "no new schedule") {
				return errors.New(d)
			}
			return nil
		})
	}
	var said []string
	sched, err := s.b1.client.ApplySchedule(t.Context(), api.ApplyRequest{}, func(p api.Progress) { said = append(said, p.Node+" "+p.Step) })
	if err != nil {
		t.Fatalf("%v\n%q\n%s", err, said, s.b1.log)
	}
	if sched.State != api.ScheduleRunning || len(sched.Ports) != 2 || !sched.Streams[0].Scheduled {
		t.Errorf("%+v", sched)
	}
	if text := s.b1.text(t); strings.Count(text, "gatemask") < 3 {
		t.Errorf("no gates:\n%s", text)
	}
	streams, err := s.b2.client.ListStreams(t.Context())
	if err != nil || len(streams) != 1 || streams[0].State != api.StreamScheduled {
		t.Errorf("%+v, %v", streams, err)
	}
}

// A second daemon on the bridge ends with status 1 and names the first, which
// does not notice; so does one that only has the socket in common.
func (s *site) testSecondDaemon(t *testing.T) {
	before := s.b1.text(t)
	for name, change := range map[string]string{"the same interfaces": "other", "the same socket": ""} {
		c := *s.b1.cfg
		want := "another tsnswitchd serves it"
		if change != "" {
			c.API.Socket, c.Metrics.Listen = filepath.Join(s.dir, change, "s"), c.API.Listen
			c.StateDir, want = filepath.Join(s.dir, change), fmt.Sprintf("owned by another process (pid %d)", s.b1.cmd.Process.Pid)
		} else {
			c.Bridge.Name, c.Management.Device = "br7", "br7.4001"
			c.Ports = slices.Clone(c.Ports[:1])
			c.Ports[0].Ifname = "lo"
		}
		conf := filepath.Join(s.dir, "second.yaml")
		s.b1.writeConfig(t, conf, &c)
		_, log, exited := s.b1.launch(t, conf)
		var exit *exec.ExitError
		if err := s.b1.ended(t, exited); !errors.As(err, &exit) || exit.ExitCode() != 1 || !strings.Contains(log.String(), want) {
			t.Errorf("%s: %v, want %q in %s", name, err, want, log)
		}
	}
	s.b1.stays(t, before, "for a second daemon")
	s.b1.settled(t)
}

// part is a stage of one bridge alone.
func (s *site) part(b *bridge, id string, base tsn.PTPTime, ports []api.PortGates) api.StageRequest {
	return api.StageRequest{
		ID: id, Systems: []tsn.MAC{b.cfg.SystemID}, StartBy: base.Add(-5e8), Base: base, KeepBy: base.Add(10e9), RevertAt: base.Add(20e9), Ports: ports,
	}
}

// Calls that come too early, twice, or for what is not there: a code and a
// text, and nothing has changed.
func (s *site) testWrongOrder(t *testing.T) {
	before := s.b1.text(t)
	peer := s.as(t, s.b2, s.b1)
	list := []api.PortGates{{Port: 1, Gates: &tsn.GateControlList{
		CycleTime: 1_000_000, Entries: []tsn.GateEntry{{Gates: 0x17, Interval: 500_000}, {Gates: 0x18, Interval: 500_000}},
	}}}
	var now tsn.PTPTime
	if g, err := s.b1.client.GPTP(t.Context()); err != nil {
		t.Fatal(err)
	} else {
		now = g.Now
	}
	state := func(_ *api.ScheduleState, err error) error { return err }
	stage := func(ctx context.Context, id string, base tsn.PTPTime, ports []api.PortGates) error {
		return state(peer.StageSchedule(ctx, s.part(s.b1, id, base, ports)))
	}
	soon := now.Add(20e9)
	for _, c := range []struct {
		name string
		call func(context.Context) error
		code string
		text string
	}{
		{"commit without stage", func(ctx context.Context) error { return state(peer.CommitSchedule(ctx, "b2/x")) }, api.CodeWrongOrder, "no schedule b2/x staged"},
		{"stage an unknown port", func(ctx context.Context) error {
			return stage(ctx, "b2/x", soon, []api.PortGates{{Port: 77}})
		}, api.CodeNotFound, "no port 77"},
		{"stage a list that cannot be", func(ctx context.Context) error {
			bad := []api.PortGates{{Port: 1, Gates: &tsn.GateControlList{CycleTime: 5, Entries: list[0].Gates.Entries}}}
			return stage(ctx, "b2/x", soon, bad)
		}, api.CodeBadRequest, "cannot be executed"},
		{"stage", func(ctx context.Context) error { return stage(ctx, "b2/x", soon, list) }, "", ""},
		{"stage the same again", func(ctx context.Context) error { return stage(ctx, "b2/x", soon, list) }, "", ""},
		{"stage another", func(ctx context.Context) error { return stage(ctx, "b2/y", soon, list) }, api.CodeConflict, `"b2/x" is staged`},
		{"commit another", func(ctx context.Context) error { return state(peer.CommitSchedule(ctx, "b2/y")) }, api.CodeWrongOrder, "no schedule b2/y staged"},
		{"a step that is not known", func(ctx context.Context) error {
			return state(peer.TrialSchedule(ctx, api.TrialRequest{ID: "b2/x", Step: "jump"}))
		}, api.CodeBadRequest, "jump"},
		{"keep what has not started", func(ctx context.Context) error {
			return state(peer.TrialSchedule(ctx, api.TrialRequest{ID: "b2/x", Step: api.TrialPrepare}))
		}, api.CodeWrongOrder, "does not run"},
		{"a step of another", func(ctx context.Context) error {
			return state(peer.TrialSchedule(ctx, api.TrialRequest{ID: "b2/y", Step: api.TrialPrepare}))
		}, api.CodeNotFound, "b2/y"},
		{"abort", func(ctx context.Context) error { return state(peer.AbortSchedule(ctx, "b2/x")) }, "", ""},
		{"commit after abort", func(ctx context.Context) error { return state(peer.CommitSchedule(ctx, "b2/x")) }, api.CodeWrongOrder, "no schedule b2/x staged"},
		{"stage for the past", func(ctx context.Context) error { return stage(ctx, "b2/p", now, list) }, "", ""},
		{"commit to the past", func(ctx context.Context) error { return state(peer.CommitSchedule(ctx, "b2/p")) }, api.CodeWrongOrder, "b2/p"},
		{"abort the past", func(ctx context.Context) error { return state(peer.AbortSchedule(ctx, "b2/p")) }, "", ""},
		{"stage for another domain", func(ctx context.Context) error {
			return stage(ctx, "b2/d", tsn.PTPTime{NS: soon.NS, Domain: 9}, list)
		}, "", ""},
		{"commit to another domain", func(ctx context.Context) error { return state(peer.CommitSchedule(ctx, "b2/d")) }, api.CodeWrongOrder, "domain 9"},
		{"stage without this system", func(ctx context.Context) error {
			return state(peer.StageSchedule(ctx, s.part(s.b2, "b2/o", soon, list)))
		}, api.CodeBadRequest, "not one of them"},
		{"nothing to confirm", func(ctx context.Context) error { _, err := s.b1.client.ConfirmSchedule(ctx, nil); return err }, api.CodeWrongOrder, "no schedule waits"},
		{"abort of nothing", func(ctx context.Context) error { return state(peer.AbortSchedule(ctx, "b2/x")) }, "", ""},
		{"remove nothing", func(ctx context.Context) error { return s.b1.client.RemoveStream(ctx, "nothing") }, api.CodeNotFound, `no stream "nothing"`},
		{"why nothing", func(ctx context.Context) error {
			_, err := s.b1.client.Why(ctx, api.WhyQuery{Subject: "nothing"})
			return err
		}, api.CodeNotFound, "nothing"},
		{"another's reservations", func(ctx context.Context) error {
			return peer.PutReservations(ctx, api.Reservations{Owner: "b1", Generation: 1 << 62})
		}, api.CodeDenied, `the certificate is that of "b2"`},
		{"a talker that is not there", func(ctx context.Context) error {
			_, err := s.b1.client.AddStream(ctx, api.StreamRequest{Talker: "h9", Listener: "h2", Spec: spec("x", 100)})
			return err
		}, api.CodeNotFound, "talker"},
		{"a stream that is there", func(ctx context.Context) error { _, err := s.add(ctx, spec("one", 100)); return err }, api.CodeConflict, "a stream named one exists"},
		{"a node that is not there", func(ctx context.Context) error { _, err := s.b1.client.At("b9").Status(ctx); return err }, api.CodeUnknownNode, "b9"},
	} {
		err := c.call(t.Context())
		if c.code == "" && err != nil || c.code != "" && (err == nil || api.ErrorCode(err) != c.code || !strings.Contains(err.Error(), c.text)) {
			t.Errorf("%s: code %s, want %s with %q: %v", c.name, api.ErrorCode(err), c.code, c.text, err)
		}
	}
	st, err := peer.ScheduleState(t.Context())
	if err != nil || st.State != api.ScheduleRunning || st.StagedID != "" {
		t.Errorf("%+v, %v", st, err)
	}
	s.b1.stays(t, before, "for calls in the wrong order")
}

// A schedule that was committed, and then could not be elsewhere, is taken
// back before its base time: the kernel goes on with the one before.
func (s *site) testTakeBack(t *testing.T) {
	peer := s.as(t, s.b2, s.b1)
	before, err := peer.ScheduleState(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	g, err := s.b1.client.GPTP(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	list := []api.PortGates{{Port: 1, Gates: &tsn.GateControlList{
		CycleTime: 2_000_000, Entries: []tsn.GateEntry{{Gates: 0x17, Interval: 1_500_000}, {Gates: 0x18, Interval: 500_000}},
	}}}
	if _, err := peer.StageSchedule(t.Context(), s.part(s.b1, "b2/x", g.Now.Add(2e9), list)); err != nil {
		t.Fatal(err)
	}
	st, err := peer.CommitSchedule(t.Context(), "b2/x")
	if err != nil || st.State != api.SchedulePending || st.RunningID != "b2/x" {
		t.Fatalf("%+v, %v", st, err)
	}
	if st, err = peer.AbortSchedule(t.Context(), "b2/x"); err != nil || st.RunningID != before.RunningID {
		t.Errorf("%+v, %v", st, err)
	}
	// At once, and so at any later time: long before its base time.
	if text := s.b1.text(t); strings.Contains(text, "cycle-time 2000000") {
		t.Errorf("the kernel still has the other list:\n%s", text)
	}
	s.b1.until(t, "runs the schedule of before", func(ctx context.Context) error {
		st, err := peer.ScheduleState(ctx)
		if err != nil {
			return err
		}
		d, err := s.b1.client.Diff(ctx)
		if err != nil {
			return err
		}
		if !d.InSync || st.State != api.ScheduleRunning || st.RunningID != before.RunningID || st.Ports[0].Oper.String() != before.Ports[0].Oper.String() {
			return fmt.Errorf("%+v %+v", st, d)
		}
		return nil
	})
}

// The disk of b1 is full: what cannot be promised is refused, and nothing
// changes; when there is room again, it goes on.
func (s *site) testFullDisk(t *testing.T) {
	before1, before2 := s.b1.text(t), s.b2.text(t)
	ballast := filepath.Join(s.b1.cfg.StateDir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 1<<20), 0o644); !errors.Is(err, unix.ENOSPC) {
		t.Fatalf("the disk is not full: %v", err)
	}
	_, err := s.add(t.Context(), spec("two", 200))
	if api.ErrorCode(err) != api.CodeInternal || !strings.Contains(err.Error(), "no space left on device (free space or change stateDir)") {
		t.Errorf("%v", err)
	}
	if err := s.b1.client.RemoveStream(t.Context(), "one"); api.ErrorCode(err) != api.CodeInternal {
		t.Errorf("%v", err)
	}
	s.b1.stays(t, before1, "although the disk is full")
	s.b2.stays(t, before2, "although the disk is full")
	if l, err := s.b1.client.ListStreams(t.Context()); err != nil || len(l) != 1 {
		t.Errorf("%+v, %v", l, err)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	if st, err := s.add(t.Context(), spec("two", 200)); err != nil || st.State != api.StreamReserved {
		t.Errorf("%+v, %v", st, err)
	}
	if err := s.b1.client.RemoveStream(t.Context(), "two"); err != nil {
		t.Error(err)
	}
	s.quiet(t)
}

// quiet waits until both run a schedule for stream one alone: b1 conducts, and
// plans again when a stream comes or goes.
func (s *site) quiet(t *testing.T) {
	t.Helper()
	s.b1.until(t, "runs the schedule of one stream", func(ctx context.Context) error {
		sched, err := s.b1.client.ShowSchedule(ctx)
		if err != nil {
			return err
		}
		for _, b := range []*bridge{s.b1, s.b2} {
			st, err := b.client.Status(ctx)
			if err != nil {
				return err
			}
			if len(sched.Streams) != 1 || st.Schedule.ID != sched.ID || st.Schedule.State != api.ScheduleRunning || !st.Kernel.InSync {
				return fmt.Errorf("%s: %+v %+v, planned for %d streams", b.name, st.Schedule, st.Kernel, len(sched.Streams))
			}
		}
		return nil
	})
}

// sum adds up the counters whose names contain one of parts.
func (b *bridge) sum(ctx context.Context, parts ...string) (n uint64, err error) {
	st, err := b.client.Status(ctx)
	if err != nil {
		return 0, err
	}
	for _, c := range st.Counters {
		if slices.ContainsFunc(parts, func(p string) bool { return strings.Contains(c.Name, p) }) {
			n += c.Value
		}
	}
	return n, nil
}

// badFrames are frames of a protocol with random contents and lengths.
func badFrames(r *rand.Rand, n int, dst []byte, head func(payload int) []byte) (out [][]byte) {
	src := []byte{2, 0, 0, 0, 0, 0x66}
	for range n {
		payload := make([]byte, r.IntN(1500))
		for i := range payload {
			payload[i] = byte(r.Uint32())
		}
		h := head(len(payload))
		f := append(append(slices.Clone(dst), src...), h...)
		f = append(f, payload...)
		out = append(out, f[:min(len(f), 1514)])
	}
	return out
}

// Malformed, truncated, oversized and looping frames: each kind is counted as
// a drop, the adjacency stays, and so does the daemon.
func (s *site) testBadFrames(t *testing.T) {
	up := func() int64 {
		n, err := s.b1.client.Neighbours(t.Context())
		if err != nil || len(n) != 1 || n[0].State != "Up" {
			t.Fatalf("%+v, %v", n, err)
		}
		return n[0].Up
	}
	since, begun := up(), time.Now()
	r := rand.New(rand.NewPCG(1, 2))
	isis := func(payload int) []byte {
		h := binary.BigEndian.AppendUint16(nil, uint16(min(payload+3, 1500)))
		h = append(h, 0xfe, 0xfe, 3, 0x83, 27, 1, 0) // LLC, and a plausible IS-IS header
		return append(h, byte([]int{17, 18, 20, 24, 26}[r.IntN(5)]), 1, 0, 0)
	}
	ptp := func(int) []byte {
		return []byte{0x88, 0xf7, 0x10 | byte(r.IntN(16)), 0x02}
	}
	allIS := []byte{0x09, 0, 0x2b, 0, 0, 5}
	ptpGroup := []byte{1, 0x80, 0xc2, 0, 0, 0x0e}
	own := s.b1.cfg.SystemID
	looped := capture(t, s.ns["b2"], "p1", own[:], 20)
	cut := func(frames [][]byte) [][]byte {
		for i := range frames {
			frames[i] = frames[i][:min(len(frames[i]), 14+r.IntN(20))]
		}
		return frames
	}
	long := func(dst []byte, typ ...byte) [][]byte {
		f := append(append(slices.Clone(dst), 2, 0, 0, 0, 0, 0x66), typ...)
		return [][]byte{append(f, make([]byte, 3000)...)}
	}
	for _, c := range []struct {
		name    string
		frames  [][]byte
		counts  []string
		atLeast uint64
	}{
		{"random IS-IS", badFrames(r, 300, allIS, isis), []string{"spb_drops_"}, 250},
		{"random gPTP", badFrames(r, 150, ptpGroup, ptp), []string{"gptp_malformed", "gptp_other_domain", "gptp_not_gptp", "gptp_unexpected"}, 120},
		{"truncated IS-IS", cut(badFrames(r, 100, allIS, isis)), []string{"spb_drops_", "_dropped_size"}, 50},
		{"truncated gPTP", cut(badFrames(r, 40, ptpGroup, ptp)), []string{"gptp_malformed", "gptp_not_gptp", "_dropped_size"}, 30},
		{"oversized", long(ptpGroup, 0x88, 0xf7), []string{"_dropped_size"}, 1},
		{"our own, sent back", looped, []string{"_dropped_own", "gptp_unexpected", "spb_drops_"}, 20},
	} {
		core, err := s.b1.sum(t.Context(), c.counts...)
		if err != nil {
			t.Fatal(err)
		}
		// Faster than the daemon reads, some go at the door.
		all := append([]string{"_dropped_queue", "_dropped_rate"}, c.counts...)
		before, err := s.b1.sum(t.Context(), all...)
		if err != nil {
			t.Fatal(err)
		}
		inject(t, s.ns["b2"], "p1", c.frames)
		s.b1.until(t, c.name, func(ctx context.Context) error {
			after, err := s.b1.sum(ctx, all...)
			if err == nil && after-before < c.atLeast {
				st, _ := s.b1.client.Status(ctx)
				err = fmt.Errorf("%d of %d frames counted, want at least %d: %+v", after-before, len(c.frames), c.atLeast, st.Counters)
			}
			return err
		})
		if n, err := s.b1.sum(t.Context(), c.counts...); err != nil || n == core {
			t.Errorf("%s: none was seen to be bad, all were dropped at the door: %v", c.name, err)
		}
	}
	if now := up(); now < since+time.Since(begun).Nanoseconds()/2 {
		t.Errorf("the adjacency was lost: up for %v, before %v", time.Duration(now), time.Duration(since))
	}
	s.b1.settled(t)
}

// A restart is not seen by any frame: the kernel is as it was while no daemon
// runs, and after; the new daemon says so, and has written nothing.
func (s *site) testRestart(t *testing.T, sig syscall.Signal) {
	s.b1.settled(t)
	before := s.b1.text(t)
	state, err := s.as(t, s.b2, s.b1).ScheduleState(t.Context())
	if err != nil || state.RunningID == "" || state.State != api.ScheduleRunning {
		t.Fatalf("%+v, %v", state, err)
	}
	if err := s.b1.end(t, sig); (err == nil) != (sig == syscall.SIGTERM) {
		t.Errorf("ended with %v\n%s", err, s.b1.log)
	}
	s.b1.stays(t, before, "when the daemon ended")
	s.b1.start(t)
	seen := map[string]bool{}
	s.b1.until(t, "adopts the kernel", func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
		defer cancel()
		found := errors.New("found")
		err := s.b1.client.Events(ctx, 1, func(e api.Event) error {
			if seen[e.Kind] = true; e.Kind == "adopted" {
				return found
			}
			return nil
		})
		if !seen["adopted"] {
			return err
		}
		return nil
	})
	s.b1.settled(t)
	s.b1.stays(t, before, "when it was adopted")
	if n := s.metric(t, s.b1, "tsnswitch_kernel_writes_total"); n != "0" {
		t.Errorf("%s writes", n)
	}
	s.b1.until(t, "has the streams and the schedule of before", func(ctx context.Context) error {
		l, err := s.b1.client.ListStreams(ctx)
		if err != nil {
			return err
		}
		again, err := s.as(t, s.b2, s.b1).ScheduleState(ctx)
		if err != nil {
			return err
		}
		if len(l) != 1 || l[0].State != api.StreamScheduled || again.RunningID != state.RunningID || again.State != api.ScheduleRunning {
			return fmt.Errorf("%+v %+v", l, again)
		}
		return nil
	})
}

// An interface comes, and goes: its port works, and does not, and the others
// follow the network all the time.
func (s *site) testHotPlug(t *testing.T) {
	plugged := func(want bool) {
		t.Helper()
		s.b2.until(t, fmt.Sprintf("port 9 there: %t", want), func(ctx context.Context) error {
			st, err := s.b2.client.Status(ctx)
			if err != nil {
				return err
			}
			i := slices.IndexFunc(st.Ports, func(p api.PortStatus) bool { return p.Port == 9 })
			told := strings.Contains(strings.Join(st.Degraded, "; "), "port 9 has no interface")
			if st.Ports[i].Up != want || told == want || !st.Kernel.InSync {
				return fmt.Errorf("%+v %+v %q", st.Ports[i], st.Kernel, st.Degraded)
			}
			return nil
		})
	}
	plugged(false)
	kerneltest.VethPair(t, 8, kerneltest.End{NS: s.ns["b2"], Name: absent}, kerneltest.End{NS: s.ns["h2"], Name: "x9"})
	plugged(true)
	if text := s.b2.text(t); !strings.Contains(text, absent+"@") || !strings.Contains(text, "taprio") {
		t.Errorf("the port is not in use:\n%s", text)
	}
	h := s.ns["b2"].Netlink()
	if l, err := h.LinkByName(absent); err != nil || h.LinkDel(l) != nil {
		t.Fatal(err)
	}
	plugged(false)
	two := spec("two", 200)
	two.DestinationAddress = tsn.MAC{0x91, 0xe0, 0xf0, 0, 0xfe, 2}
	if _, err := s.add(t.Context(), two); err != nil {
		t.Fatal(err)
	}
	if text := s.b2.text(t); !strings.Contains(text, "grp "+two.DestinationAddress.String()) {
		t.Errorf("b2 has no entry of the stream:\n%s", text)
	}
	if err := s.b1.client.RemoveStream(t.Context(), "two"); err != nil {
		t.Error(err)
	}
	s.quiet(t)
}

// b2 loses all that its kernel did, as by a reboot: its reservations come back
// from its disk and their owner, its gates from the conductor.
func (s *site) testLostKernel(t *testing.T) {
	if err := s.b2.end(t, syscall.SIGKILL); err == nil {
		t.Error("a killed daemon ended well")
	}
	s.ns["b2"].Do(func() {
		out, err := exec.Command("sh", "-c", "ip link del br0; tc qdisc del dev p1 root; tc qdisc del dev p2 root").CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	})
	s.b2.start(t)
	s.b2.settled(t)
	s.b2.until(t, "has its stream and gates again", func(ctx context.Context) error {
		st, err := s.b2.client.Status(ctx)
		if err != nil {
			return err
		}
		sched, err := s.b1.client.ShowSchedule(ctx)
		if err != nil {
			return err
		}
		l, err := s.b1.client.ListStreams(ctx)
		if err != nil {
			return err
		}
		if st.Streams.Here != 1 || len(l) != 1 || l[0].State != api.StreamScheduled || st.Schedule.ID != sched.ID || st.Schedule.State != api.ScheduleRunning {
			return fmt.Errorf("%+v %+v %+v", st.Streams, st.Schedule, l)
		}
		return nil
	})
	if text := s.b2.text(t); !strings.Contains(text, "grp "+group.String()) || strings.Count(text, "gatemask") < 3 {
		t.Errorf("the kernel reads\n%s", text)
	}
}

// metric reads one value of the metrics page.
func (s *site) metric(t *testing.T, b *bridge, name string) string {
	t.Helper()
	page := s.page(t, b)
	for line := range strings.Lines(page) {
		if v, ok := strings.CutPrefix(line, name+" "); ok {
			return strings.TrimSpace(v)
		}
	}
	t.Errorf("no metric %s on\n%s", name, page)
	return ""
}

// page is the whole of it; a counter that is zero is not on it.
func (s *site) page(t *testing.T, b *bridge) string {
	t.Helper()
	tr := &http.Transport{DialContext: dial(b.ns), DisableKeepAlives: true}
	resp, err := (&http.Client{Transport: tr}).Get("http://127.0.0.1:9464/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	page, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("metrics: %s, %v\n%s", resp.Status, err, page)
	}
	return string(page)
}
