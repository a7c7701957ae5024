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
}

func (m *mdPdelayResp) request(r *ptpmsg.PdelayReq, at tsn.LocalTime, stamped bool) {
	m.d.req.heardRequest(r.Source)
	if !stamped {
		m.d.l.count.LostReceiveStamps++
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
