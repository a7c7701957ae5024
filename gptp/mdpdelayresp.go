package gptp

import (
	tsn "tsnswitch"
	"tsnswitch/gptp/ptpmsg"
)

// mdPdelayResp is MDPdelayResp (11.2.20): it answers Pdelay_Req at once with
// Pdelay_Resp, and with Pdelay_Resp_Follow_Up when the response's egress time
// is known. Only the newest response waits for its time.
type mdPdelayResp struct {
	p          *port
	tag        uint64 // 0: nothing waits
	seq        uint16
	requesting ptpmsg.PortIdentity
}

func (m *mdPdelayResp) request(r *ptpmsg.PdelayReq, at tsn.LocalTime, stamped bool) {
	m.p.req.heardRequest(r.Source)
	if !stamped {
		m.p.count.LostReceiveStamps++
		return
	}
	m.seq, m.requesting = r.SequenceID, r.Source
	m.tag = m.p.sendEvent(&ptpmsg.PdelayResp{
		Header:         m.p.header(ptpmsg.FlagTwoStep, m.seq, 5, ptpmsg.LogIntervalNone),
		RequestReceipt: ptpmsg.TimestampFromNS(int64(at)),
		Requesting:     m.requesting,
	})
}

func (m *mdPdelayResp) sent(at tsn.LocalTime, stamped bool) {
	m.tag = 0
	if !stamped {
		return
	}
	m.p.sendGeneral(&ptpmsg.PdelayRespFollowUp{
		Header:         m.p.header(0, m.seq, 5, ptpmsg.LogIntervalNone),
		ResponseOrigin: ptpmsg.TimestampFromNS(int64(at)),
		Requesting:     m.requesting,
	})
}
