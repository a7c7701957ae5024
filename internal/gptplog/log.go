package gptplog

import (
	"context"
	"fmt"
	"math"
	"slices"
	"sync"

	"tsnswitch"
	"tsnswitch/gptp"
	"tsnswitch/internal/api"
)

// Limits are how much a Log keeps. Zero means the default.
type Limits struct {
	Syncs   int // samples of Syncs, for each domain; 2400
	Seconds int // samples of seconds, for each domain; 3600
	Events  int // 512
}

// Wall joins the monotonic clock and the wall clock: both were read at once.
type Wall struct {
	At   tsn.Instant
	Unix int64 // ns
}

func (w Wall) unix(at tsn.Instant) int64 { return w.Unix - w.At.Sub(at) }

// sample is what is kept of an api.GPTPSample: 40 octets.
type sample struct {
	at     tsn.Instant
	offset int64 // ns
	rate   float64
	delay  float32 // ns
	gm     gptp.ClockIdentity
	state  gptp.TimeState
}

// Log is the memory. Use its methods from many goroutines.
type Log struct {
	limits Limits

	mu      sync.Mutex
	domains []*domain // ascending
	standby bool      // hot standby: the target's relation is none of a domain's
	events  ring[stampedEvent]
	more    chan struct{} // closed and replaced when there is something new
}

type stampedEvent struct {
	at tsn.Instant
	api.Event
}

// domain is the memory of one domain.
type domain struct {
	number  uint8
	self    gptp.ClockIdentity
	syncs   ring[sample]
	seconds ring[sample]

	delay  float32 // of the slave port, as last told
	peak   int64   // offset farthest from zero since the last second began
	synced bool    // there was a Sync since
}

// New makes an empty Log.
func New(l Limits) *Log {
	orElse(&l.Syncs, 2400)
	orElse(&l.Seconds, 3600)
	orElse(&l.Events, 512)
	return &Log{limits: l, events: ring[stampedEvent]{limit: l.Events}, more: make(chan struct{})}
}

func orElse(v *int, def int) {
	if *v == 0 {
		*v = def
	}
}

func (l *Log) domain(n uint8) *domain {
	k, ok := slices.BinarySearchFunc(l.domains, n, func(d *domain, n uint8) int { return int(d.number) - int(n) })
	if !ok {
		d := &domain{number: n, syncs: ring[sample]{limit: l.limits.Syncs}, seconds: ring[sample]{limit: l.limits.Seconds}}
		l.domains = slices.Insert(l.domains, k, d)
	}
	return l.domains[k]
}

func (l *Log) wake() {
	close(l.more)
	l.more = make(chan struct{})
}

// Relation takes what a Sync led to. A relation of this node's own time, or
// without a measurement, is left to Status, whose first call says who this node is.
func (l *Log) Relation(at tsn.Instant, r gptp.RelationChanged) {
	l.mu.Lock()
	defer l.mu.Unlock()
	d := l.domain(r.Domain)
	if d.self == (gptp.ClockIdentity{}) || l.standby && r.Target || r.GrandMaster == d.self || !r.Synced && r.OffsetNS == 0 {
		return
	}
	s := sample{at: at, offset: r.OffsetNS, rate: r.Relation.RatePPB / 1000, delay: d.delay, gm: r.GrandMaster, state: gptp.TimeAcquiring}
	if r.Synced {
		s.state = gptp.TimeSynchronized
	}
	if !d.synced || magnitude(s.offset) > magnitude(d.peak) {
		d.peak = s.offset
	}
	d.synced = true
	d.syncs.add(s)
	l.wake()
}

// Status takes what all domains say of themselves; it is to be called once a
// second. A second without a Sync is a sample only if none is expected.
func (l *Log) Status(at tsn.Instant, st gptp.Status) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.standby = st.HotStandby != nil
	for _, v := range st.Domains {
		l.domain(v.Domain).second(at, v)
	}
	l.wake()
}

func (d *domain) second(at tsn.Instant, v gptp.DomainStatus) {
	d.self, d.delay = v.ClockIdentity, 0
	for _, p := range v.Ports {
		if p.State == gptp.SlavePort {
			d.delay = float32(p.MeanLinkDelayNS)
		}
	}
	s := sample{at: at, rate: v.Relation.RatePPB / 1000, delay: d.delay, gm: v.GrandMaster, state: v.State}
	switch {
	case d.synced:
		s.offset = d.peak
	case s.state == gptp.TimeSynchronized || s.state == gptp.TimeAcquiring:
		return
	default:
		d.syncs.add(s)
	}
	d.synced, d.peak = false, 0
	d.seconds.add(s)
}

// Event takes an event; its time becomes that of at.
func (l *Log) Event(at tsn.Instant, e api.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.events.add(stampedEvent{at, e})
	l.wake()
}

// History returns what is known of a domain from since on, oldest first: every
// Sync as far back as there are, every second before. Events of other domains
// are left out.
func (l *Log) History(number uint8, since tsn.Instant, w Wall) ([]api.GPTPSample, []api.Event, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	d, err := l.known(number)
	if err != nil {
		return nil, nil, err
	}
	var samples []api.GPTPSample
	fine := tsn.Never
	for s := range d.syncs.all {
		fine = s.at
		break
	}
	for s := range d.seconds.all {
		if s.at >= since && s.at < fine {
			samples = append(samples, d.sample(s, w))
		}
	}
	for s := range d.syncs.all {
		if s.at >= since {
			samples = append(samples, d.sample(s, w))
		}
	}
	var events []api.Event
	for e := range l.events.all {
		if e.at >= since && (e.Domain == number || ofAll(e.Kind)) {
			events = append(events, e.dated(w))
		}
	}
	return samples, events, nil
}

// known is a domain that has been told of.
func (l *Log) known(number uint8) (*domain, error) {
	var all []uint8
	for _, d := range l.domains {
		if d.number == number {
			return d, nil
		}
		all = append(all, d.number)
	}
	return nil, api.Errorf(api.CodeNotFound, "domain %d is not here; there is %s", number, numbers(all))
}

func numbers(n []uint8) string {
	if len(n) == 0 {
		return "none yet"
	}
	text := fmt.Sprint(n[0])
	for _, v := range n[1:] {
		text += fmt.Sprintf(", %d", v)
	}
	return text
}

// ofAll reports whether an event concerns every domain.
func ofAll(kind string) bool {
	return kind == "link-up" || kind == "link-down" || kind == gptp.NoticeHotStandby
}

func (d *domain) sample(s sample, w Wall) api.GPTPSample {
	return api.GPTPSample{
		Time: w.unix(s.at), Domain: d.number, Offset: s.offset, RatePPM: s.rate, MeanLinkDelay: math.Round(float64(s.delay)),
		Grandmaster: s.gm.String(), State: s.state.String(),
	}
}

func (e stampedEvent) dated(w Wall) api.Event {
	e.Time = w.unix(e.at)
	return e.Event
}

// Watch emits every sample of a domain and every event from now on, until ctx
// or emit ends it.
func (l *Log) Watch(ctx context.Context, number uint8, wall func() Wall, emit func(api.GPTPUpdate) error) error {
	l.mu.Lock()
	d, err := l.known(number)
	if err != nil {
		l.mu.Unlock()
		return err
	}
	nextSync, nextEvent := d.syncs.count, l.events.count
	l.mu.Unlock()
	for {
		w := wall()
		l.mu.Lock()
		var news []api.GPTPUpdate
		for _, s := range d.syncs.since(nextSync) {
			v := d.sample(s, w)
			news = append(news, api.GPTPUpdate{Sample: &v})
		}
		for _, e := range l.events.since(nextEvent) {
			if e.Domain == number || ofAll(e.Kind) {
				v := e.dated(w)
				news = append(news, api.GPTPUpdate{Event: &v})
			}
		}
		nextSync, nextEvent = d.syncs.count, l.events.count
		more := l.more
		l.mu.Unlock()
		slices.SortStableFunc(news, func(a, b api.GPTPUpdate) int { return int(max(-1, min(1, timeOf(a)-timeOf(b)))) })
		for _, u := range news {
			if err := emit(u); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-more:
		}
	}
}

func timeOf(u api.GPTPUpdate) int64 {
	if u.Event != nil {
		return u.Event.Time
	}
	return u.Sample.Time
}

func magnitude(v int64) int64 { return max(v, -v) }
