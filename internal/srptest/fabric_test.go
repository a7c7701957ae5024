package srptest

import (
	"context"
	"flag"
	"fmt"
	"strings"
	"testing"
	"time"

	"tsnswitch"
	"tsnswitch/internal/avbstation"
	"tsnswitch/internal/kerneltest"
	"tsnswitch/srp/mrp"
)

// needsOfBridge is what tsnswitchd wants of a kernel.
var needsOfBridge = kerneltest.Needs{Taprio: true, CBS: true, Flower: true, VLANFiltering: true, VLANDevices: true}

var iproute = [][2]string{{"bridge", "iproute2"}, {"tc", "iproute2"}}

var rounds = flag.Int("rounds", 1, "how often the bad days of TestRing come")

// ring is three bridges in a ring with a station on each, and a stream of class A
// from s1 to s2.
type ring struct {
	*lab
	s1, s2, s3 *avbstation.Station
	a          mrp.Talker
}

// End stations on a ring of three bridges, from the first declaration to what a
// bad day brings. The parts build on each other: one boot, one network.
func TestRing(t *testing.T) {
	need(t, iproute...)
	t.Parallel()
	needs := needsOfBridge
	needs.Timeout = time.Duration(*rounds) * 5 * time.Minute
	kerneltest.Run(t, needs, func(t *testing.T) {
		r := &ring{lab: newLab(t, wiring{
			bridges: []string{"b1", "b2", "b3"}, links: []string{"b1 b2", "b2 b3", "b3 b1"}, stations: []string{"s1 b1", "s2 b2", "s3 b3"}, config: underSPB,
		})}
		r.settled(2)
		r.s1, r.s2, r.s3 = r.station("s1"), r.station("s2"), r.station("s3")
		r.a = stream(r.s1, 1, 224)
		type part struct {
			name string
			test func(*testing.T)
		}
		parts := []part{{"registration", r.registration}, {"reserve", r.reserve}, {"classes", r.classes}}
		for range *rounds {
			parts = append(parts, part{"storm of LeaveAll", r.storm}, part{"kill in the path", r.kill}, part{"link flap", r.flap})
		}
		parts = append(parts, part{"listener leaves", r.listenerLeaves}, part{"talker leaves", r.talkerLeaves}, part{"no leak", r.noLeak})
		for _, p := range parts {
			if !t.Run(p.name, func(t *testing.T) { r.t = t; p.test(t) }) {
				break
			}
		}
		r.t = t
	})
}

// direct is where a's frames go while the ring is whole.
func (r *ring) direct() {
	r.t.Helper()
	r.forwards("b1", r.a.DestinationAddress, "b2")
	r.forwards("b2", r.a.DestinationAddress, "s2")
	r.forwards("b3", r.a.DestinationAddress)
}

// registration: VLANs and groups are between a station and its bridge, which offers
// the VLANs of the fabric.
func (r *ring) registration(t *testing.T) {
	until(t, r.s3, "the VLAN of the classes", func(v avbstation.Seen) bool { return v.VLANs[2] })
	group := tsn.MAC{0x91, 0xe0, 0xf0, 0, 0xfe, 1}
	r.s3.JoinGroup(group)
	r.forwards("b3", group, "b1", "b2", "s3") // between bridges it goes where broadcast goes
	r.s3.LeaveGroup(group)                    // which counts after the leave time
}

// noLeak: whatever happened, nobody has heard of MRP from any but its own bridge.
func (r *ring) noLeak(t *testing.T) {
	for name, s := range map[string]*avbstation.Station{"b1": r.s1, "b2": r.s2, "b3": r.s3} {
		if heard := s.Seen().Systems; len(heard) != 1 || !heard[r.bridges[name].systemID()] {
			t.Errorf("the station at %s hears MRP from %v", name, heard)
		}
	}
}

func (r *ring) reserve(t *testing.T) {
	r.s2.Listen(r.a.StreamID)
	r.s1.Talk(r.a)
	until(t, r.s1, "listener ready", ready(r.a))
	r.direct()
	// 224 + 42 octets in 125 us (802.1Q 34.3).
	r.shaped("b1", "b2", "idleslope 17024 ")
	r.shaped("b2", "s2", "idleslope 17024 ")
	out, err := r.bridges["b1"].run("tc", "qdisc", "show", "dev", "b3")
	if err != nil || strings.Contains(out, "idleslope 17024") {
		t.Errorf("b1 shapes b3, where no listener is: %v\n%s", err, out)
	}
	until(t, r.s2, "latency of two hops", func(v avbstation.Seen) bool { return v.Talkers[r.a.StreamID].AccumulatedLatency >= 2*445_000 })
}

func ready(talker mrp.Talker) func(avbstation.Seen) bool {
	return func(v avbstation.Seen) bool { return v.Listeners[talker.StreamID] == mrp.ListenerReady }
}

// classes: class B beside A, and of two streams that do not both fit the second
// fails, at the first bridge, at its listener with a word.
func (r *ring) classes(t *testing.T) {
	b := stream(r.s1, 2, 500)
	b.DataFramePriority = 2
	big := stream(r.s1, 3, 700)
	for _, x := range []mrp.Talker{b, big} {
		r.s3.Listen(x.StreamID)
		r.s1.Talk(x)
	}
	until(t, r.s1, "listeners of B and of the big one", func(v avbstation.Seen) bool { return ready(b)(v) && ready(big)(v) })
	r.forwards("b1", b.DestinationAddress, "b3")
	second := stream(r.s1, 4, 700)
	r.s3.Listen(second.StreamID)
	r.s1.Talk(second)
	until(t, r.s3, "the second big one has failed at b1", func(v avbstation.Seen) bool {
		got := v.Talkers[second.StreamID]
		return got.Failed && short(got.FailureCode) && got.BridgeID.System() == r.bridges["b1"].systemID()
	})
	until(t, r.s1, "asking failed", func(v avbstation.Seen) bool { return v.Listeners[second.StreamID] == mrp.ListenerAskingFailed })
	r.forwards("b1", second.DestinationAddress)
	r.s1.Quiet(big.StreamID)
	until(t, r.s1, "there is room now", ready(second))
	r.forwards("b3", second.DestinationAddress, "s3")
	r.s1.Quiet(second.StreamID)
	r.s1.Quiet(b.StreamID)
	r.forwards("b1", b.DestinationAddress)
}

// flow sends a's frames from s1 and counts them at all stations' ports.
type flow struct {
	*avbstation.Sender
	at map[string]*avbstation.Counter
}

func (r *ring) flow() *flow {
	r.t.Helper()
	f := &flow{at: map[string]*avbstation.Counter{}}
	for _, s := range []string{"s2", "s3"} {
		var err error
		r.st[s].Do(func() { f.at[s], err = avbstation.Count("s0", r.a.DestinationAddress) })
		if err != nil {
			r.t.Fatal(err)
		}
	}
	var err error
	r.st["s1"].Do(func() {
		f.Sender, err = avbstation.Flow{Destination: r.a.DestinationAddress, VID: r.a.VID, Priority: r.a.DataFramePriority, Octets: 200, Every: 10 * time.Millisecond}.Start("s0")
	})
	if err != nil {
		r.t.Fatal(err)
	}
	if !f.at["s2"].More(10, patience) {
		r.t.Fatal("no frame of the stream comes to its listener")
	}
	return f
}

// end stops it and returns what has come to the listener. Nobody else gets any.
func (f *flow) end(t *testing.T) avbstation.Arrivals {
	t.Helper()
	_ = f.at["s2"].More(10, patience)
	if _, err := f.Stop(); err != nil {
		t.Errorf("send: %v", err)
	}
	a, other := f.at["s2"].Arrivals(), f.at["s3"].Arrivals()
	f.at["s2"].Close()
	f.at["s3"].Close()
	if other.Frames != 0 {
		t.Errorf("%d frames came to a station that is no listener", other.Frames)
	}
	t.Logf("%d frames came, %d are lost", a.Frames, a.Lost())
	return a
}

// harm runs f while the stream flows, and says what came of it: lost frames,
// declarations that ended.
func (r *ring) harm(t *testing.T, f func()) error {
	t.Helper()
	before := r.s1.Lost() + r.s2.Lost()
	flow := r.flow()
	f()
	a := flow.end(t)
	ended := r.s1.Lost() + r.s2.Lost() - before
	if a.Lost() != 0 || a.Late != 0 || ended != 0 {
		return fmt.Errorf("%d of %d frames lost, %d late; %d declarations ended", a.Lost(), a.Frames, a.Late, ended)
	}
	return nil
}

// storm asks everybody for everything, again and again: no declaration ends. A
// machine that stood still for longer than a leave timer gets another try.
func (r *ring) storm(t *testing.T) {
	var err error
	for range 4 {
		err = r.harm(t, func() {
			asks := time.NewTicker(20 * time.Millisecond)
			defer asks.Stop()
			for range 100 {
				<-asks.C
				r.s1.AskAll()
				r.s2.AskAll()
			}
		})
		if err == nil {
			break
		}
		t.Log(err)
	}
	if err != nil {
		t.Error(err)
	}
	r.direct()
}

// kill ends the daemons in the path without a word, one after the other: the
// stream goes on, and who starts again knows all before anybody's leave timer runs
// out. A daemon waits for its neighbours as long as it may; a machine that stood
// still meanwhile gets another try.
func (r *ring) kill(t *testing.T) {
	for _, name := range []string{"b1", "b2"} {
		var err error
		for range 4 {
			err = r.harm(t, func() {
				r.lab.kill(name)
				r.start(name)
				r.settled(2)
			})
			until(t, r.s1, "listener ready", ready(r.a))
			r.direct()
			if err == nil {
				break
			}
			t.Logf("%s: %v", name, err)
		}
		if err != nil {
			t.Errorf("%s: %v, four times", name, err)
		}
	}
}

// flap takes the direct link away and gives it back: the stream goes the long way
// and comes back, and is reserved there and nowhere else.
func (r *ring) flap(t *testing.T) {
	f := r.flow()
	r.link("b1", "b2", false)
	r.forwards("b1", r.a.DestinationAddress, "b3")
	r.forwards("b3", r.a.DestinationAddress, "b2")
	r.forwards("b2", r.a.DestinationAddress, "s2")
	until(t, r.s1, "listener ready the long way", ready(r.a))
	until(t, r.s2, "latency of three hops", func(v avbstation.Seen) bool { return v.Talkers[r.a.StreamID].AccumulatedLatency >= 3*445_000 })
	if !f.at["s2"].More(20, patience) {
		t.Fatal("the stream does not come the long way")
	}
	r.link("b1", "b2", true)
	r.settled(2)
	r.direct()
	until(t, r.s1, "listener ready", ready(r.a))
	until(t, r.s2, "latency of two hops", func(v avbstation.Seen) bool {
		got := v.Talkers[r.a.StreamID]
		return !got.Failed && got.AccumulatedLatency < 3*445_000
	})
	f.end(t)
}

func (r *ring) listenerLeaves(t *testing.T) {
	r.s2.Unlisten(r.a.StreamID)
	until(t, r.s1, "no listener", func(v avbstation.Seen) bool { _, ok := v.Listeners[r.a.StreamID]; return !ok })
	r.forwards("b1", r.a.DestinationAddress)
	r.forwards("b2", r.a.DestinationAddress)
	for _, at := range [][2]string{{"b1", "b2"}, {"b2", "s2"}} {
		r.until("no shaper", func(context.Context) error {
			out, err := r.bridges[at[0]].run("tc", "qdisc", "show", "dev", at[1])
			if err != nil || strings.Contains(out, "qdisc cbs") {
				return fmt.Errorf("%v %s: %w: %s", at[0], at[1], err, out)
			}
			return nil
		})
	}
}

func (r *ring) talkerLeaves(t *testing.T) {
	r.s2.Listen(r.a.StreamID)
	until(t, r.s1, "listener again", ready(r.a))
	r.direct()
	r.s1.Quiet(r.a.StreamID)
	until(t, r.s2, "no talker", func(v avbstation.Seen) bool { _, ok := v.Talkers[r.a.StreamID]; return !ok })
	until(t, r.s1, "no listener", func(v avbstation.Seen) bool { _, ok := v.Listeners[r.a.StreamID]; return !ok })
	for _, name := range r.names {
		r.forwards(name, r.a.DestinationAddress)
	}
}
