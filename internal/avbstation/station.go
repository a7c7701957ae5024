package avbstation

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"time"

	"github.com/mdlayher/packet"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"tsnswitch"
	"tsnswitch/srp/mrp"
)

// StationConfig says how a Station behaves; the zero value is an end station on
// a point-to-point link with the standard's timers.
type StationConfig struct {
	Timers  mrp.Timers
	Shared  bool         // more than one other system on the LAN
	Domains []mrp.Domain // declared from the start
	Seed    uint64
}

// Station is an end station: it declares what it is told to, and knows what the
// others declare. All methods may be called from any goroutine.
type Station struct {
	MAC   tsn.MAC
	conn  *packet.Conn
	start time.Time
	calls chan func()
	in    chan []byte
	done  chan struct{} // closed when the loop has ended
	quit  chan struct{}

	// Owned by the loop.
	parts    []*mrp.Participant
	apps     []*mrp.Application
	follows  map[tsn.StreamID]mrp.Param // listened to, with what was said last
	talks    map[tsn.StreamID]mrp.Value
	seen     Seen
	lost     int // declarations
	watchers map[chan struct{}]bool
}

// Seen is what others declare to a Station.
type Seen struct {
	Talkers   map[tsn.StreamID]mrp.Talker // the latest word on each
	Listeners map[tsn.StreamID]mrp.Param
	Domains   map[mrp.Domain]bool
	VLANs     map[tsn.VID]bool
	Groups    map[tsn.MAC]bool
	Systems   map[tsn.MAC]bool // addresses that MRPDUs came from
}

func (s Seen) clone() Seen {
	return Seen{maps.Clone(s.Talkers), maps.Clone(s.Listeners), maps.Clone(s.Domains), maps.Clone(s.VLANs), maps.Clone(s.Groups), maps.Clone(s.Systems)}
}

// Open starts a Station on an interface of the caller's network namespace. It
// takes part in all three protocols until Close.
func Open(ifname string, cfg StationConfig) (*Station, error) {
	ifi, err := net.InterfaceByName(ifname)
	if err != nil {
		return nil, err
	}
	s := &Station{
		MAC: tsn.MAC(ifi.HardwareAddr), start: time.Now(), calls: make(chan func()), in: make(chan []byte, 64),
		done: make(chan struct{}), quit: make(chan struct{}),
		apps:    []*mrp.Application{mrp.MSRP(), mrp.MVRP(), mrp.MMRP()},
		follows: map[tsn.StreamID]mrp.Param{}, talks: map[tsn.StreamID]mrp.Value{}, watchers: map[chan struct{}]bool{},
		seen: Seen{map[tsn.StreamID]mrp.Talker{}, map[tsn.StreamID]mrp.Param{}, map[mrp.Domain]bool{}, map[tsn.VID]bool{}, map[tsn.MAC]bool{}, map[tsn.MAC]bool{}},
	}
	if s.conn, err = Socket(ifi, s.apps); err != nil {
		return nil, fmt.Errorf("socket on %s: %w", ifname, err)
	}
	for i, a := range s.apps {
		p := mrp.NewParticipant(a, mrp.Config{Timers: cfg.Timers, PointToPoint: !cfg.Shared, Seed: cfg.Seed + uint64(i)})
		p.Start(0)
		s.parts = append(s.parts, p)
	}
	for _, d := range cfg.Domains {
		s.parts[0].Join(0, d.Value(), 0, true)
	}
	go s.read()
	go s.loop()
	return s, nil
}

// Socket opens a socket that sees the MRPDUs of others.
func Socket(ifi *net.Interface, apps []*mrp.Application) (*packet.Conn, error) {
	filter := []bpf.Instruction{bpf.LoadExtension{Num: bpf.ExtType}, bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.PACKET_OUTGOING, SkipTrue: 4}, bpf.LoadAbsolute{Off: 12, Size: 2}}
	for i, a := range apps {
		filter = append(filter, bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(a.EtherType), SkipTrue: uint8(len(apps) - i)})
	}
	filter[1] = bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.PACKET_OUTGOING, SkipTrue: uint8(1 + len(apps))}
	raw, err := bpf.Assemble(append(filter, bpf.RetConstant{Val: 0}, bpf.RetConstant{Val: 1 << 16}))
	if err != nil {
		return nil, err
	}
	conn, err := packet.Listen(ifi, packet.Raw, unix.ETH_P_ALL, &packet.Config{Filter: raw})
	if err != nil {
		return nil, err
	}
	for _, a := range apps {
		if err := conn.JoinGroup(a.Group[:]); err != nil {
			conn.Close()
			return nil, err
		}
	}
	return conn, nil
}

// Close ends the Station without a word, as one that loses its power.
func (s *Station) Close() {
	s.do(func() { close(s.quit) })
	s.conn.Close()
	<-s.done
}

// do runs f in the loop and waits for it; after Close it does nothing.
func (s *Station) do(f func()) {
	ran := make(chan struct{})
	select {
	case s.calls <- func() { f(); close(ran) }:
		<-ran
	case <-s.done:
	}
}

func (s *Station) read() {
	for {
		b := make([]byte, 2048)
		n, _, err := s.conn.ReadFrom(b)
		if errors.Is(err, unix.ENETDOWN) {
			continue
		}
		if err != nil {
			return
		}
		select {
		case s.in <- b[:n]:
		case <-s.done:
			return
		}
	}
}

func (s *Station) loop() {
	defer close(s.done)
	for {
		timer := time.NewTimer(time.Until(s.start.Add(time.Duration(min(s.deadline(), s.now()+1<<40)))))
		select {
		case f := <-s.calls:
			f()
		case b := <-s.in:
			s.frame(b)
		case <-timer.C:
		case <-s.quit:
			timer.Stop()
			return
		}
		timer.Stop()
		s.tick()
	}
}

func (s *Station) now() tsn.Instant { return tsn.Instant(time.Since(s.start)) }

func (s *Station) deadline() tsn.Instant {
	d := tsn.Never
	for _, p := range s.parts {
		d = min(d, p.Deadline())
	}
	return d
}

func (s *Station) frame(b []byte) {
	for i, a := range s.apps {
		if pdu, ok := a.PDU(b); ok {
			s.seen.Systems[tsn.MAC(b[6:12])] = true
			s.told(i, s.parts[i].Receive(s.now(), pdu))
		}
	}
}

func (s *Station) tick() {
	for i, p := range s.parts {
		for p.Deadline() <= s.now() {
			pdu, told := p.Tick(s.now())
			s.told(i, told)
			if pdu != nil {
				s.send(s.apps[i].Frame(s.MAC, pdu))
			}
		}
	}
}

// send drops what cannot be sent: the protocol says it again.
func (s *Station) send(frame []byte) {
	_, _ = s.conn.WriteTo(frame, &packet.Addr{HardwareAddr: frame[:6]})
}

// told takes what a participant indicates, and answers the talkers that are listened to.
func (s *Station) told(app int, told []mrp.Indication) {
	for _, n := range told {
		s.note(app, n)
	}
	if len(told) == 0 {
		return
	}
	for _, id := range slices.SortedFunc(maps.Keys(s.follows), func(a, b tsn.StreamID) int { return slices.Compare(a[:], b[:]) }) {
		s.answer(id)
	}
	for w := range s.watchers {
		select {
		case w <- struct{}{}:
		default:
		}
	}
}

func (s *Station) note(app int, n mrp.Indication) {
	gone := n.Kind == mrp.IndicateLeave
	switch s.apps[app].Name {
	case "MVRP":
		if vid, err := mrp.ParseVID(n.Value); err == nil {
			set(s.seen.VLANs, vid, true, gone)
		}
	case "MMRP":
		if g, err := mrp.ParseMAC(n.Value); err == nil {
			set(s.seen.Groups, g, true, gone)
		}
	default:
		s.noteStream(n, gone)
	}
}

func (s *Station) noteStream(n mrp.Indication, gone bool) {
	if gone {
		s.lost++
	}
	switch n.Value.Type {
	case mrp.TypeTalkerAdvertise, mrp.TypeTalkerFailed:
		t, err := mrp.ParseTalker(n.Value)
		if err != nil || gone && s.seen.Talkers[t.StreamID] != t { // another word on it counts
			return
		}
		set(s.seen.Talkers, t.StreamID, t, gone)
	case mrp.TypeListener:
		if id, err := mrp.ParseListener(n.Value); err == nil {
			set(s.seen.Listeners, id, n.Param, gone)
		}
	case mrp.TypeDomain:
		if d, err := mrp.ParseDomain(n.Value); err == nil {
			set(s.seen.Domains, d, true, gone)
		}
	}
}

func set[K comparable, V any](m map[K]V, k K, v V, gone bool) {
	if gone {
		delete(m, k)
	} else {
		m[k] = v
	}
}

// answer declares what fits the talker of a stream that is listened to.
func (s *Station) answer(id tsn.StreamID) {
	p := mrp.ListenerIgnore
	if t, ok := s.seen.Talkers[id]; ok && t.Failed {
		p = mrp.ListenerAskingFailed
	} else if ok {
		p = mrp.ListenerReady
	}
	if p == s.follows[id] {
		return
	}
	s.follows[id] = p
	if p == mrp.ListenerIgnore {
		s.parts[0].Leave(s.now(), mrp.ListenerValue(id))
		return
	}
	s.parts[0].Join(s.now(), mrp.ListenerValue(id), p, true)
}

// Talk declares a stream; another declaration of the same stream is withdrawn.
func (s *Station) Talk(t mrp.Talker) {
	s.do(func() {
		s.quiet(t.StreamID)
		s.talks[t.StreamID] = t.Value()
		s.parts[0].Join(s.now(), t.Value(), 0, true)
	})
}

// Quiet withdraws a stream.
func (s *Station) Quiet(id tsn.StreamID) { s.do(func() { s.quiet(id) }) }

func (s *Station) quiet(id tsn.StreamID) {
	if v, ok := s.talks[id]; ok {
		delete(s.talks, id)
		s.parts[0].Leave(s.now(), v)
	}
}

// Listen asks for a stream: Ready once its talker is heard, asking failed while
// that has failed.
func (s *Station) Listen(id tsn.StreamID) {
	s.do(func() {
		s.follows[id] = mrp.ListenerIgnore
		s.answer(id)
	})
}

// Unlisten withdraws it.
func (s *Station) Unlisten(id tsn.StreamID) {
	s.do(func() {
		if s.follows[id] != mrp.ListenerIgnore {
			s.parts[0].Leave(s.now(), mrp.ListenerValue(id))
		}
		delete(s.follows, id)
	})
}

// JoinVLAN and LeaveVLAN declare a VLAN by MVRP, JoinGroup and LeaveGroup a group
// address by MMRP.
func (s *Station) JoinVLAN(vid tsn.VID) {
	s.do(func() { s.parts[1].Join(s.now(), mrp.VIDValue(vid), 0, true) })
}

// LeaveVLAN withdraws JoinVLAN.
func (s *Station) LeaveVLAN(vid tsn.VID) {
	s.do(func() { s.parts[1].Leave(s.now(), mrp.VIDValue(vid)) })
}

// JoinGroup declares a group address by MMRP.
func (s *Station) JoinGroup(g tsn.MAC) {
	s.do(func() { s.parts[2].Join(s.now(), mrp.MACValue(g), 0, true) })
}

// LeaveGroup withdraws JoinGroup.
func (s *Station) LeaveGroup(g tsn.MAC) {
	s.do(func() { s.parts[2].Leave(s.now(), mrp.MACValue(g)) })
}

// AskAll sends a LeaveAll for all attribute types of MSRP.
func (s *Station) AskAll() {
	pdu := []byte{0}
	for _, t := range s.apps[0].Types {
		first := make([]byte, t.Length)
		pdu = append(pdu, t.Type, byte(t.Length), 0, byte(2+t.Length+2), 0x20, 0)
		pdu = append(append(pdu, first...), 0, 0)
	}
	s.Inject(s.apps[0].Frame(s.MAC, append(pdu, 0, 0)))
}

// Flush waits until all that is to be said has been sent.
func (s *Station) Flush(limit time.Duration) error {
	end := time.NewTimer(limit)
	defer end.Stop()
	look := time.NewTicker(10 * time.Millisecond)
	defer look.Stop()
	for {
		busy := false
		s.do(func() {
			for _, p := range s.parts {
				busy = busy || slices.ContainsFunc(p.Attributes(), func(a mrp.Attribute) bool { return a.Applicant == "LA" })
			}
		})
		if !busy {
			return nil
		}
		select {
		case <-look.C:
		case <-end.C:
			return errors.New("something is still to be withdrawn")
		}
	}
}

// Inject sends a frame of any kind.
func (s *Station) Inject(frame []byte) { s.do(func() { s.send(frame) }) }

// Seen returns what others declare.
func (s *Station) Seen() (out Seen) {
	s.do(func() { out = s.seen.clone() })
	return out
}

// Lost counts the declarations of MSRP that have ended.
func (s *Station) Lost() (n int) {
	s.do(func() { n = s.lost })
	return n
}

// Counters returns those of MSRP.
func (s *Station) Counters() (c mrp.Counters) {
	s.do(func() { c = s.parts[0].Counters() })
	return c
}

// Until waits until what others declare is as wanted. The error of an expired
// context says what it was in the end.
func (s *Station) Until(ctx context.Context, ok func(Seen) bool) error {
	wake := make(chan struct{}, 1)
	s.do(func() { s.watchers[wake] = true })
	defer s.do(func() { delete(s.watchers, wake) })
	for {
		seen := s.Seen()
		if ok(seen) {
			return nil
		}
		select {
		case <-wake:
		case <-s.done:
			return errors.New("the station is closed")
		case <-ctx.Done():
			return fmt.Errorf("%w: %+v", ctx.Err(), seen)
		}
	}
}
