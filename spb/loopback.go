package spb

import (
	"fmt"
	"math"
	"slices"

	tsn "tsnswitch"
	"tsnswitch/spb/ctlframe"
)

// Loopback is the Linktrace and Loopback of the switch (802.1Q 20.2): LBMs go
// to the nodal B-MAC of a bridge in a Base VID, so transit bridges forward
// them in their data plane as they forward everything. Only the bridge that is
// asked answers; an end station has no one who would, so its bridge is asked.

// Events.
type (
	// Ping sends Count LBMs to a bridge, or to the bridge of an end station. The
	// answers are PingReply effects and, always and last, one PingDone.
	Ping struct {
		RequestID  uint64
		To         tsn.MAC
		VID        tsn.VID // 0: the lowest Base VID
		Count      int     // 1..MaxPingCount [5]
		IntervalNS int64   // at least 10 ms [1 s]
		TimeoutNS  int64   // 1 ms..10 s [1 s]
		Size       int     // octets of data, 0..MaxPingSize
	}
	// Trace asks every bridge on the path to To in turn. The answers are one
	// TraceHop for each of them, in order, and one TraceDone.
	Trace struct {
		RequestID uint64
		To        tsn.MAC
		VID       tsn.VID // 0: the lowest Base VID
		Tries     int     // LBMs to a silent bridge, 1..10 [3]
		TimeoutNS int64   // of each, 1 ms..10 s [500 ms]
	}
	// CancelPing ends a Ping or a Trace now; its Done effect comes at once.
	CancelPing struct{ RequestID uint64 }
)

// Effects.
type (
	// PingReply is one LBM answered, or given up on if Lost.
	PingReply struct {
		RequestID uint64
		Sequence  int // from 1
		From      tsn.MAC
		Lost      bool
		RTTNS     int64
	}
	// PingDone ends a Ping. Err says why it could not be done as asked.
	PingDone struct {
		RequestID           uint64
		Target              tsn.MAC // bridge that was asked; not To if that is an end station
		Sent, Received      int
		MinNS, AvgNS, MaxNS int64
		Err                 string
	}
	// TraceHop is a bridge on the path.
	TraceHop struct {
		RequestID uint64
		Hop       int // from 1
		System    tsn.MAC
		Port      tsn.Port // by which the bridge before it sends
		Answered  bool
		Tries     int
		RTTNS     int64
	}
	// TraceDone ends a Trace. Reached: the last bridge answered; if not, After is
	// the last one that did before the first silent one (this bridge if none).
	TraceDone struct {
		RequestID uint64
		Target    tsn.MAC // bridge at the end of the path
		Hops      int
		Reached   bool
		After     tsn.MAC
		Err       string
	}
)

// Limits of Ping and Trace.
const (
	MaxPingCount = 100_000
	MaxPingSize  = 1400
	maxPingJobs  = 16

	loopbackPCP = 6
	// The responder answers lbrBurst LBMs at once and then one every lbrGap.
	lbrBurst = 128
	lbrGap   = millisecond
)

// loopJob is a running Ping or Trace.
type loopJob struct {
	id       uint64
	trace    bool
	vid      tsn.VID
	targets  []tsn.MAC // of a ping: one
	ports    []tsn.Port
	at       int // index into targets
	count    int // of LBMs to a target
	interval int64
	timeout  int64
	size     int
	cancel   bool

	sent, received int // of a trace: to and from targets[at]
	min, max, sum  int64
	next           tsn.Instant
	waiting        []loopWait // ascending sentAt
	silent         bool       // a target before targets[at] did not answer
	after          tsn.MAC
}

type loopWait struct {
	transaction uint32
	sequence    int
	sentAt      tsn.Instant
}

// loopback is the state of both roles.
type loopback struct {
	jobs        []*loopJob
	transaction uint32
	tokens      int64 // of the responder
	refilled    tsn.Instant
}

func (i *Instance) startPing(ev Ping) {
	setDefault(&ev.Count, 5)
	setDefault(&ev.IntervalNS, second)
	setDefault(&ev.TimeoutNS, second)
	job := &loopJob{id: ev.RequestID, count: ev.Count, interval: ev.IntervalNS, timeout: ev.TimeoutNS, size: ev.Size}
	hops, err := i.startJob(job, ev.VID, ev.To)
	switch {
	case err != nil:
	case ev.Count < 1 || ev.Count > MaxPingCount:
		err = fmt.Errorf("count %d is outside 1..%d", ev.Count, MaxPingCount)
	case ev.IntervalNS < 10*millisecond || ev.IntervalNS > 3600*second:
		err = fmt.Errorf("interval of %d ns is outside 10 ms..1 h", ev.IntervalNS)
	case ev.Size < 0 || ev.Size > MaxPingSize:
		err = fmt.Errorf("size %d is outside 0..%d", ev.Size, MaxPingSize)
	}
	if err != nil {
		i.counters.Control.RequestsRefused++
		i.effects = append(i.effects, PingDone{RequestID: ev.RequestID, Err: "ping " + ev.To.String() + ": " + err.Error()})
		return
	}
	job.targets = []tsn.MAC{hops[len(hops)-1].System}
	i.ctl.loop.jobs = append(i.ctl.loop.jobs, job)
}

func (i *Instance) startTrace(ev Trace) {
	setDefault(&ev.Tries, 3)
	setDefault(&ev.TimeoutNS, 500*millisecond)
	job := &loopJob{id: ev.RequestID, trace: true, count: ev.Tries, timeout: ev.TimeoutNS, after: i.cfg.SystemID}
	hops, err := i.startJob(job, ev.VID, ev.To)
	if err == nil && (ev.Tries < 1 || ev.Tries > 10) {
		err = fmt.Errorf("%d tries are outside 1..10", ev.Tries)
	}
	if err != nil {
		i.counters.Control.RequestsRefused++
		i.effects = append(i.effects, TraceDone{RequestID: ev.RequestID, Err: "trace " + ev.To.String() + ": " + err.Error()})
		return
	}
	for _, h := range hops {
		job.targets, job.ports = append(job.targets, h.System), append(job.ports, h.Port)
	}
	i.ctl.loop.jobs = append(i.ctl.loop.jobs, job)
}

// startJob checks what both have in common, and finds the bridges behind this
// one on the path; Port of each is the port by which the one before it sends.
func (i *Instance) startJob(job *loopJob, vid tsn.VID, to tsn.MAC) ([]tsn.Hop, error) {
	if len(i.ctl.loop.jobs) >= maxPingJobs {
		return nil, fmt.Errorf("%d requests run already: wait for one to end", maxPingJobs)
	}
	if slices.ContainsFunc(i.ctl.loop.jobs, func(j *loopJob) bool { return j.id == job.id }) {
		return nil, fmt.Errorf("request %d runs already", job.id)
	}
	if job.timeout < millisecond || job.timeout > 10*second {
		return nil, fmt.Errorf("timeout of %d ns is outside 1 ms..10 s", job.timeout)
	}
	if job.vid = vid; vid == 0 {
		job.vid = i.cfg.BaseVIDs[0].VID
	}
	job.next = i.now
	path, err := i.Path(job.vid, i.cfg.SystemID, to)
	if err != nil {
		return nil, err
	}
	var hops []tsn.Hop
	for k := 1; k < len(path); k++ {
		hops = append(hops, tsn.Hop{System: path[k].System, Port: path[k-1].Port})
	}
	if i.top.findNode(to) >= 0 { // a path to a bridge does not name it
		hops = append(hops, tsn.Hop{System: to, Port: path[len(path)-1].Port})
	}
	if len(hops) == 0 {
		return nil, fmt.Errorf("it is behind port %d of this bridge: an end station does not answer, and no fabric link is between", path[0].Port)
	}
	return hops, nil
}

func (i *Instance) cancelPing(id uint64) {
	for _, j := range i.ctl.loop.jobs {
		j.cancel = j.cancel || j.id == id
	}
}

// runLoopback sends, gives up and ends what is due.
func (i *Instance) runLoopback() {
	i.ctl.loop.jobs = slices.DeleteFunc(i.ctl.loop.jobs, i.runJob)
}

func (i *Instance) loopbackDeadline() tsn.Instant {
	d := tsn.Never
	for _, j := range i.ctl.loop.jobs {
		if j.sent < j.count && !(j.trace && len(j.waiting) > 0) {
			d = min(d, j.next)
		}
		if len(j.waiting) > 0 {
			d = min(d, j.waiting[0].sentAt.Add(j.timeout))
		}
	}
	return d
}

// runJob reports whether the job is over.
func (i *Instance) runJob(j *loopJob) bool {
	for !j.cancel {
		for len(j.waiting) > 0 && j.waiting[0].sentAt.Add(j.timeout) <= i.now {
			lost := j.waiting[0]
			j.waiting = j.waiting[1:]
			j.next = max(j.next, i.now)
			if !j.trace {
				i.effects = append(i.effects, PingReply{RequestID: j.id, Sequence: lost.sequence, From: j.targets[0], Lost: true})
			}
		}
		switch {
		case j.trace && len(j.waiting) > 0: // one after another
			return false
		case j.trace && (j.received > 0 || j.sent >= j.count):
			if i.nextTarget(j); j.at < len(j.targets) {
				continue
			}
		case j.sent < j.count && j.next <= i.now:
			i.sendLBM(j)
			continue
		case j.sent < j.count || len(j.waiting) > 0:
			return false
		}
		break
	}
	i.endJob(j)
	return true
}

func (i *Instance) nextTarget(j *loopJob) {
	answered := j.received > 0
	i.effects = append(i.effects, TraceHop{
		RequestID: j.id, Hop: j.at + 1, System: j.targets[j.at], Port: j.ports[j.at], Answered: answered, Tries: j.sent, RTTNS: j.sum,
	})
	if j.silent = j.silent || !answered; !j.silent {
		j.after = j.targets[j.at]
	}
	if j.at++; j.at < len(j.targets) {
		j.sent, j.received, j.sum, j.next = 0, 0, 0, i.now
	}
}

func (i *Instance) endJob(j *loopJob) {
	if !j.trace {
		d := PingDone{RequestID: j.id, Target: j.targets[0], Sent: j.sent, Received: j.received, MinNS: j.min, MaxNS: j.max}
		if j.received > 0 {
			d.AvgNS = j.sum / int64(j.received)
		}
		if j.cancel {
			d.Err = "cancelled"
		}
		i.effects = append(i.effects, d)
		return
	}
	d := TraceDone{
		RequestID: j.id, Target: j.targets[len(j.targets)-1], Hops: j.at,
		Reached: j.at == len(j.targets) && j.received > 0, After: j.after,
	}
	if j.cancel {
		d.Err = "cancelled"
	}
	i.effects = append(i.effects, d)
}

// sendLBM sends one as this bridge would forward a frame to the target. Where
// it has no entry, the message is lost like one that is lost further on.
func (i *Instance) sendLBM(j *loopJob) {
	i.ctl.loop.transaction++
	j.sent++
	j.waiting = append(j.waiting, loopWait{i.ctl.loop.transaction, j.sent, i.now})
	j.next = i.now.Add(j.interval)
	l := &ctlframe.Loopback{OpCode: ctlframe.OpLBM, Level: ctlframe.MDLevel, Transaction: i.ctl.loop.transaction, TLVs: ctlframe.DataTLVs(j.size)}
	to := j.targets[j.at]
	if port := i.forwards(j.vid, to); port != tsn.NoPort {
		i.counters.Control.LBMSent++
		i.sendLoopback(port, ctlframe.Header{Dst: to, Src: i.cfg.SystemID, VID: j.vid}, l)
	}
}

func (i *Instance) sendLoopback(port tsn.Port, h ctlframe.Header, l *ctlframe.Loopback) {
	i.effects = append(i.effects, tsn.Send{Port: port, Frame: l.Append(nil, h, loopbackPCP), Priority: loopbackPCP})
}

// forwards is the port that the bridge, as it shall be, sends an address to.
func (i *Instance) forwards(vid tsn.VID, mac tsn.MAC) tsn.Port {
	fdb := i.top.wanted.FDB
	at, ok := slices.BinarySearchFunc(fdb, tsn.FDBEntry{MAC: mac, VID: vid}, func(a, b tsn.FDBEntry) int {
		if a.VID != b.VID {
			return int(a.VID) - int(b.VID)
		}
		return compareMAC(a.MAC, b.MAC)
	})
	if !ok {
		return tsn.NoPort
	}
	return fdb[at].Port
}

// receiveLoopback answers LBMs to this bridge (802.1Q 20.28, ProcessLBM) and
// takes the replies to its own. Everything else is in transit.
func (i *Instance) receiveLoopback(ev tsn.Received) {
	c := &i.counters.Control
	h, l, err := ctlframe.ParseLoopback(ev.Frame)
	if err != nil || h.Dst != i.cfg.SystemID {
		return // not ours to judge: the bridge forwards it, or not
	}
	p := i.port(ev.Port)
	if p == nil || !p.up {
		i.counters.Drops.NotFabricPort++
		return
	}
	if h.Src.IsGroup() || h.Src.IsZero() || h.Src == i.cfg.SystemID {
		c.Malformed++
		return
	}
	if l.OpCode == ctlframe.OpLBM {
		c.LBMReceived++
		i.answerLBM(ev.Port, h, l)
		return
	}
	for _, j := range i.ctl.loop.jobs {
		if j.targets[j.at] == h.Src && i.takeLBR(j, l.Transaction) {
			c.LBRReceived++
			return
		}
	}
	c.LBRUnexpected++ // late, twice, or never asked for
}

// answerLBM replies with what came, the addresses and the OpCode aside
// (20.28.1). The reply takes the way that the bridge has to the sender.
func (i *Instance) answerLBM(in tsn.Port, h ctlframe.Header, l *ctlframe.Loopback) {
	lb := &i.ctl.loop
	lb.tokens = min(lb.tokens+i.now.Sub(lb.refilled)/lbrGap, lbrBurst)
	lb.refilled = lb.refilled.Add(i.now.Sub(lb.refilled) / lbrGap * lbrGap)
	if lb.tokens == 0 {
		i.counters.Control.LBMOverRate++
		return
	}
	out := in
	if h.VID != 0 {
		out = i.forwards(h.VID, h.Src)
	}
	if out == tsn.NoPort {
		i.counters.Control.LBMNoReturn++
		return
	}
	lb.tokens--
	i.counters.Control.LBRSent++
	r := &ctlframe.Loopback{OpCode: ctlframe.OpLBR, Level: l.Level, Transaction: l.Transaction, TLVs: l.TLVs}
	i.sendLoopback(out, ctlframe.Header{Dst: h.Src, Src: i.cfg.SystemID, VID: h.VID}, r)
}

func (i *Instance) takeLBR(j *loopJob, transaction uint32) bool {
	k := slices.IndexFunc(j.waiting, func(w loopWait) bool { return w.transaction == transaction })
	if k < 0 {
		return false
	}
	w := j.waiting[k]
	j.waiting = slices.Delete(j.waiting, k, k+1)
	rtt := i.now.Sub(w.sentAt)
	if j.received == 0 {
		j.min, j.max = math.MaxInt64, 0
	}
	j.received++
	j.min, j.max, j.sum = min(j.min, rtt), max(j.max, rtt), j.sum+rtt
	if !j.trace {
		i.effects = append(i.effects, PingReply{RequestID: j.id, Sequence: w.sequence, From: j.targets[0], RTTNS: rtt})
	}
	return true
}
