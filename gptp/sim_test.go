package gptp

import (
	"container/heap"
	"fmt"
	"math"
	"math/rand"
	"strings"
	"testing"

	tsn "tsnswitch"
	"tsnswitch/gptp/ptpmsg"
)

// sim is a small deterministic network: nodes with drifting clocks, links with
// delays, stamps with noise, hosts that take time to answer.
type sim struct {
	t     testing.TB
	now   int64 // true time, ns
	queue simQueue
	seq   int
	nodes []*simNode
	rng   *rand.Rand
	trace *strings.Builder // nil: none
	// spy sees every frame on its way; false drops it.
	spy func(from *simNode, port tsn.Port, frame []byte) bool
	// fate says how many copies of a frame arrive and how much later than they
	// would; nil: one, at once.
	fate func(frame []byte) []int64
}

type simNode struct {
	*Instance
	sys      *System
	sim      *sim
	name     string
	mac      tsn.MAC
	offset   int64                     // LocalClock at true time 0
	ppm      float64                   // LocalClock runs 1+ppm*1e-6 of true time
	drift    float64                   // ppm per second on top
	wander   func(sec float64) float64 // ns on top; nil: none
	links    map[tsn.Port]*simLink
	dead     bool
	wakeAt   int64
	stalled  int64 // true time up to which the host does nothing
	reaction int64 // ns from ingress stamp to Step
	stampLag int64 // ns from egress to Sent
	granular int64 // ns resolution of stamps
	noise    func(*rand.Rand) int64
	stamp    func(tag uint64) bool // nil: every Send is stamped
	relation []RelationChanged
	notices  []string
}

type simLink struct {
	peer  *simNode
	port  tsn.Port
	delay int64
	up    bool
}

type simEvent struct {
	at  int64
	seq int
	run func()
}

type simQueue []simEvent

func (q simQueue) Len() int { return len(q) }
func (q simQueue) Less(i, j int) bool {
	return q[i].at < q[j].at || q[i].at == q[j].at && q[i].seq < q[j].seq
}
func (q simQueue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *simQueue) Push(x any)   { *q = append(*q, x.(simEvent)) }
func (q *simQueue) Pop() any {
	o := *q
	x := o[len(o)-1]
	*q = o[:len(o)-1]
	return x
}

const (
	microsecond = 1_000
	millisecond = 1_000_000
	second      = 1_000_000_000
)

func newSim(t testing.TB, seed int64) *sim { return &sim{t: t, rng: rand.New(rand.NewSource(seed))} }

func (s *sim) after(ns int64, f func()) {
	s.seq++
	heap.Push(&s.queue, simEvent{s.now + ns, s.seq, f})
}

// node makes a node with n ports; change may alter its configuration.
func (s *sim) node(name string, n int, change func(*Config)) *simNode {
	s.t.Helper()
	mac := tsn.MAC{0x02, 0, 0, 0, 0, byte(len(s.nodes) + 1)}
	cfg := DefaultConfig(mac)
	for p := range n {
		cfg.Ports = append(cfg.Ports, DefaultPort(tsn.Port(p+1)))
	}
	cfg.Seed = uint64(len(s.nodes))
	if change != nil {
		change(&cfg)
	}
	in, err := New(cfg)
	if err != nil {
		s.t.Fatal(err)
	}
	x := &simNode{
		Instance: in.instances[0], sys: in, sim: s, name: name, mac: mac, links: map[tsn.Port]*simLink{}, wakeAt: math.MaxInt64,
		reaction: 50 * microsecond, stampLag: 90 * microsecond, granular: 1,
		noise: func(*rand.Rand) int64 { return 0 },
	}
	s.nodes = append(s.nodes, x)
	s.after(0, func() { x.step(tsn.Timeout{}) })
	return x
}

func (x *simNode) Step(now tsn.Instant, ev tsn.Event) []tsn.Effect { return x.sys.Step(now, ev) }
func (x *simNode) Deadline() tsn.Instant                           { return x.sys.Deadline() }

// clock gives a node an offset and a frequency error.
func (x *simNode) clock(offset int64, ppm float64) *simNode {
	x.offset, x.ppm = offset, ppm
	return x
}

// hardware and software set the kind of stamps: a counter of 40 ns under a
// PHY's jitter of 8 ns, or
func (x *simNode) hardware() *simNode {
	x.granular = 40
	x.noise = func(r *rand.Rand) int64 { return int64(r.NormFloat64() * 8) }
	return x
}

// software: noise of about a microsecond, skewed to lateness, and one stamp in
// two hundred milliseconds late.
func (x *simNode) software() *simNode {
	x.noise = func(r *rand.Rand) int64 {
		n := int64(r.ExpFloat64()*900 + r.NormFloat64()*400)
		if r.Intn(200) == 0 {
			n += int64(r.ExpFloat64() * 3 * millisecond)
		}
		return n
	}
	return x
}

// at is LocalClock at a true time.
func (x *simNode) at(true_ int64) tsn.LocalTime {
	sec := float64(true_) * 1e-9
	more := float64(true_)*x.ppm*1e-6 + x.drift*sec*sec/2*1e3
	if x.wander != nil {
		more += x.wander(sec)
	}
	return tsn.LocalTime(x.offset + true_ + int64(more))
}

// read is a stamp: LocalClock with noise.
func (x *simNode) read() tsn.LocalTime {
	l := int64(x.at(x.sim.now)) + x.noise(x.sim.rng)
	return tsn.LocalTime(l - l%x.granular)
}

// error is how far the node's gPTP time is off the other's, ns.
func (x *simNode) error(gm *simNode) int64 {
	now := x.sim.now
	return x.Relation().At(x.at(now)).NS - gm.Relation().At(gm.at(now)).NS
}

func (s *sim) connect(a *simNode, pa tsn.Port, b *simNode, pb tsn.Port, delay int64) {
	a.links[pa], b.links[pb] = &simLink{b, pb, delay, false}, &simLink{a, pa, delay, false}
	s.after(0, func() { s.carrier(a, pa, true) })
}

// carrier sets the link at a port up or down, for both ends.
func (s *sim) carrier(a *simNode, pa tsn.Port, up bool) {
	l := a.links[pa]
	l.up, l.peer.links[l.port].up = up, up
	a.step(tsn.LinkChanged{Port: pa, Up: up, Rate: tsn.Gbps})
	l.peer.step(tsn.LinkChanged{Port: l.port, Up: up, Rate: tsn.Gbps})
}

func (x *simNode) step(ev tsn.Event) {
	if x.dead {
		return
	}
	if wait := x.stalled - x.sim.now; wait > 0 {
		x.sim.after(wait, func() { x.step(ev) })
		return
	}
	for _, e := range x.Step(tsn.Instant(x.sim.now), ev) {
		switch e := e.(type) {
		case tsn.Send:
			x.transmit(e)
		case RelationChanged:
			x.relation = append(x.relation, e)
			x.log("relation rate %+.3f ppm synced %v", e.Relation.RatePPB/1000, e.Synced)
		case tsn.Notice:
			x.notices = append(x.notices, e.Kind)
			x.log("! %s port %d %s", e.Kind, e.Port, e.Detail)
		}
	}
	if d := int64(x.Deadline()); d != math.MaxInt64 && d < x.wakeAt {
		x.wakeAt = d
		x.sim.after(max(0, d-x.sim.now), func() {
			if x.wakeAt == d {
				x.wakeAt = math.MaxInt64
				x.step(tsn.Timeout{})
			}
		})
	}
}

// transmit puts a frame on the wire 5 us after Step.
func (x *simNode) transmit(e tsn.Send) {
	s := x.sim
	l := x.links[e.Port]
	s.after(5*microsecond, func() {
		egress := x.read()
		if e.Tag != 0 {
			ok := x.stamp == nil || x.stamp(e.Tag)
			s.after(x.stampLag, func() { x.step(tsn.Sent{Port: e.Port, Tag: e.Tag, Egress: egress, Stamped: ok}) })
		}
		if l == nil || !l.up || (s.spy != nil && !s.spy(x, e.Port, e.Frame)) {
			return
		}
		if s.trace != nil {
			x.log("-> %s", describe(e.Frame))
		}
		late := []int64{0}
		if s.fate != nil {
			late = s.fate(e.Frame)
		}
		for _, ns := range late {
			s.after(l.delay+ns, func() { l.peer.deliver(l.port, e.Frame) })
		}
	})
}

func (x *simNode) deliver(p tsn.Port, frame []byte) {
	ingress := x.read()
	x.sim.after(x.reaction, func() {
		x.step(tsn.Received{Port: p, Frame: frame, Ingress: ingress, Stamped: true})
	})
}

func (x *simNode) log(format string, a ...any) {
	if b := x.sim.trace; b != nil {
		fmt.Fprintf(b, "%12.6f %-4s %s\n", float64(x.sim.now)*1e-9, x.name, fmt.Sprintf(format, a...))
	}
}

// run lets true time pass.
func (s *sim) run(ns int64) {
	end := s.now + ns
	for len(s.queue) > 0 && s.queue[0].at <= end {
		e := heap.Pop(&s.queue).(simEvent)
		s.now = e.at
		e.run()
	}
	s.now = end
}

// until runs in steps of 10 ms until ok or the limit, and returns when that was.
func (s *sim) until(limit int64, ok func() bool) (ns int64) {
	s.t.Helper()
	for end := s.now + limit; s.now < end; s.run(10 * millisecond) {
		if ok() {
			return s.now
		}
	}
	s.t.Fatalf("not within %d ms", limit/millisecond)
	return 0
}

// chain makes n nodes in a row; the first is the best grand master.
func (s *sim) chain(n int, change func(i int, c *Config)) []*simNode {
	nodes := make([]*simNode, n)
	for i := range n {
		nodes[i] = s.node(fmt.Sprintf("n%d", i), 2, func(c *Config) {
			if i == 0 {
				c.Domains[0].Priority1 = 100
			}
			if change != nil {
				change(i, c)
			}
		})
		if i > 0 {
			s.connect(nodes[i-1], 2, nodes[i], 1, 500)
		}
	}
	return nodes
}

// softThreshold is the configuration for software stamps.
func softThreshold(_ int, c *Config) {
	for i := range c.Ports {
		c.Ports[i].NeighborPropDelayThresh = 20 * millisecond
	}
}

func (x *simNode) portStatus(p tsn.Port) PortStatus {
	for _, s := range x.Status().Ports {
		if s.Port == p {
			return s
		}
	}
	x.sim.t.Fatalf("no port %d", p)
	return PortStatus{}
}

func (x *simNode) states() (out []PortState) {
	for _, p := range x.Status().Ports {
		out = append(out, p.State)
	}
	return out
}

// describe prints a frame's fields that matter in a trace.
func describe(frame []byte) string {
	_, payload, err := ptpmsg.ParseFrame(frame)
	if err != nil {
		return err.Error()
	}
	var d ptpmsg.Decoder
	m, err := d.Decode(payload)
	if err != nil {
		return err.Error()
	}
	text := fmt.Sprintf("%s %s flags %04x log %d", m.Type(), m.Head().Source, m.Head().Flags, m.Head().LogInterval)
	switch m := m.(type) {
	case *ptpmsg.FollowUp:
		i, _ := m.Information()
		text += fmt.Sprintf(" origin %d.%09d correction %.1f rate %+.3f ppm base %d", m.PreciseOrigin.Seconds, m.PreciseOrigin.Nanoseconds,
			m.Correction.NS(), (i.CumulativeScaledRateOffset.Ratio()-1)*1e6, i.GmTimeBaseIndicator)
	case *ptpmsg.Announce:
		path, _ := m.PathTrace(nil)
		text += fmt.Sprintf(" gm %s priority %d/%d steps %d path %v", m.GrandMaster, m.Priority1, m.Priority2, m.StepsRemoved, path)
	}
	return text
}
