package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tsnswitch"
	"tsnswitch/internal/api"
	"tsnswitch/internal/kerneltest"
	"tsnswitch/internal/srptest"
	"tsnswitch/srp/mrp"
)

// srpPatience is for what takes milliseconds on a machine that is not busy.
const srpPatience = 60 * time.Second

// srpOnly is a daemon that does nothing but reserve streams, in a namespace of
// its own, with a station behind each of its two ports.
type srpOnly struct {
	t        *testing.T
	ns, far  *kerneltest.NetNS
	client   *api.Client
	conf     string
	cmd      *exec.Cmd
	log      *bytes.Buffer
	done     chan error
	stations [2]*srptest.Station
}

// newSRPOnly makes interfaces p1 and p2, calls prepare in their namespace, and
// starts the daemon with more in its configuration.
func newSRPOnly(t *testing.T, more string, prepare func(*srpOnly)) *srpOnly {
	t.Helper()
	return newSRPOnlyAs(t, `role: bridge
name: sw
ports: [{port: 1, ifname: p1, rate: 100M}, {port: 2, ifname: p2, rate: 100M}]
spb: {enabled: false}
gptp: {enabled: false}
`+more, 1, prepare)
}

// newSRPOnlyAs has a configuration of its own, and interfaces with so many queues.
func newSRPOnlyAs(t *testing.T, conf string, queues int, prepare func(*srpOnly)) *srpOnly {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("network namespaces need root")
	}
	s := &srpOnly{t: t, ns: kerneltest.NewNetNS(t), far: kerneltest.NewNetNS(t)}
	far := s.far
	for i := range 2 {
		name := fmt.Sprintf("p%d", i+1)
		kerneltest.VethPair(t, queues, kerneltest.End{NS: s.ns, Name: name}, kerneltest.End{NS: far, Name: "to" + name})
	}
	if prepare != nil {
		prepare(s)
	}
	dir := t.TempDir()
	socket := filepath.Join(dir, "s")
	s.client = api.DialUnix(socket)
	t.Cleanup(s.client.Close)
	s.conf = write(t, filepath.Join(dir, "srp.yaml"), fmt.Sprintf(`%s
api: {socket: %s}
stateDir: %s
metrics: {listen: "127.0.0.1:0"}
`, conf, socket, dir))
	s.start()
	t.Cleanup(s.stop)
	for i := range s.stations {
		var err error
		far.Do(func() {
			s.stations[i], err = srptest.Open(fmt.Sprintf("top%d", i+1), srptest.StationConfig{
				Domains: []mrp.Domain{{ClassID: 6, Priority: 3, VID: 2}, {ClassID: 5, Priority: 2, VID: 2}}, Seed: uint64(i),
			})
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(s.stations[i].Close)
	}
	return s
}

func (s *srpOnly) start() {
	s.t.Helper()
	c := command(s.t, "--config", s.conf)
	s.cmd, s.log, s.done = exec.Command(c.Path, c.Args[1:]...), &bytes.Buffer{}, make(chan error, 1) // which ends when it is told to
	s.cmd.Env, s.cmd.Stderr = c.Env, s.log
	var err error
	s.ns.Do(func() { err = s.cmd.Start() })
	if err != nil {
		s.t.Fatal(err)
	}
	cmd, done := s.cmd, s.done
	go func() { done <- cmd.Wait() }()
}

func (s *srpOnly) stop() {
	if err := s.cmd.Process.Signal(os.Interrupt); err == nil {
		if err := <-s.done; err != nil {
			s.t.Errorf("%v", err)
		}
	}
	if s.t.Failed() {
		s.t.Logf("%s", s.log.String())
	}
}

// until waits for what a station shall see.
func (s *srpOnly) until(station int, what string, ok func(srptest.Seen) bool) srptest.Seen {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), srpPatience)
	defer cancel()
	if err := s.stations[station].Until(ctx, ok); err != nil {
		s.t.Fatalf("station %d does not see %s, but %+v: %v\n%s", station+1, what, s.stations[station].Seen(), err, s.log.String())
	}
	return s.stations[station].Seen()
}

// ip runs an iproute2 tool in the daemon's namespace.
func (s *srpOnly) ip(args ...string) string {
	s.t.Helper()
	tool, err := exec.LookPath(args[0])
	if err != nil {
		s.t.Skipf("%s is missing: install iproute2", args[0])
	}
	var out []byte
	s.ns.Do(func() { out, err = exec.Command(tool, args[1:]...).CombinedOutput() })
	if err != nil {
		s.t.Fatalf("%v: %v\n%s", args, err, out)
	}
	return string(out)
}

// eventually waits until the kernel is as wanted.
func (s *srpOnly) eventually(what string, ok func() bool) {
	s.t.Helper()
	for end := time.Now().Add(srpPatience); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			s.t.Fatalf("not %s\n%s", what, s.log.String())
		}
	}
}

func (s *srpOnly) wish(unique uint16, size uint16, frames uint16) mrp.Talker {
	id := tsn.MakeStreamID(s.stations[0].MAC, unique)
	return mrp.Talker{
		StreamID: id, DestinationAddress: tsn.MAC{0x91, 0xe0, 0xf0, 0, 0xfe, byte(unique)}, VID: 2,
		MaxFrameSize: size, MaxIntervalFrames: frames, DataFramePriority: 3, Rank: 1, AccumulatedLatency: 1000,
	}
}

// reserve takes a stream from station 1 to station 2, a second one that does not
// fit, and back.
func (s *srpOnly) reserve() {
	t := s.t
	t.Helper()
	w := s.wish(1, 224, 1)
	s.stations[0].Talk(w)
	seen := s.until(1, "the talker", func(n srptest.Seen) bool { _, ok := n.Talkers[w.StreamID]; return ok })
	got := seen.Talkers[w.StreamID]
	// Two frames of 2000 octets at 100 Mbit/s, the link, and the class interval.
	if added := got.AccumulatedLatency - w.AccumulatedLatency; got.Failed || added != 2*160_000+125_000 {
		t.Errorf("%+v, %d ns added", got, added)
	}
	s.stations[1].Listen(w.StreamID)
	s.until(0, "the listener", func(n srptest.Seen) bool { return n.Listeners[w.StreamID] == mrp.ListenerReady })

	big := s.wish(2, 1000, 1) // 67 Mbit/s beside 17
	s.stations[0].Talk(big)
	s.until(1, "that the second does not fit", func(n srptest.Seen) bool {
		b := n.Talkers[big.StreamID]
		return b.Failed && b.FailureCode == tsn.FailureClassBandwidth && b.BridgeID != (tsn.BridgeID{})
	})
	s.stations[1].Listen(big.StreamID)
	s.until(0, "that the second failed", func(n srptest.Seen) bool { return n.Listeners[big.StreamID] == mrp.ListenerAskingFailed })
	s.stations[1].Unlisten(w.StreamID)
	s.until(1, "that the second fits", func(n srptest.Seen) bool { b, ok := n.Talkers[big.StreamID]; return ok && !b.Failed })
	s.until(0, "the second listener", func(n srptest.Seen) bool { return n.Listeners[big.StreamID] == mrp.ListenerReady })
	s.stations[0].Quiet(big.StreamID)
	s.until(1, "the end of the second", func(n srptest.Seen) bool { _, ok := n.Talkers[big.StreamID]; return !ok })
	s.stations[1].Unlisten(big.StreamID)
	s.stations[1].Listen(w.StreamID)
	s.until(0, "the listener again", func(n srptest.Seen) bool { return n.Listeners[w.StreamID] == mrp.ListenerReady })
}

// degraded is what status names.
func (s *srpOnly) degraded() string {
	s.t.Helper()
	st, err := s.client.Status(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	return strings.Join(st.Degraded, "\n")
}

// crash ends the daemon without a word and starts it again.
func (s *srpOnly) crash() {
	s.t.Helper()
	if err := s.cmd.Process.Kill(); err != nil {
		s.t.Fatal(err)
	}
	<-s.done
	s.start()
}

// A daemon that is killed leaves the kernel as it is, and goes on with MSRP before
// its neighbours miss it: streams keep what they have, and so do those that have not.
func TestSRPKilled(t *testing.T) {
	s := newSRPOnly(t, "bridge: {name: sw0, create: true}\nsrp: {msrp: true, timers: {leave: 1s, leaveAll: 2s}}", nil)
	first, second := s.wish(2, 224, 1), s.wish(1, 1000, 1)
	for _, w := range []mrp.Talker{first, second} { // the order of their names is the other one
		s.stations[0].Talk(w)
		s.stations[1].Listen(w.StreamID)
		s.until(0, "an answer", func(n srptest.Seen) bool { return n.Listeners[w.StreamID] != mrp.ListenerIgnore })
	}
	answered := func(n srptest.Seen) bool {
		return n.Listeners[first.StreamID] == mrp.ListenerReady && n.Listeners[second.StreamID] == mrp.ListenerAskingFailed
	}
	s.until(0, "one ready, one failed", answered)
	const entry = "port p2 grp 91:e0:f0:00:fe:02"
	s.eventually("the entry", func() bool { return strings.Contains(s.ip("bridge", "mdb", "show"), entry) })
	saved := filepath.Join(filepath.Dir(s.conf), "msrp.json")
	s.eventually("everything remembered", func() bool {
		b, err := os.ReadFile(saved)
		return err == nil && strings.Count(string(b), "StreamID") > 0 && bytes.Count(b, []byte("\"Octets\"")) >= 8
	})
	monitor := s.follow("bridge", "monitor", "mdb")
	before := s.stations[0].Lost() + s.stations[1].Lost()
	s.crash()
	// It asks all to declare again as it starts, and once more when whatever was not
	// declared after the first time is over.
	for i := range s.stations {
		asked := s.stations[i].Counters().LeaveAlls[1]
		s.eventually("the daemon has asked twice", func() bool { return s.stations[i].Counters().LeaveAlls[1] >= asked+2*4 })
	}
	s.eventually("it answers", func() bool { _, err := s.client.Status(t.Context()); return err == nil })
	if now := s.stations[0].Lost() + s.stations[1].Lost(); now != before || !answered(s.stations[0].Seen()) {
		t.Errorf("neighbours noticed: %d declarations ended; %+v", now-before, s.stations[0].Seen())
	}
	if got := monitor(); strings.Contains(got, entry) {
		t.Errorf("the kernel was changed: %s", got)
	}
}

// follow runs a tool that prints what happens in the daemon's namespace; the
// result ends it and returns that.
func (s *srpOnly) follow(args ...string) func() string {
	s.t.Helper()
	tool, err := exec.LookPath(args[0])
	if err != nil {
		s.t.Skipf("%s is missing: install iproute2", args[0])
	}
	cmd, out := exec.Command(tool, args[1:]...), &bytes.Buffer{}
	cmd.Stdout = out
	s.ns.Do(func() { err = cmd.Start() })
	if err != nil {
		s.t.Fatal(err)
	}
	return func() string {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		return out.String()
	}
}

// Two plain interfaces and nothing else: the protocol works in full, and what the
// kernel lacks for streams' sake is named.
func TestSRPOnPlainInterfaces(t *testing.T) {
	s := newSRPOnly(t, "srp: {msrp: true}", nil)
	s.reserve()
	if got := s.degraded(); strings.Contains(got, "kernel:") || !strings.Contains(got, "port 2 (p2): streams are not shaped: queues is missing") {
		t.Errorf("degraded: %s", got)
	}
}

// A bridge that is there already keeps what others have set; its group entries
// follow the listeners, and a port that its spanning tree blocks takes no part.
func TestSRPOnSharedBridge(t *testing.T) {
	s := newSRPOnly(t, "bridge: {name: sw0}\nsrp: {msrp: true}", func(s *srpOnly) {
		s.ip("ip", "link", "add", "sw0", "type", "bridge", "ageing_time", "12300")
		for _, p := range []string{"p1", "p2"} {
			s.ip("ip", "link", "set", p, "master", "sw0", "up")
		}
		s.ip("ip", "link", "set", "sw0", "up")
		s.ip("bridge", "link", "set", "dev", "p2", "flood", "off")
	})
	s.reserve()
	const group = "91:e0:f0:00:fe:01"
	s.eventually("a group entry at p2 alone", func() bool {
		mdb := s.ip("bridge", "mdb", "show")
		return strings.Contains(mdb, "port p2 grp "+group) && !strings.Contains(mdb, "port p1 grp "+group)
	})
	if got := s.ip("bridge", "-d", "link", "show", "dev", "p2"); !strings.Contains(got, "learning on") || !strings.Contains(got, " flood off") {
		t.Errorf("port flags were changed: %s", got)
	}
	id := s.wish(1, 0, 0).StreamID
	s.ip("bridge", "link", "set", "dev", "p2", "state", "1") // listening: it does not forward
	s.until(1, "that the port is blocked", func(n srptest.Seen) bool { _, ok := n.Talkers[id]; return !ok })
	s.eventually("the entry gone", func() bool { return !strings.Contains(s.ip("bridge", "mdb", "show"), "port p2 grp "+group) })
	s.ip("bridge", "link", "set", "dev", "p2", "state", "3") // forwarding
	s.until(0, "the listener again", func(n srptest.Seen) bool { return n.Listeners[id] == mrp.ListenerReady })
	s.eventually("the entry again", func() bool { return strings.Contains(s.ip("bridge", "mdb", "show"), "port p2 grp "+group) })
	if got := s.degraded(); strings.Contains(got, "kernel:") {
		t.Errorf("degraded: %s", got)
	}
}

// A bridge that is missing is made, if that is allowed, and forwards frames of
// anybody as any other does.
func TestSRPMakesBridge(t *testing.T) {
	s := newSRPOnly(t, "bridge: {name: sw0, create: true}\nsrp: {msrp: true, timers: {profile: proav}}", nil)
	s.reserve()
	for _, p := range []string{"p1", "p2"} {
		if got := s.ip("ip", "-d", "link", "show", p); !strings.Contains(got, "master sw0") || !strings.Contains(got, "state forwarding") {
			t.Errorf("%s", got)
		}
	}
}
