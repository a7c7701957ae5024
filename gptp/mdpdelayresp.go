package gptp

import (
	tsn "tsnswitch"
	"tsnswitch/gptp/ptpmsg"
)

// mdPdelayResp is MDPdelayResp (11.2.20): it answers Pdelay_Req at once with
// Pdelay_Resp, and with Pdelay_Resp_Follow_Up when the response's egress time
// is known. Only the newest response waits for its time.
type mdPdelayResp struct {
	d          *linkDelay
	tag        uint64 // 0: nothing waits
	seq        uint16
	requesting ptpmsg.PortIdentity
	soonest    [2]tsn.Instant // for the neighbour's next request, and anybody else's
}

// respGap is the least time between two answers, ns: half of the shortest
// interval there is. An answer is two frames; a flood must not become two.
const respGap = 1_000_000_000 / 256

// tooSoon limits the rate of answers. Who answers our own requests is counted
// apart, so that a flood under other names does not take its place.
func (m *mdPdelayResp) tooSoon(from ptpmsg.PortIdentity) bool {
	now, who := m.d.l.sys.now, 1
	if from == m.d.req.peer {
		who = 0
	}
	if now < m.soonest[who] {
		return true
	}
	m.soonest[who] = now.Add(respGap)
	return false
}

func (m *mdPdelayResp) request(r *ptpmsg.PdelayReq, at tsn.LocalTime, stamped bool) {
	m.d.req.heardRequest(r.Source)
	if !stamped {
		m.d.l.count.LostReceiveStamps++
		return
	}
	if m.tooSoon(r.Source) {
		m.d.l.count.RequestsTooSoon++
		return
	}
	m.seq, m.requesting = r.SequenceID, r.Source
	m.tag = m.d.send(&ptpmsg.PdelayResp{
		Header:         m.d.header(ptpmsg.FlagTwoStep, m.seq, ptpmsg.LogIntervalNone),
		RequestReceipt: ptpmsg.TimestampFromNS(int64(at)),
		Requesting:     m.requesting,
	}, true)
}

func (m *mdPdelayResp) sent(at tsn.LocalTime, stamped bool) {
	m.tag = 0
	if !stamped {
		return
	}
	m.d.send(&ptpmsg.PdelayRespFollowUp{
		Header:         m.d.header(0, m.seq, ptpmsg.LogIntervalNone),
		ResponseOrigin: ptpmsg.TimestampFromNS(int64(at)),
		Requesting:     m.requesting,
	}, false)
}
