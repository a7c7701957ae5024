package gptp

import (
	"errors"

	tsn "tsnswitch"
	"tsnswitch/gptp/ptpmsg"
)

// System is a time-aware system: a tsn.Machine.
//
// Events: tsn.Received, tsn.Sent, tsn.LinkChanged, tsn.Timeout, SetSource,
// SetPortStates, RequestIntervals, SetClockQuality.
// Effects: tsn.Send, tsn.Notice, RelationChanged.
type System struct {
	cfg       Config
	links     []*linkPort // ascending port
	instances []*Instance // ascending domain
	standby   *hotStandbySystem

	now      tsn.Instant
	deadline tsn.Instant
	started  bool
	fx       []tsn.Effect
	dec      ptpmsg.Decoder
	tag      uint64

	// The newest pair of LocalClock and now, to tell about what LocalClock reads.
	stampLocal tsn.LocalTime
	stampNow   tsn.Instant
}

// New checks the configuration and makes a System with every port down.
func New(cfg Config) (*System, error) {
	cfg, err := cfg.normal()
	if err != nil {
		return nil, err
	}
	s := &System{cfg: cfg}
	seed := cfg.Seed
	for _, pc := range cfg.Ports {
		s.links = append(s.links, newLinkPort(s, pc, &seed))
	}
	for k, dc := range cfg.Domains {
		s.instances = append(s.instances, newInstance(s, dc, k > 0 || cfg.CommonLinkDelay, &seed))
	}
	if cfg.HotStandby != nil {
		s.standby = newHotStandbySystem(s, *cfg.HotStandby)
	}
	return s, nil
}

// Deadline implements tsn.Machine.
func (s *System) Deadline() tsn.Instant { return s.deadline }

// Step implements tsn.Machine.
func (s *System) Step(now tsn.Instant, ev tsn.Event) []tsn.Effect {
	s.fx = s.fx[:0]
	if s.started && s.deadline != tsn.Never && now.Sub(s.deadline) > stallGrace {
		late := now.Sub(s.now) // it may have stood still ever since
		for _, i := range s.instances {
			for _, p := range i.ports {
				p.info.putOff(late)
				p.capableRx.putOff(late)
			}
		}
	}
	s.now = now
	if !s.started {
		s.started = true
		for _, i := range s.instances {
			i.bmca.run()
		}
	}
	switch ev := ev.(type) {
	case tsn.Received:
		s.received(ev)
	case tsn.Sent:
		s.sent(ev)
	case tsn.LinkChanged:
		if l := s.link(ev.Port); l != nil {
			l.setUp(ev.Up)
		}
	case SetSource:
		for _, i := range s.instances {
			i.master.setSource(ev)
		}
	case RequestIntervals:
		s.requestIntervals(ev)
	case SetPortStates:
		s.setPortStates(ev)
	case SetClockQuality:
		s.setClockQuality(ev)
	}
	s.timers()
	return s.fx
}

// timers runs what is due, then finds the next deadline.
func (s *System) timers() {
	s.deadline = tsn.Never
	for _, l := range s.links {
		s.deadline = min(s.deadline, l.timer())
	}
	for _, i := range s.instances {
		s.deadline = min(s.deadline, i.timers())
	}
	if s.standby != nil {
		s.deadline = min(s.deadline, s.standby.run())
	}
}

func (s *System) link(n tsn.Port) *linkPort {
	for _, l := range s.links {
		if l.cfg.Port == n {
			return l
		}
	}
	return nil
}

// Instance returns the PTP Instance of a domain, or nil.
func (s *System) Instance(domain uint8) *Instance {
	for _, i := range s.instances {
		if i.cfg.Domain == domain {
			return i
		}
	}
	return nil
}

func (s *System) emit(e tsn.Effect) { s.fx = append(s.fx, e) }

// stamped remembers the newest reading of LocalClock.
func (s *System) stamped(l tsn.LocalTime) { s.stampLocal, s.stampNow = l, s.now }

// localNow estimates LocalClock's reading; good to the latency of the last
// stamp, which is enough to hang a relation on.
func (s *System) localNow() tsn.LocalTime {
	return s.stampLocal + tsn.LocalTime(s.now.Sub(s.stampNow))
}

// received decodes a frame and gives it to the machine that waits for it.
func (s *System) received(ev tsn.Received) {
	l := s.link(ev.Port)
	if l == nil {
		return
	}
	if !l.up || l.cfg.Disabled {
		l.count.Unexpected++
		return
	}
	_, payload, err := ptpmsg.ParseFrame(ev.Frame)
	if err != nil {
		l.count.NotGPTP++
		return
	}
	m, err := s.dec.Decode(payload)
	if err != nil {
		if errors.Is(err, ptpmsg.ErrType) {
			l.count.NotGPTP++
		} else {
			l.count.Malformed++
		}
		return
	}
	if !l.dispatch(m, ev.Ingress, ev.Stamped) {
		l.count.OtherDomain++
		return
	}
	if ev.Stamped {
		s.stamped(ev.Ingress)
	}
}

// sent gives an egress time to the machine that sent the frame. A time that
// comes after its machine went on costs that one message.
func (s *System) sent(ev tsn.Sent) {
	l := s.link(ev.Port)
	if l == nil || ev.Tag == 0 {
		return
	}
	if ev.Stamped {
		s.stamped(ev.Egress)
	} else {
		l.count.LostTransmitStamps++
	}
	for _, d := range l.delays {
		if d.sent(ev) {
			return
		}
	}
	for _, p := range l.ports {
		if p.tx.tag == ev.Tag {
			p.tx.sent(ev.Egress, ev.Stamped)
			return
		}
	}
	if ev.Stamped {
		l.count.LateTransmitStamps++
	}
}
