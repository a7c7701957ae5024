package srp

import (
	"runtime"
	"testing"

	"tsnswitch"
	"tsnswitch/srp/mrp"
)

// crowd is a bridge of eight ports, and a talker behind port 1 that declares n
// small streams; all but the first have a listener at port 2.
type crowd struct {
	*Instance
	now      tsn.Instant
	talker   *mrp.Participant
	listener *mrp.Participant
	ids      []tsn.StreamID
	pdus     int
}

func newCrowd(b *testing.B, n int) *crowd {
	timers := mrp.Timers{LeaveAll: 1 << 50} // what it costs is not this step's
	cfg := Config{MaxStreams: 2 * n, MaxGroups: 2 * n, MSRP: &MSRPConfig{BridgeID: tsn.MakeBridgeID(0x8000, tsn.MAC{2, 0, 0, 0, 0xb, 1}), Timers: timers}}
	for i := range 8 {
		cfg.Ports = append(cfg.Ports, PortConfig{Port: tsn.Port(i + 1)})
	}
	m, err := New(cfg)
	if err != nil {
		b.Fatal(err)
	}
	c := &crowd{Instance: m}
	for i := range 8 {
		c.step(tsn.LinkChanged{Port: tsn.Port(i + 1), Up: true, Rate: 10 * tsn.Gbps})
	}
	station := func() *mrp.Participant {
		p := mrp.NewParticipant(mrp.MSRP(), mrp.Config{PointToPoint: true, MaxAttributes: 4 * n, Timers: timers})
		p.Start(0)
		for _, d := range DefaultSRClasses() {
			p.Join(0, d.domain().Value(), 0, false)
		}
		return p
	}
	c.talker, c.listener = station(), station()
	for i := range n {
		t := mrp.Talker{
			StreamID: tsn.StreamID{2, 0, 0, 0, byte(i >> 8), byte(i)}, DestinationAddress: tsn.MAC{0x91, 0xe0, 0xf0, 0, byte(i >> 8), byte(i)},
			VID: 2, MaxFrameSize: 46, MaxIntervalFrames: 1, DataFramePriority: 3, Rank: 1,
		}
		c.ids = append(c.ids, t.StreamID)
		c.talker.Join(0, t.Value(), 0, true)
		if i > 0 {
			c.listener.Join(0, mrp.ListenerValue(t.StreamID), mrp.ListenerReady, true)
		}
	}
	c.settle()
	return c
}

func (c *crowd) step(ev tsn.Event) {
	for _, e := range c.Step(c.now, ev) {
		s, ok := e.(tsn.Send)
		if !ok || s.Port > 2 {
			continue
		}
		pdu, _ := mrp.MSRP().PDU(s.Frame)
		map[tsn.Port]*mrp.Participant{1: c.talker, 2: c.listener}[s.Port].Receive(c.now, pdu)
	}
}

// settle lets time pass until nobody has anything to say for two seconds.
func (c *crowd) settle() {
	for quiet := c.now.Add(2 * int64(second)); ; {
		next := min(c.Deadline(), c.talker.Deadline(), c.listener.Deadline())
		if next > quiet {
			return
		}
		c.now = max(c.now, next)
		for port, s := range []*mrp.Participant{c.talker, c.listener} {
			if s.Deadline() > c.now {
				continue
			}
			if pdu, _ := s.Tick(c.now); pdu != nil {
				c.pdus++
				c.step(tsn.Received{Port: tsn.Port(port + 1), Frame: mrp.MSRP().Frame(tsn.MAC{2, 0, 0, 0, 1, byte(port)}, pdu)})
			}
		}
		if c.Deadline() <= c.now {
			c.step(tsn.Timeout{})
		}
	}
}

// One listener comes and goes beside 999 reserved streams: all that the bridge,
// the station and their PDUs take for it.
func BenchmarkListener(b *testing.B) {
	for _, n := range []int{10, 100, 1000} {
		b.Run(map[int]string{10: "of10", 100: "of100", 1000: "of1000"}[n], func(b *testing.B) {
			c := newCrowd(b, n)
			if got := len(c.Streams()); got != n-1 {
				b.Fatalf("%d streams are reserved", got)
			}
			b.ReportAllocs()
			b.ResetTimer()
			for range b.N {
				c.listener.Join(c.now, mrp.ListenerValue(c.ids[0]), mrp.ListenerReady, true)
				c.settle()
				c.listener.Leave(c.now, mrp.ListenerValue(c.ids[0]))
				c.settle()
			}
		})
	}
}

// 1,000 streams come to a bridge of eight ports, and 999 listeners: until all is
// reserved and quiet.
func BenchmarkArrival(b *testing.B) {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	b.ReportAllocs()
	var c *crowd
	for range b.N {
		c = newCrowd(b, 1000)
	}
	b.StopTimer()
	runtime.GC()
	runtime.ReadMemStats(&after)
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/1000, "octets/stream")
	b.ReportMetric(float64(c.pdus), "PDUs")
	runtime.KeepAlive(c)
}

// The dearest PDUs there are: listeners for as many streams as fit, of which
// nobody talks, then their leaves.
func BenchmarkBabble(b *testing.B) {
	c := newCrowd(b, 512)
	pdu := func(event byte) []byte {
		const values = 2500
		v := append([]byte{0, mrp.TypeListener, 8, 0, 0, values >> 8, values & 0xff, 6}, make([]byte, 7)...)
		for range (values + 2) / 3 {
			v = append(v, event*43)
		}
		for range values / 4 {
			v = append(v, 0xaa)
		}
		v = append(v, 0, 0)
		v[3], v[4] = byte((len(v)-5)>>8), byte(len(v)-5)
		return mrp.MSRP().Frame(tsn.MAC{2, 0, 0, 0, 1, 9}, v)
	}
	joins, leaves := pdu(byte(mrp.JoinIn)), pdu(byte(mrp.Lv))
	if len(joins) > 1514 {
		b.Fatalf("%d octets", len(joins))
	}
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		c.step(tsn.Received{Port: 3, Frame: [][]byte{joins, leaves}[i%2]})
	}
	b.StopTimer()
	b.ReportMetric(float64(c.MSRPPorts()[2].Counters.Dropped)/float64(b.N), "dropped/PDU")
}
