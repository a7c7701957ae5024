package gptp

import (
	"fmt"

	tsn "tsnswitch"
	"tsnswitch/gptp/ptpmsg"
)

// Reason says why a port is not asCapable.
type Reason uint8

// The reasons; a closed set.
const (
	ReasonNone              Reason = iota // it is asCapable
	ReasonLinkDown                        // no carrier
	ReasonDisabled                        // ptpPortEnabled is FALSE
	ReasonMeasuring                       // too few exchanges yet
	ReasonNoResponse                      // nobody answers Pdelay_Req
	ReasonNoFollowUp                      // Pdelay_Resp without Pdelay_Resp_Follow_Up
	ReasonNoTransmitStamp                 // the driver gives no egress times
	ReasonNoReceiveStamp                  // the driver gives no ingress times
	ReasonDelayAboveThresh                // meanLinkDelay exceeds neighborPropDelayThresh
	ReasonMultipleResponses               // several answers: something between does not speak gPTP
	ReasonOwnClock                        // our own answer: the port is looped
	ReasonRateRatio                       // neighbour's clock is off by more than any oscillator
	ReasonNotGptpCapable                  // the link is good; the neighbour does not say it has this domain
	ReasonStopped                         // the neighbour asked for no Pdelay_Req before the link was measured
)

var reasonText = [...]string{
	"", "link-down", "disabled", "measuring", "no-response", "no-follow-up", "no-transmit-stamp", "no-receive-stamp",
	"delay-above-threshold", "multiple-responses", "own-clock", "rate-ratio-out-of-range", "not-gptp-capable", "stopped-by-neighbor",
}

// String gives the reason in kebab-case, empty for ReasonNone.
func (r Reason) String() string {
	if int(r) < len(reasonText) {
		return reasonText[r]
	}
	return fmt.Sprintf("reason %d", uint8(r))
}

// MarshalText prints the reason as String does.
func (r Reason) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// The quick start: a port asks every 1/8 s after link up, until this many
// exchanges are complete or this many requests are out. A neighbour that begins
// to ask later (it was silent for quickSilence) sets off another burst, at most
// one in quickPause.
const (
	quickInterval  = 125_000_000
	quickExchanges = 8
	quickRequests  = 16
	quickPause     = 2_500_000_000
	quickSilence   = 5_000_000_000
)

// multipleAllowed is how many requests in a row may draw several answers
// (11.2.2): the third takes asCapable away.
const multipleAllowed = 2

// mdPdelayReq is MDPdelayReq (11.2.19): it measures the link and decides
// asCapableAcrossDomains.
//
// An exchange waits for three things that may come in any order: the egress
// time of the request, the response, its follow-up.
type mdPdelayReq struct {
	d       *linkDelay
	running bool
	next    tsn.Instant // when to send the next request

	tag  uint64
	seq  uint16
	open bool // an exchange is under way
	x    exchange

	haveSent, haveResp, haveFollowUp bool
	noSent, noReceive                bool                // the driver said: no stamp
	responses                        int                 // from how many
	answered                         ptpmsg.PortIdentity // by whom last

	asCapable      bool // asCapableAcrossDomains
	reason         Reason
	lostResponses  uint8
	detectedFaults uint8
	multiple       int         // requests in a row with several answers
	silentUntil    tsn.Instant // 0: never was
	last           tsn.Instant // when the last request left

	quickLeft  int // requests
	quickDone  int // exchanges
	quickSince tsn.Instant
	heard      ptpmsg.PortIdentity // who asked last
	heardAt    tsn.Instant
	newcomer   bool // heard, and not asked quickly since

	peer ptpmsg.PortIdentity
	link linkEstimate
}

func (m *mdPdelayReq) init(d *linkDelay, seq uint16) {
	m.d, m.seq, m.next, m.reason = d, seq, tsn.Never, ReasonLinkDown
	if d.l.cfg.Disabled {
		m.reason = ReasonDisabled
	}
	m.link.reset()
}

// start enters INITIAL_SEND_PDELAY_REQ: at once, not after an interval.
func (m *mdPdelayReq) start() {
	m.running, m.open, m.tag = true, false, 0
	m.lostResponses, m.detectedFaults, m.multiple, m.silentUntil = 0, 0, 0, 0
	m.reason = ReasonMeasuring
	m.link.reset()
	m.peer = ptpmsg.PortIdentity{}
	m.quicken()
	m.next = m.d.l.sys.now
}

func (m *mdPdelayReq) stop(why Reason) {
	m.running, m.open, m.tag, m.next = false, false, 0, tsn.Never
	m.link.reset()
	m.setCapable(false, why)
}

func (m *mdPdelayReq) quicken() {
	m.quickLeft, m.quickDone, m.quickSince, m.newcomer = quickRequests, 0, m.d.l.sys.now, false
}

// heardRequest is told that the neighbour asks: if we gave up asking quickly
// before it was there, begin again.
func (m *mdPdelayReq) heardRequest(from ptpmsg.PortIdentity) {
	now := m.d.l.sys.now
	m.newcomer = m.newcomer || from != m.heard || now.Sub(m.heardAt) > quickSilence
	m.heard, m.heardAt = from, now
	if m.newcomer && m.running && !m.silent() && !m.asCapable && m.quickLeft == 0 && now.Sub(m.quickSince) >= quickPause {
		m.quicken()
		m.next = m.d.l.sys.now
	}
}

func (m *mdPdelayReq) interval() int64 {
	normal := m.d.interval.ns()
	if m.quickLeft > 0 && m.quickDone < quickExchanges {
		return min(normal, quickInterval)
	}
	return normal
}

// timer ends the exchange under way, if it is, and begins the next.
func (m *mdPdelayReq) timer() {
	if !m.running || m.d.l.sys.now < m.next {
		return
	}
	if m.open {
		m.giveUp()
	}
	if m.responses == 1 {
		m.multiple = 0
	}
	m.seq++
	m.open, m.x = true, exchange{}
	m.haveSent, m.haveResp, m.haveFollowUp, m.noSent, m.noReceive = false, false, false, false, false
	m.responses = 0
	m.tag = m.d.send(&ptpmsg.PdelayReq{Header: m.d.header(0, m.seq, m.d.interval.current)}, true)
	m.last = m.d.l.sys.now
	m.arm()
	m.quickLeft = max(0, m.quickLeft-1)
}

// arm sets the next request an interval after the last, but not in the past.
func (m *mdPdelayReq) arm() {
	m.next = tsn.Never
	if ns := m.interval(); ns != forever {
		m.next = max(m.d.l.sys.now, m.last.Add(ns))
	}
}

// intervalChanged is told by LinkDelayIntervalSetting. An exchange that is
// under way when requests stop is given up by nobody, and does no harm.
func (m *mdPdelayReq) intervalChanged() {
	if !m.running || m.silent() {
		return
	}
	if m.d.interval.current == ptpmsg.IntervalStop {
		m.quickLeft = 0
		m.explain(ReasonStopped)
	}
	m.arm()
}

// silence is how long no request is sent after several answers to one
// (11.2.15), ns.
const silence = 300_000_000_000

// silent reports whether it lasts.
func (m *mdPdelayReq) silent() bool { return m.silentUntil > m.d.l.sys.now }

// fallSilent stops asking for a while: what spreads our question is not to be
// fed. Then the port asks as after link up.
func (m *mdPdelayReq) fallSilent() {
	m.d.l.count.PdelaySilences++
	m.open, m.tag, m.multiple = false, 0, 0
	m.link.reset() // three exchanges until asCapable: as many as it takes to fall silent again
	m.silentUntil = m.d.l.sys.now.Add(silence)
	m.next = m.silentUntil
	m.quicken()
	m.d.l.sys.emit(tsn.Notice{Kind: NoticePdelaySilence, Port: m.d.l.cfg.Port})
	m.setCapable(false, ReasonMultipleResponses)
}

// resumesIn is how long the silence lasts yet, ns.
func (m *mdPdelayReq) resumesIn() int64 { return max(0, m.silentUntil.Sub(m.d.l.sys.now)) }

// giveUp is RESET: the exchange was not complete when the next was due. A
// missing stamp is our own driver's doing and counts as a fault of the
// measurement, a missing message as a lost response.
func (m *mdPdelayReq) giveUp() {
	m.open = false
	switch {
	case m.noReceive:
		m.fault(ReasonNoReceiveStamp)
	case !m.haveResp:
		m.lost(ReasonNoResponse)
	case !m.haveFollowUp:
		m.lost(ReasonNoFollowUp)
	default:
		m.fault(ReasonNoTransmitStamp)
	}
}

func (m *mdPdelayReq) lost(why Reason) {
	m.d.l.count.LostResponses++
	if m.lostResponses <= m.d.l.cfg.AllowedLostResponses {
		m.lostResponses++
		m.explain(why)
		if m.asCapable {
			m.quickLeft = 0 // or a stall in the quick start would cost the port
		}
		return
	}
	m.link.reset()
	m.setCapable(false, why)
}

func (m *mdPdelayReq) fault(why Reason) {
	if m.detectedFaults <= m.d.l.cfg.AllowedFaults {
		m.detectedFaults++
		m.explain(why)
		return
	}
	m.detectedFaults = 0
	m.setCapable(false, why)
}

// explain keeps the newest reason while the port is not asCapable anyway.
func (m *mdPdelayReq) explain(why Reason) {
	if !m.asCapable {
		m.reason = why
	}
}

func (m *mdPdelayReq) setCapable(v bool, why Reason) {
	m.reason = why
	if v != m.asCapable {
		m.asCapable = v
		m.d.capableChanged()
	}
}

func (m *mdPdelayReq) sent(at tsn.LocalTime, stamped bool) {
	m.tag = 0
	if !m.open {
		return
	}
	m.haveSent, m.noSent, m.x.t1 = stamped, !stamped, at
	m.finish()
}

func (m *mdPdelayReq) response(r *ptpmsg.PdelayResp, at tsn.LocalTime, stamped bool) {
	if r.Requesting != m.d.id {
		m.d.l.count.Unexpected++
		return
	}
	if r.SequenceID == m.seq && m.running {
		m.countAnswer(r.Source)
	}
	t2, ok := r.RequestReceipt.NS()
	if !m.open || r.SequenceID != m.seq || m.haveResp || !ok {
		m.d.l.count.Unexpected++
		return
	}
	if !stamped {
		m.d.l.count.LostReceiveStamps++
		m.noReceive = true
		return
	}
	m.haveResp, m.x.t2, m.x.t4, m.x.corr = true, t2, at, r.Correction.NS()
	if r.Source != m.peer {
		m.link.reset()
		m.peer = r.Source
	}
}

func (m *mdPdelayReq) followUp(f *ptpmsg.PdelayRespFollowUp) {
	t3, ok := f.ResponseOrigin.NS()
	if !m.open || !m.haveResp || m.haveFollowUp || !ok ||
		f.Requesting != m.d.id || f.SequenceID != m.seq || f.Source != m.peer {
		m.d.l.count.Unexpected++
		return
	}
	m.haveFollowUp, m.x.t3 = true, t3
	m.x.corr += f.Correction.NS()
	m.finish()
}

// countAnswer counts who answered the request; a frame that came twice is one
// answer.
func (m *mdPdelayReq) countAnswer(from ptpmsg.PortIdentity) {
	if m.responses > 0 && from == m.answered {
		return
	}
	m.answered = from
	if m.responses++; m.responses == 2 {
		m.severalAnswers()
	}
}

// severalAnswers: a switch or repeater between us spreads the question.
func (m *mdPdelayReq) severalAnswers() {
	m.d.l.count.MultipleResponses++
	if m.multiple++; m.multiple > multipleAllowed {
		m.fallSilent()
	}
}

// finish enters WAITING_FOR_PDELAY_INTERVAL_TIMER once all four times are in.
func (m *mdPdelayReq) finish() {
	if !m.haveFollowUp || !m.haveSent {
		return
	}
	m.open = false
	m.lostResponses = 0
	m.quickDone++
	m.link.add(m.x, int(m.d.l.cfg.RateRatioWindow))
	switch {
	case m.peer.Clock == m.d.id.Clock:
		m.fault(ReasonOwnClock)
	case m.multiple > 0 && !m.asCapable:
		m.explain(ReasonMultipleResponses)
	case m.link.outOfRange:
		m.fault(ReasonRateRatio)
	case !m.link.rateValid:
		m.explain(ReasonMeasuring)
	case m.link.meanDelay > float64(m.d.l.cfg.NeighborPropDelayThresh):
		m.fault(ReasonDelayAboveThresh)
	default:
		m.detectedFaults = 0
		m.setCapable(true, ReasonNone)
	}
}
