package sim_test

import (
	"fmt"
	"slices"
	"testing"

	"tsnswitch"
	"tsnswitch/internal/sim"
	"tsnswitch/srp"
	"tsnswitch/srp/mrp"
)

// msrpLab is a network of bridges that take part in MSRP, and the MSRP of hosts.
type msrpLab struct {
	*lab
	hosts map[string]*mrp.Participant
	heard map[string][][]byte // PDUs on their way
	names []string
}

func newMSRPLab(t *testing.T, bridges int) *msrpLab {
	l := &msrpLab{lab: build(t, ring(t, bridges), sim.Options{Seed: 1, MSRP: true}), hosts: map[string]*mrp.Participant{}, heard: map[string][][]byte{}}
	app := mrp.MSRP()
	l.OnStep = func(s sim.Step) {
		for _, e := range s.Effects {
			f, ok := e.(tsn.Send)
			if pdu, msrp := app.PDU(f.Frame); ok && msrp {
				for _, name := range l.names {
					if l.edgeOf(name) == (sim.End{Node: s.Node.Name, Port: f.Port}) {
						l.heard[name] = append(l.heard[name], slices.Clone(pdu))
					}
				}
			}
		}
	}
	l.settle()
	l.until(20*second, "time", l.timeAgreed)
	for i, name := range []string{"A", "B"} {
		p := mrp.NewParticipant(app, mrp.Config{PointToPoint: true, Seed: uint64(i)})
		p.Start(l.Now())
		for _, c := range srp.DefaultSRClasses() {
			p.Join(l.Now(), mrp.Domain{ClassID: c.ID, Priority: c.Priority, VID: l.vid()}.Value(), 0, false)
		}
		l.hosts[name], l.names = p, append(l.names, name)
	}
	return l
}

func (l *msrpLab) vid() tsn.VID { return l.cfg.Fabric.StreamVID }

// pass lets time pass, in which hosts hear and speak; each looks at the whole
// network once in a millisecond.
func (l *msrpLab) pass(ns int64, each func()) {
	l.t.Helper()
	for end := l.Now().Add(ns); l.Now() < end; {
		l.tick()
		if each != nil {
			each()
		}
	}
}

func (l *msrpLab) tick() {
	l.Run(millisecond)
	app := mrp.MSRP()
	for _, name := range l.names {
		p, at := l.hosts[name], l.edgeOf(name)
		for _, pdu := range l.heard[name] {
			p.Receive(l.Now(), pdu)
		}
		l.heard[name] = nil
		for p.Deadline() <= l.Now() {
			if pdu, _ := p.Tick(l.Now()); pdu != nil {
				l.Inject(at.Node, at.Port, app.Frame(l.mac(name), pdu))
			}
		}
	}
}

// becomes waits for what a host hears of a stream.
func (l *msrpLab) becomes(host string, id tsn.StreamID, want string, each func()) {
	l.t.Helper()
	for end := l.Now().Add(30 * second); l.hears(host, id) != want; {
		if l.Now() > end {
			l.t.Fatalf("%s hears %q of %s, want %q", host, l.hears(host, id), id, want)
		}
		l.tick()
		if each != nil {
			each()
		}
	}
}

func (l *msrpLab) hears(host string, id tsn.StreamID) string {
	p := l.hosts[host]
	for _, a := range p.Attributes() {
		if t, err := mrp.ParseTalker(a.Value); err == nil && a.Registered && t.StreamID == id {
			if !t.Failed {
				return "advertised"
			}
			for _, x := range l.cfg.Nodes {
				if x.SystemID == t.BridgeID.System() {
					return fmt.Sprintf("failed %d by %s", t.FailureCode, x.Name)
				}
			}
		}
	}
	if answer, ok := p.Registered(mrp.ListenerValue(id)); ok {
		return mrp.ListenerText(answer)
	}
	return ""
}

// delivered sends a frame of a stream of A and returns how many copies come to B.
// Copies that come anywhere else, or circle, are faults.
func (l *msrpLab) delivered(group tsn.MAC) int {
	l.t.Helper()
	r, err := l.Plane().Send("A", sim.Frame{Src: l.mac("A"), Dst: group, VID: l.vid()})
	if err != nil {
		l.t.Fatalf("at %d ms: %v", l.Now()/millisecond, err)
	}
	for at, n := range r.Edge { // a port of the ring is there while its cable is cut
		if at == l.edgeOf("A") || n > 1 {
			l.t.Fatalf("at %d ms: %d copies leave at %v", l.Now()/millisecond, n, at)
		}
	}
	return r.Edge[l.edgeOf("B")]
}

// holders are the bridges that have reserved a stream, in order of name.
func (l *msrpLab) holders(id tsn.StreamID) (out []string) {
	for _, d := range l.Nodes() {
		if slices.ContainsFunc(d.Control.SRP.Streams(), func(s srp.StreamState) bool { return s.Stream.ID == id }) {
			out = append(out, d.Name)
		}
	}
	slices.Sort(out)
	return out
}

func (l *msrpLab) wish(unique uint16, size uint16) mrp.Talker {
	return mrp.Talker{
		StreamID: tsn.MakeStreamID(l.mac("A"), unique), DestinationAddress: tsn.MAC{0x91, 0xe0, 0xf0, 0, 0xfe, byte(unique)}, VID: l.vid(),
		MaxFrameSize: size, MaxIntervalFrames: 1, DataFramePriority: 3, Rank: 1,
	}
}

// In a ring of three a link of a stream's path is cut and comes back. The stream
// is admitted anew on the tree of then, and given back where it was; at no time
// does a frame circle or come twice, or to anybody else.
func TestMSRPFollowsTheTree(t *testing.T) {
	l := newMSRPLab(t, 3)
	w := l.wish(1, 224)
	l.hosts["A"].Join(l.Now(), w.Value(), 0, true)
	l.becomes("B", w.StreamID, "advertised", nil)
	l.hosts["B"].Join(l.Now(), mrp.ListenerValue(w.StreamID), mrp.ListenerReady, true)
	l.becomes("A", w.StreamID, "ready", nil)
	l.pass(500*millisecond, nil)
	once := func() { l.delivered(w.DestinationAddress) }
	direct := l.holders(w.StreamID) // b1 and B's bridge
	if len(direct) != 2 || l.delivered(w.DestinationAddress) != 1 {
		t.Fatalf("reserved at %v, %d copies", direct, l.delivered(w.DestinationAddress))
	}
	path, err := l.Node("b1").Control.Path(l.vid(), l.mac("A"), l.mac("B"))
	if err != nil || len(path) != 2 {
		t.Fatalf("%v, %v", path, err)
	}
	for _, up := range []bool{false, true} {
		if err := l.SetLink("b1", path[0].Port, up); err != nil {
			t.Fatal(err)
		}
		from := l.Now()
		l.pass(3*second, once)
		want := direct
		if !up {
			want = []string{"b1", "b2", "b3"}
		}
		if got := l.holders(w.StreamID); !slices.Equal(got, want) || l.delivered(w.DestinationAddress) != 1 {
			t.Errorf("link up %t: reserved at %v, want %v; %d copies, %d ms after", up, got, want, l.delivered(w.DestinationAddress), l.Now().Sub(from)/millisecond)
		}
		if got := l.hears("A", w.StreamID); got != "ready" {
			t.Errorf("link up %t: the talker hears %q", up, got)
		}
	}
}

// A stream for which the other way has no room fails there, with that bridge and
// the reason, and is back when its own way is.
func TestMSRPMovesToAFullLink(t *testing.T) {
	l := newMSRPLab(t, 3)
	w := l.wish(1, 1000) // 67 of 75 Mbit/s
	l.hosts["A"].Join(l.Now(), w.Value(), 0, true)
	l.hosts["B"].Join(l.Now(), mrp.ListenerValue(w.StreamID), mrp.ListenerReady, true)
	l.becomes("A", w.StreamID, "ready", nil)
	path, err := l.Node("b1").Control.Path(l.vid(), l.mac("A"), l.mac("B"))
	if err != nil || len(path) != 2 {
		t.Fatalf("%v, %v", path, err)
	}
	other, near := "b2", path[1].System // the bridge that the detour goes by
	if near == l.mac("b2") {
		other = "b3"
	}
	// Both links of the detour bridge are half full with somebody else's streams.
	var set []tsn.Reservation
	for port := range tsn.Port(2) {
		s := tsn.Stream{
			ID: tsn.MakeStreamID(tsn.MAC{2, 0, 0, 9, 9, byte(port)}, 1), Talker: tsn.MAC{2, 0, 0, 9, 9, byte(port)}, Listener: tsn.MAC{2, 0, 0, 9, 9, 9},
			DestinationAddress: tsn.MAC{0x91, 0xe0, 0xf0, 0, 0xee, byte(port)}, VID: l.vid(), PCP: 3,
			Interval: 125_000, MaxFrameSize: 500, MaxIntervalFrames: 1, MaxLatency: 1e7,
		}
		set = append(set, tsn.Reservation{Stream: s, Ports: []tsn.Port{port + 1}})
	}
	a := l.Ask(other, func(id uint64) tsn.Event {
		return srp.PutReservations{RequestID: id, Owner: "somebody", Generation: 1, Reservations: set}
	})
	l.pass(100*millisecond, nil)
	if !a.Done || a.Err != nil {
		t.Fatalf("%+v", a)
	}
	once := func() { l.delivered(w.DestinationAddress) }
	if err := l.SetLink("b1", path[0].Port, false); err != nil {
		t.Fatal(err)
	}
	l.becomes("B", w.StreamID, fmt.Sprintf("failed %d by %s", tsn.FailureClassBandwidth, other), once)
	l.pass(second, once)
	if got := l.holders(w.StreamID); len(got) != 0 {
		t.Errorf("reserved at %v", got)
	}
	if err := l.SetLink("b1", path[0].Port, true); err != nil {
		t.Fatal(err)
	}
	l.becomes("B", w.StreamID, "advertised", once)
	l.becomes("A", w.StreamID, "ready", once)
	l.pass(second, once)
	if l.delivered(w.DestinationAddress) != 1 {
		t.Error("the stream is not back")
	}
}

// A port whose neighbour no longer keeps time is a boundary of the SR domain: the
// stream fails there, and is back when it does.
func TestMSRPBoundaryFollowsTime(t *testing.T) {
	l := newMSRPLab(t, 3)
	w := l.wish(1, 224)
	l.hosts["A"].Join(l.Now(), w.Value(), 0, true)
	l.hosts["B"].Join(l.Now(), mrp.ListenerValue(w.StreamID), mrp.ListenerReady, true)
	l.becomes("A", w.StreamID, "ready", nil)
	l.Stop("B")
	at := l.edgeOf("B")
	l.becomes("B", w.StreamID, fmt.Sprintf("failed %d by %s", tsn.FailureEgressNotAVB, at.Node), nil)
	if err := l.Start("B"); err != nil {
		t.Fatal(err)
	}
	l.becomes("B", w.StreamID, "advertised", nil)
	l.becomes("A", w.StreamID, "ready", nil)
}

// A bridge on the path restarts: its neighbours notice nothing of it, and each
// frame comes once.
func TestMSRPRestartOnThePath(t *testing.T) {
	l := newMSRPLab(t, 6)
	w := l.wish(1, 224)
	l.hosts["A"].Join(l.Now(), w.Value(), 0, true)
	l.hosts["B"].Join(l.Now(), mrp.ListenerValue(w.StreamID), mrp.ListenerReady, true)
	l.becomes("A", w.StreamID, "ready", nil)
	l.pass(second, nil)
	holders := l.holders(w.StreamID)
	middle := holders[1]
	released := func() (n int) {
		for _, d := range l.Nodes() {
			if d.Name != middle {
				n += d.Notices["stream-released"]
			}
		}
		return n
	}
	before, writes := released(), l.Node(middle).Kernel.Writes
	each := func() {
		if l.delivered(w.DestinationAddress) != 1 {
			t.Fatalf("at %d ms: the frame is lost", l.Now()/millisecond)
		}
	}
	l.Stop(middle)
	l.pass(100*millisecond, each)
	if err := l.Start(middle); err != nil {
		t.Fatal(err)
	}
	l.pass(10*second, each)
	if n := released() - before; n != 0 {
		t.Errorf("neighbours gave up %d reservations", n)
	}
	if got := l.holders(w.StreamID); !slices.Equal(got, holders) {
		t.Errorf("reserved at %v, before %v", got, holders)
	}
	if n := l.Node(middle).Kernel.Writes - writes; n != 0 {
		t.Errorf("the kernel was changed %d times", n)
	}
	if got := l.hears("A", w.StreamID) + ", " + l.hears("B", w.StreamID); got != "ready, advertised" {
		t.Error(got)
	}
}
