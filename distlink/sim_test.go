package distlink

import (
	"bytes"
	"container/heap"
	"encoding/binary"
	"flag"
	"fmt"
	"hash"
	"math/rand/v2"
	"net/netip"
	"testing"

	tsn "tsnswitch"
)

// wire is what the simulated network does to datagrams.
type wire struct {
	loss, dup, corrupt float64
	burst              float64 // how often a burst of loss begins; it takes four in five for up to 20 ms
	delay, jitter      int64   // ns; jitter reorders
	rate               tsn.Rate
	queue              int64 // ns of backlog at rate before drops
	strict             bool  // each lane has a queue, the higher go first; none is ever full
}

type item struct {
	at   tsn.Instant
	seq  int
	to   int
	data []byte
	do   func() // instead of an arrival
}

type agenda []item

func (a agenda) Len() int { return len(a) }
func (a agenda) Less(i, j int) bool {
	return a[i].at < a[j].at || a[i].at == a[j].at && a[i].seq < a[j].seq
}
func (a agenda) Swap(i, j int) { a[i], a[j] = a[j], a[i] }
func (a *agenda) Push(x any)   { *a = append(*a, x.(item)) }
func (a *agenda) Pop() any     { o := *a; x := o[len(o)-1]; *a = o[:len(o)-1]; return x }

// sim runs a client (0) and a server (1) in virtual time.
type sim struct {
	t        *testing.T
	rng      *rand.Rand
	wire     wire
	now      tsn.Instant
	agenda   agenda
	seq      int
	busy     [2]tsn.Instant
	ports    [2]port
	sort     func([]byte) int // queue of a datagram; nil: that of its lane
	conn     [2]*Conn
	listener *Listener
	got      [2][]Message
	up       [2]bool
	closed   [2]*Closed
	autoRead bool
	sent     int
	addr     netip.AddrPort // the client's
	tooLong  int            // octets that no datagram may be longer than; 0: any
	sealed   bool           // with keys
	pipe     *tsn.Instant   // not nil: the client's way shares a bottleneck, busy until then
	tap      func(from int, data []byte)
	paused   [2]bool     // does not run
	held     []item      // for who is paused
	ghosts   []*Conn     // of the server, from set-up packets that came again
	bad      tsn.Instant // until then a burst of loss lasts
	trace    hash.Hash64
}

// random is a Random that follows from a seed.
func random(seed uint64) Random {
	var k [32]byte
	binary.BigEndian.PutUint64(k[:], seed)
	r := rand.NewChaCha8(k)
	return func(b []byte) { _, _ = r.Read(b) }
}

func newSim(t *testing.T, seed uint64, w wire, cfg Config) *sim {
	s := &sim{t: t, rng: rand.New(rand.NewPCG(seed, 1)), wire: w, now: 1000, autoRead: true, addr: clientAddr, sealed: cfg.security() != SecurityNone}
	if cfg.IPv6 {
		s.addr = netip.MustParseAddrPort("[fd00::1]:4000")
	}
	s.conn[0] = NewClient(cfg, random(seed))
	s.listener = NewListener(cfg, random(seed+1000))
	s.effects(0, s.conn[0].Step(s.now, tsn.Timeout{}))
	return s
}

func (s *sim) send(from, lane int, data []byte) {
	s.sent++
	if s.trace != nil {
		_ = binary.Write(s.trace, binary.BigEndian, s.now)
		_, _ = s.trace.Write(data)
	}
	w := s.wire
	if s.tooLong > 0 && len(data) > s.tooLong {
		return
	}
	if s.tap != nil {
		s.tap(from, data)
	}
	if w.strict {
		if s.sort != nil {
			lane = s.sort(data)
		}
		s.enqueue(from, lane, func() { s.arriveAfter(w.delay, from, data) }, len(data))
		return
	}
	busy := &s.busy[from]
	if s.pipe != nil && from == 0 {
		busy = s.pipe
	}
	at := max(s.now, *busy)
	if w.rate > 0 {
		if at.Sub(s.now) > w.queue {
			return
		}
		at = at.Add(w.rate.TransmitTime(len(data) + wireOverhead))
		*busy = at
	}
	copies := 1
	if s.rng.Float64() < w.dup {
		copies = 2
	}
	for range copies {
		if s.rng.Float64() < w.loss || s.burst() {
			continue
		}
		d := bytes.Clone(data)
		if s.rng.Float64() < w.corrupt {
			if !s.sealed {
				continue // the UDP checksum finds it
			}
			d[s.rng.IntN(len(d))] ^= byte(1 + s.rng.IntN(255)) // who can write a checksum, too
		}
		delay := w.delay
		if w.jitter > 0 {
			delay += s.rng.Int64N(w.jitter)
		}
		s.arriveAfter(at.Sub(s.now)+delay, from, d)
	}
}

func (s *sim) arriveAfter(ns int64, from int, data []byte) {
	s.seq++
	heap.Push(&s.agenda, item{at: s.now.Add(ns), seq: s.seq, to: 1 - from, data: data})
}

func (s *sim) after(ns int64, do func()) {
	s.seq++
	heap.Push(&s.agenda, item{at: s.now.Add(ns), seq: s.seq, do: do})
}

// port is an egress port with strict priority between its queues.
type port struct {
	queues  [lanes][]frame
	sending bool
}

type frame struct {
	octets int
	gone   func()
}

func (s *sim) enqueue(from, queue int, gone func(), octets int) {
	p := &s.ports[from]
	p.queues[queue] = append(p.queues[queue], frame{octets, gone})
	if !p.sending {
		s.transmit(from)
	}
}

func (s *sim) transmit(from int) {
	p := &s.ports[from]
	for q := lanes - 1; q >= 0; q-- {
		if len(p.queues[q]) == 0 {
			continue
		}
		f := p.queues[q][0]
		p.queues[q] = p.queues[q][1:]
		p.sending = true
		s.after(s.wire.rate.TransmitTime(f.octets+wireOverhead), func() {
			p.sending = false
			f.gone()
			s.transmit(from)
		})
		return
	}
}

func (s *sim) effects(at int, effects []tsn.Effect) {
	read := 0
	for _, e := range effects {
		switch e := e.(type) {
		case Transmit:
			if at == 1 && e.To != s.addr {
				continue // nobody is there
			}
			s.send(at, e.Lane, e.Data)
		case Reply:
			s.send(at, 0, e.Data)
		case Accept:
			if s.conn[1] != nil {
				s.ghosts = append(s.ghosts, s.conn[1])
			}
			s.conn[1] = e.Conn
		case Deliver:
			s.got[at] = append(s.got[at], e.Message)
			read += len(e.Data) + 1
		case Established:
			s.up[at] = true
			s.settle()
		case Closed:
			s.closed[at] = &e
		}
	}
	s.checkArmed(at)
	s.checkBounds(at)
	if read > 0 && s.autoRead {
		s.effects(at, s.conn[at].Step(s.now, Read{read}))
	}
}

// burst reports whether a burst of loss takes a datagram.
func (s *sim) burst() bool {
	if s.wire.burst == 0 {
		return false
	}
	if s.now >= s.bad && s.rng.Float64() < s.wire.burst {
		s.bad = s.now.Add(s.rng.Int64N(20_000_000))
	}
	return s.now < s.bad && s.rng.IntN(5) > 0
}

// checkBounds: nothing that is kept grows beyond its bound.
func (s *sim) checkBounds(at int) {
	c := s.conn[at]
	if c == nil || c.state == closed {
		return
	}
	r := &c.recv
	early := uint64(0)
	for _, st := range r.streams {
		for i, p := range st.pending {
			early += p.span()
			if i > 0 && st.pending[i-1].end() > p.Offset {
				s.t.Fatalf("side %d holds octets twice", at)
			}
		}
	}
	sent, ranges := 0, 0
	for i := range c.lanes {
		sent, ranges = max(sent, len(c.lanes[i].sent)), max(ranges, len(r.lanes[i].packets))
	}
	switch {
	case sent > 8192, ranges > maxPacketRanges, len(r.orders) > maxOrderRanges, len(r.streams) > c.cfg.MaxStreams:
		s.t.Fatalf("side %d keeps %d packets, %d and %d ranges, %d streams %+v", at, sent, ranges, len(r.orders), len(r.streams), c.Stats())
	case early > r.window, r.used > r.limit, r.held < 0, r.held > c.cfg.heldMost():
		s.t.Fatalf("side %d holds %d octets early, %d in all, and used %d of %d", at, early, r.held, r.used, r.limit)
	}
}

// checkArmed: what holds data always has a wake-up, and a near one.
func (s *sim) checkArmed(at int) {
	c := s.conn[at]
	if c == nil || c.state != open || c.send.idle() {
		return
	}
	if d := c.Deadline(); d.Sub(s.now) > c.cfg.KeepAlive/4 {
		s.t.Fatalf("side %d: %d octets queued, %d in flight, and nothing happens before %d ns: %+v", at, c.send.queued(), c.send.inFlight(), d.Sub(s.now), c.Stats())
	}
}

// nextAt is when step does something next.
func (s *sim) nextAt() tsn.Instant {
	next := tsn.Never
	for _, c := range s.conn {
		if c != nil {
			next = min(next, c.Deadline())
		}
	}
	if len(s.agenda) > 0 {
		next = min(next, s.agenda[0].at)
	}
	return next
}

// step advances to the next event; false when there is none before end.
func (s *sim) step(end tsn.Instant) bool {
	next, who := end, -1
	for i, c := range s.ghosts {
		if c.Deadline() < next {
			next, who = c.Deadline(), 2+i
		}
	}
	for i, c := range s.conn {
		if c != nil && !s.paused[i] && c.Deadline() < next {
			next, who = c.Deadline(), i
		}
	}
	if len(s.agenda) > 0 && s.agenda[0].at <= next {
		it := heap.Pop(&s.agenda).(item)
		s.now = max(s.now, it.at)
		s.arrive(it)
		return true
	}
	if who < 0 {
		s.now = end
		return false
	}
	if next < s.now {
		next = s.now
	}
	s.now = next
	if who > 1 {
		s.ghost(s.ghosts[who-2], tsn.Timeout{})
		return true
	}
	s.effects(who, s.conn[who].Step(s.now, tsn.Timeout{}))
	if d := s.conn[who].Deadline(); d <= s.now {
		s.t.Fatalf("deadline %d does not lie after %d", d, s.now)
	}
	return true
}

var clientAddr = netip.MustParseAddrPort("10.0.0.1:4000")

func (s *sim) arrive(it item) {
	if it.do != nil {
		it.do()
		return
	}
	if s.paused[it.to] {
		s.held = append(s.held, it)
		return
	}
	if it.to == 1 {
		switch c := s.whose(it.data); {
		case c == nil:
			s.effects(1, s.listener.Step(s.now, Incoming{From: s.addr, Data: it.data}))
			return
		case c != s.conn[1]:
			s.ghost(c, Datagram{From: s.addr, Data: it.data})
			return
		}
	}
	d := Datagram{Data: it.data}
	if it.to == 1 {
		d.From = s.addr
	}
	s.effects(it.to, s.conn[it.to].Step(s.now, d))
}

// whose is the server's connection that a datagram is for, as a driver finds it.
func (s *sim) whose(data []byte) *Conn {
	p, _, err := ParsePacket(data)
	for _, c := range append(s.ghosts, s.conn[1]) {
		if c == nil || err != nil || c.state == closed {
			continue
		}
		if p.Type == TypeInit && p.Params.SourceID == c.remoteID || p.Type == TypeData && p.DestID == c.localID {
			return c
		}
	}
	if c := s.conn[1]; c != nil && (c.state != closed || s.up[0]) {
		return c
	}
	return nil
}

// ghost steps a connection of the server that is not the client's.
func (s *sim) ghost(c *Conn, ev tsn.Event) {
	for _, e := range c.Step(s.now, ev) {
		switch e := e.(type) {
		case Transmit:
			s.send(1, e.Lane, e.Data)
		case Deliver:
			s.t.Fatal("a message came on a connection that is not the client's")
		}
	}
}

// settle makes the connection that the client has chosen the server's.
func (s *sim) settle() {
	for i, c := range s.ghosts {
		if c.localID == s.conn[0].remoteID {
			s.ghosts[i], s.conn[1] = s.conn[1], c
		}
	}
}

func (s *sim) run(until func() bool, limit int64) bool {
	end := s.now.Add(limit)
	for !until() {
		if !s.step(end) {
			return until()
		}
	}
	return true
}

func (s *sim) write(from int, m ...Message) {
	s.effects(from, s.conn[from].Step(s.now, Write{m}))
}

// message makes a message that says which it is: stream, index, order, barrier.
func message(stream uint32, index, order int, fence Fence, size int, rng *rand.Rand) Message {
	b := make([]byte, max(size, 13))
	for i := 13; i < len(b); i++ {
		b[i] = byte(rng.Uint32())
	}
	binary.BigEndian.PutUint32(b, stream)
	binary.BigEndian.PutUint32(b[4:], uint32(index))
	binary.BigEndian.PutUint32(b[8:], uint32(order))
	b[12] = byte(fence)
	return Message{Stream: stream, Fence: fence, Data: b}
}

// checkOrder is the oracle of "Order and fence" in PROTOCOL.md.
func checkOrder(t *testing.T, want, got []Message) {
	t.Helper()
	if len(want) != len(got) {
		t.Fatalf("%d messages written, %d delivered", len(want), len(got))
	}
	next := map[uint32]uint32{}
	at := make([]int, len(want))
	for i, m := range got {
		order := int(binary.BigEndian.Uint32(m.Data[8:]))
		if !bytes.Equal(m.Data, want[order].Data) || m.Stream != want[order].Stream {
			t.Fatalf("message %d differs", order)
		}
		if index := binary.BigEndian.Uint32(m.Data[4:]); index != next[m.Stream] {
			t.Fatalf("stream %d: message %d came, %d is next", m.Stream, index, next[m.Stream])
		}
		next[m.Stream]++
		at[order] = i
	}
	for order, m := range want {
		if m.Fence == NoFence {
			continue
		}
		for o := range want {
			if o < order && at[o] > at[order] || m.Fence == Barrier && o > order && at[o] < at[order] {
				t.Fatalf("message %d and fenced %d were delivered in the wrong order", o, order)
			}
		}
	}
}

// someLanes gives some of the classes lanes of their own.
func someLanes(rng *rand.Rand) map[Class]tsn.Rate {
	own := map[Class]tsn.Rate{}
	for k := range classes {
		if rng.IntN(2) == 0 {
			own[k] = tsn.Rate(rng.IntN(2)) * 50 * tsn.Mbps
		}
	}
	return own
}

func randomMessages(rng *rand.Rand, n int, sizes ...int) []Message {
	var out []Message
	index := map[uint32]int{}
	for order := range n {
		stream := uint32(rng.IntN(6))
		fence := NoFence
		if rng.IntN(20) == 0 {
			fence = AfterAll + Fence(rng.IntN(2))
		}
		m := message(stream, index[stream], order, fence, rng.IntN(sizes[rng.IntN(len(sizes))]), rng)
		m.Class = Class(stream % uint32(classes))
		out = append(out, m)
		index[stream]++
	}
	return out
}

// "data arrives, in order, once, or the link goes down" under all that a
// network does to datagrams, both ways at once.
func TestDeliveryUnderLossDuplicationReordering(t *testing.T) {
	for seed := range uint64(*seeds) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 2))
			w := wire{loss: rng.Float64() * 0.15, dup: rng.Float64() * 0.1, delay: 100_000, jitter: rng.Int64N(3_000_000) + 1}
			cfg := Config{SetupTimeout: 60e9}
			if seed%3 == 0 {
				cfg.Rate = 100 * tsn.Mbps
			}
			if seed%4 == 1 {
				cfg.Window = 3000
			}
			switch seed % 4 {
			case 1:
				cfg.Keys = testKeys
			case 3:
				cfg.Identity = as(testIdentity("alice", "alice"))
			}
			if seed%5 > 2 {
				cfg.Lanes = someLanes(rng)
			}
			s := newSim(t, seed, w, cfg)
			if seed%5 == 2 {
				s.tooLong = 1200 + rng.IntN(272)
			}
			if !s.run(func() bool { return s.up[0] && s.conn[1] != nil }, 60e9) {
				t.Fatalf("not connected: %+v %v", s.closed[0], s.conn[1] != nil)
			}
			s.wire.corrupt = rng.Float64() * 0.05
			var want [2][]Message
			for side := range 2 {
				want[side] = randomMessages(rng, 150, 20, 200, 3000, 50_000)
				for i := 0; i < len(want[side]); i += 5 {
					s.write(side, want[side][i:i+5]...)
					s.run(func() bool { return false }, rng.Int64N(2_000_000))
					if seed%7 == 3 && i == 75 {
						s.move(netip.AddrPortFrom(clientAddr.Addr(), uint16(5000+side)))
					}
					if seed%5 > 1 && i%50 == 25 { // before it and after it the classes go other ways
						s.effects(side, s.conn[side].Step(s.now, Touch{&Config{Rate: cfg.Rate, Lanes: someLanes(rng)}}))
					}
					if seed%5 == 2 && i == 100 {
						s.tooLong = 1200
					}
				}
			}
			s.run(func() bool {
				return s.closed[0] != nil || s.closed[1] != nil || len(s.got[1]) == 150 && len(s.got[0]) == 150
			}, 60e9)
			if s.closed[0] != nil || s.closed[1] != nil {
				t.Fatalf("closed: %v %v (no such loss here kills a link)", s.closed[0], s.closed[1])
			}
			checkOrder(t, want[0], s.got[1])
			checkOrder(t, want[1], s.got[0])
		})
	}
}

// Total loss takes both ends down within the keep-alive bound, and never
// silently (PROTOCOL.md, Recovery and liveness).
func TestTotalLossTakesLinkDown(t *testing.T) {
	for _, busy := range []bool{false, true} {
		s := connected(t, wire{delay: 100_000}, Config{})
		start := s.now
		s.wire.loss = 1
		if busy {
			s.write(0, Message{Data: make([]byte, 100_000)})
		}
		if !s.run(func() bool { return s.closed[0] != nil && s.closed[1] != nil }, 5e9) {
			t.Fatal("still up")
		}
		if s.closed[0].Code != CodeKeepAlive || s.closed[1].Code != CodeKeepAlive {
			t.Errorf("codes %v, %v", s.closed[0].Code, s.closed[1].Code)
		}
		if took := s.now.Sub(start); took < 850_000_000 || took > 1_000_000_000 {
			t.Errorf("took %d ns", took)
		}
	}
}

// move gives the client another address.
func (s *sim) move(to netip.AddrPort) {
	s.addr = to
	s.effects(0, s.conn[0].Step(s.now, Touch{}))
}

var (
	seeds    = flag.Int("seeds", 60, "how many random networks")
	testKeys = []Key{{ID: "old", Secret: []byte("0123456789abcdef")}, {ID: "new", Secret: []byte("fedcba98765432100123456789abcdef")}}
)

func connected(t *testing.T, w wire, cfg Config) *sim {
	t.Helper()
	s := newSim(t, 9, w, cfg)
	if !s.run(func() bool { return s.up[0] && s.conn[1] != nil && s.conn[0].send.inFlight() == 0 }, 5e9) {
		t.Fatalf("not connected: %+v %v", s.closed[0], s.conn[1] != nil)
	}
	s.run(func() bool { return false }, 10_000_000)
	return s
}

// An end that was not scheduled for long does not blame its peer.
func TestAbsenceIsNotPeerDeath(t *testing.T) {
	s := connected(t, wire{delay: 100_000}, Config{})
	s.now = s.now.Add(20e9) // nobody ran
	s.run(func() bool { return false }, 3e9)
	if s.closed[0] != nil || s.closed[1] != nil {
		t.Fatalf("closed: %v %v", s.closed[0], s.closed[1])
	}
}

// A tail loss is repaired by the probe within a few round trips: 1 % loss
// leaves the 99th percentile of paced echoes under 5 ms.
func TestTailLossIsRepairedFast(t *testing.T) {
	s := connected(t, wire{delay: 100_000, loss: 0.01}, Config{})
	var slow int
	for i := range 2000 {
		start := s.now
		s.write(0, message(1, i, i, NoFence, 64, s.rng))
		if !s.run(func() bool { return len(s.got[1]) == i+1 }, 1e9) {
			t.Fatal("lost")
		}
		if s.now.Sub(start) > 5_000_000 {
			slow++
		}
		s.run(func() bool { return false }, 2_000_000)
	}
	if slow > 20 {
		t.Errorf("%d of 2000 took over 5 ms", slow)
	}
}

// A small message does not wait behind another stream's large ones.
func TestNoHeadOfLineBlocking(t *testing.T) {
	s := connected(t, wire{delay: 50_000, rate: 100 * tsn.Mbps, queue: 100e6}, Config{Rate: 95 * tsn.Mbps, Window: 1 << 20})
	s.write(0, Message{Stream: 1, Data: make([]byte, 16<<20)})
	s.run(func() bool { return false }, 50_000_000)
	start := s.now
	s.write(0, Message{Stream: 2, Data: []byte("call")})
	if !s.run(func() bool { return len(s.got[1]) == 1 }, 2e9) || len(s.got[1][0].Data) != 4 {
		t.Fatal("the small message did not come first")
	}
	if took := s.now.Sub(start); took > 2_000_000 {
		t.Errorf("took %d us", took/1000)
	}
	if !s.run(func() bool { return len(s.got[1]) == 2 }, 5e9) {
		t.Fatalf("bulk does not finish: %+v", s.conn[0].Stats())
	}
}

// The stall of the kind "queued, nothing sent, still connected" cannot happen:
// 64 MiB at 100 Mbit/s with drops finish, and no wake-up is ever missing.
func TestBulkWithDropsFinishes(t *testing.T) {
	s := connected(t, wire{delay: 50_000, loss: 0.01, rate: 100 * tsn.Mbps, queue: 5e6}, Config{Rate: 95 * tsn.Mbps, MaxMessage: 65 << 20})
	start := s.now
	s.write(0, Message{Stream: 1, Data: make([]byte, 64<<20)})
	if !s.run(func() bool { return len(s.got[1]) == 1 || s.closed[0] != nil }, 30e9) || s.closed[0] != nil {
		t.Fatalf("not finished: %+v, %v", s.conn[0].Stats(), s.closed[0])
	}
	if mbit := 8 * (64 << 20) * 1000 / s.now.Sub(start); mbit < 80 {
		t.Errorf("%d Mbit/s, want at least 80: %+v", mbit, s.conn[0].Stats())
	}
}

// A reader that does not read stops the writer at the window, and reading
// starts it again although updates get lost.
func TestCreditStopsAndStarts(t *testing.T) {
	s := connected(t, wire{delay: 100_000, loss: 0.2}, Config{Window: 10_000, Stall: 60e9})
	s.autoRead = false
	for i := range 100 {
		s.write(0, message(1, i, i, NoFence, 1000, s.rng))
	}
	s.run(func() bool { return false }, 1e9)
	if n := len(s.got[1]); n < 5 || n > 10 {
		t.Fatalf("%d messages of 1000 octets came through a window of 10000", n)
	}
	for read := 0; len(s.got[1]) < 100; {
		n := len(s.got[1])
		s.effects(1, s.conn[1].Step(s.now, Read{(n - read) * 1001}))
		read = n
		if !s.run(func() bool { return len(s.got[1]) > n }, 5e9) {
			t.Fatalf("stuck at %d: %+v %v", n, s.conn[0].Stats(), s.closed[0])
		}
	}
}

// No progress for the stall time takes the link down although the peer is
// alive: liveness never masks it.
func TestStallTakesLinkDown(t *testing.T) {
	s := connected(t, wire{delay: 100_000}, Config{Window: 10_000})
	s.autoRead = false
	big := func() Message { return Message{Data: make([]byte, 9000)} }
	s.write(0, big(), big(), big(), big())
	s.run(func() bool { return s.closed[0] != nil && s.closed[1] != nil }, 30e9)
	if s.closed[0] == nil || s.closed[0].Code != CodeStalled || s.closed[1] == nil || s.closed[1].Code != CodeStalled {
		t.Fatalf("closed %v %v", s.closed[0], s.closed[1])
	}
}

// The rate holds on the wire, overhead included.
func TestRateIsKept(t *testing.T) {
	testRateIsKept(t, false)
	testRateIsKept(t, true)
}

func testRateIsKept(t *testing.T, ipv6 bool) {
	overhead := map[bool]uint64{false: wireOverhead, true: wireOverhead + 20}[ipv6]
	s := connected(t, wire{delay: 100_000}, Config{Rate: 10 * tsn.Mbps, IPv6: ipv6})
	s.run(func() bool { return false }, 1e9)
	before, packets, start := s.conn[0].stats.OctetsSent, s.conn[0].stats.PacketsSent, s.now
	s.write(0, Message{Data: make([]byte, 1<<20)})
	s.run(func() bool { return len(s.got[1]) == 1 }, 5e9)
	octets := s.conn[0].stats.OctetsSent - before + overhead*(s.conn[0].stats.PacketsSent-packets)
	kbit := octets * 8_000_000 / uint64(s.now.Sub(start))
	if kbit > 10_050 || kbit < 9_800 {
		t.Errorf("%d kbit/s", kbit)
	}
}

// Small messages written together share datagrams.
func TestCoalescing(t *testing.T) {
	s := connected(t, wire{delay: 100_000}, Config{})
	before := s.conn[0].stats.PacketsSent
	msgs := randomMessages(s.rng, 100, 20)
	s.write(0, msgs...)
	s.run(func() bool { return len(s.got[1]) == 100 }, 1e9)
	if n := s.conn[0].stats.PacketsSent - before; n > 6 {
		t.Errorf("%d packets for 100 small messages", n)
	}
}

// Orderly teardown: the peer learns at once.
func TestCloseIsTold(t *testing.T) {
	s := connected(t, wire{delay: 100_000}, Config{})
	s.effects(0, s.conn[0].Step(s.now, Close{"done"}))
	s.run(func() bool { return s.closed[1] != nil }, 1e6)
	if s.closed[1] == nil || !s.closed[1].Remote || s.closed[1].Text != "done" {
		t.Fatalf("closed: %+v", s.closed[1])
	}
}

// A restarted peer answers RESET, which is believed only with the right
// numbers (PROTOCOL.md, Set-up).
func TestResetOfUnknownConnection(t *testing.T) {
	s := connected(t, wire{delay: 100_000}, Config{})
	forged := AppendPacket(nil, Packet{Type: TypeReset, Version: Version, ResetID: s.conn[0].remoteID, PacketNumber: 99999})
	s.effects(0, s.conn[0].Step(s.now, Datagram{Data: forged}))
	if s.closed[0] != nil {
		t.Fatal("believed a RESET for a packet never sent")
	}
	s.conn[1] = nil // restarted
	s.write(0, Message{Data: make([]byte, 10)})
	s.run(func() bool { return s.closed[0] != nil }, 1e8)
	if s.closed[0] == nil || s.closed[0].Code != CodeReset {
		t.Fatalf("closed: %+v, %+v", s.closed[0], s.listener.Stats())
	}
}

// No amplification, and no state before the address is proven.
func TestListenerIsStatelessAndDoesNotAmplify(t *testing.T) {
	s := newSim(t, 3, wire{loss: 1}, Config{})
	init := s.conn[0].Step(s.now.Add(200_000_000), tsn.Timeout{})[0].(Transmit).Data
	effects := s.listener.Step(s.now, Incoming{From: clientAddr, Data: init})
	if len(effects) != 1 {
		t.Fatalf("effects %v", effects)
	}
	retry := effects[0].(Reply)
	if len(retry.Data) > len(init) {
		t.Errorf("answer of %d octets to %d", len(retry.Data), len(init))
	}
	p, _, err := ParsePacket(retry.Data)
	if err != nil || p.Type != TypeRetry {
		t.Fatal(p, err)
	}
	q, _, _ := ParsePacket(init)
	q.Token = p.Token
	second := AppendPacket(nil, q)
	other := netip.MustParseAddrPort("10.0.0.2:4000")
	if e := s.listener.Step(s.now, Incoming{From: other, Data: second}); len(e) != 0 {
		t.Error("token accepted from another address")
	}
	if e := s.listener.Step(s.now.Add(11e9), Incoming{From: clientAddr, Data: second}); len(e) != 0 {
		t.Error("old token accepted")
	}
	if e := s.listener.Step(s.now.Add(1e9), Incoming{From: clientAddr, Data: second}); len(e) != 2 {
		t.Error("good token refused")
	}
}

func TestOtherVersionIsRefused(t *testing.T) {
	s := newSim(t, 3, wire{loss: 1}, Config{})
	init := s.conn[0].Step(s.now.Add(200_000_000), tsn.Timeout{})[0].(Transmit).Data
	init[1] = 3<<4 | byte(TypeInit)
	reply := s.listener.Step(s.now, Incoming{From: clientAddr, Data: init})[0].(Reply).Data
	reply[1] = 3<<4 | byte(TypeRefuse) // as a newer server would answer this client
	s.effects(0, s.conn[0].Step(s.now.Add(300_000_000), Datagram{Data: reply}))
	if s.closed[0] == nil || s.closed[0].Code != CodeVersion {
		t.Fatalf("closed: %+v", s.closed[0])
	}
}

func TestSetupGivesUp(t *testing.T) {
	s := newSim(t, 3, wire{loss: 1}, Config{})
	s.run(func() bool { return s.closed[0] != nil }, 10e9)
	if s.closed[0] == nil || s.closed[0].Code != CodeSetupTimeout {
		t.Fatalf("closed: %+v", s.closed[0])
	}
}
