package gptp

import (
	"encoding/binary"
	"testing"

	tsn "tsnswitch"
	"tsnswitch/gptp/ptpmsg"
)

// bench is a relay of three ports that follows a neighbour on port 1. Time stands
// still for it and only stamps go on, so that nothing but what is measured runs.
type bench struct {
	*solo
	seq   uint16
	local int64
	tags  []outMessage

	sync, followUp, announce, request, response, responseFollowUp []byte
}

func newBench(b *testing.B) *bench {
	s := newSolo(b, 3, nil)
	for p := range tsn.Port(3) {
		s.capable(p + 1)
	}
	s.receive(1, announceFrom(100, 0, neighbour.Clock))
	x := &bench{solo: s, local: s.at}
	own := s.port(1).id
	x.announce = frameFrom(announceFrom(100, 0, neighbour.Clock))
	x.sync = frameFrom(&ptpmsg.Sync{Header: head(neighbour, ptpmsg.FlagTwoStep, 0, -3)})
	x.followUp = frameFrom(&ptpmsg.FollowUp{Header: head(neighbour, 0, 0, -3), TLVs: []ptpmsg.TLV{ptpmsg.FollowUpInformation{}.TLV()}})
	x.request = frameFrom(&ptpmsg.PdelayReq{Header: head(neighbour, 0, 0, 0)})
	x.response = frameFrom(&ptpmsg.PdelayResp{Header: head(neighbour, ptpmsg.FlagTwoStep, 0, 127), Requesting: own})
	x.responseFollowUp = frameFrom(&ptpmsg.PdelayRespFollowUp{Header: head(neighbour, 0, 0, 127), Requesting: own})
	return x
}

// give steps a frame with a sequenceId, and a timestamp if at is not 0; it keeps
// the tags of what is sent.
func (x *bench) give(frame []byte, seq uint16, at int64) {
	binary.BigEndian.PutUint16(frame[14+30:], seq)
	if at != 0 {
		t := ptpmsg.TimestampFromNS(at)
		binary.BigEndian.PutUint32(frame[14+36:], uint32(t.Seconds))
		binary.BigEndian.PutUint32(frame[14+40:], t.Nanoseconds)
	}
	x.do(tsn.Received{Port: 1, Frame: frame, Ingress: tsn.LocalTime(x.local), Stamped: true})
}

func (x *bench) do(ev tsn.Event) {
	for _, e := range x.sys.Step(tsn.Instant(x.at), ev) {
		if s, ok := e.(tsn.Send); ok && s.Tag != 0 {
			x.tags = append(x.tags, outMessage{port: s.Port, tag: s.Tag})
		}
	}
}

// leave answers the tags.
func (x *bench) leave() {
	tags := x.tags
	for _, o := range tags {
		x.do(tsn.Sent{Port: o.port, Tag: o.tag, Egress: tsn.LocalTime(x.local + 1000), Stamped: true})
	}
	x.tags = x.tags[:0]
}

// relaySync is a Sync and its Follow_Up, in from one port and out to two.
func (x *bench) relaySync() {
	x.seq++
	x.local += second / 8
	for p := range tsn.Port(3) {
		x.port(p + 1).tx.lastSync = 0
	}
	x.give(x.sync, x.seq, 0)
	x.give(x.followUp, x.seq, x.local+5)
	x.leave()
}

// measureLink is Pdelay_Req, its egress time, and both answers.
func (x *bench) measureLink() {
	x.local += second
	m := &x.port(1).delay.req
	m.next = tsn.Instant(x.at)
	x.do(tsn.Timeout{})
	x.leave()
	x.local += 2 * soloDelay
	x.give(x.response, m.seq, x.local-soloDelay)
	x.give(x.responseFollowUp, m.seq, x.local-soloDelay)
}

// answerRequest is Pdelay_Req in and both answers out.
func (x *bench) answerRequest() {
	x.port(1).delay.resp.soonest = [2]tsn.Instant{}
	x.seq++
	x.give(x.request, x.seq, 0)
	x.leave()
}

// BenchmarkStep is the cost of each thing that a machine does, and of a second
// of a port that follows: 8 Syncs relayed to two ports, an Announce, both sides of
// the link measurement. ptp4l takes 1 ms of processor for that and its system
// calls.
func BenchmarkStep(b *testing.B) {
	x := newBench(b)
	for _, c := range []struct {
		name string
		run  func()
	}{
		{"Timeout", func() { x.do(tsn.Timeout{}) }},
		{"Announce", func() { x.seq++; x.give(x.announce, x.seq, 0) }},
		{"Sync relayed to 2 ports", x.relaySync},
		{"link measured", x.measureLink},
		{"Pdelay_Req answered", x.answerRequest},
		{"second of a port", func() {
			for range 8 {
				x.relaySync()
			}
			x.measureLink()
			x.answerRequest()
			x.give(x.announce, x.seq, 0)
		}},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for range b.N {
				c.run()
			}
		})
	}
	if st := x.Status(); !st.Synced || st.Ports[0].State != SlavePort || st.Ports[1].Counters.Tx.FollowUp == 0 {
		b.Errorf("not what was to be measured: %+v", st)
	}
}
