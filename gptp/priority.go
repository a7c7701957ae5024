package gptp

import (
	"bytes"
	"cmp"
	"encoding/binary"

	tsn "tsnswitch"
	"tsnswitch/gptp/ptpmsg"
)

// systemIdentity is what grand masters are compared by (10.3.2), packed so that
// byte order is rank: priority1, class, accuracy, variance, priority2, identity.
type systemIdentity [14]byte

func makeSystemIdentity(p1 uint8, q ptpmsg.ClockQuality, p2 uint8, id ptpmsg.ClockIdentity) (s systemIdentity) {
	s[0], s[1], s[2], s[5] = p1, q.Class, q.Accuracy, p2
	binary.BigEndian.PutUint16(s[3:], q.OffsetScaledLogVariance)
	copy(s[6:], id[:])
	return s
}

func (s systemIdentity) priority1() uint8            { return s[0] }
func (s systemIdentity) priority2() uint8            { return s[5] }
func (s systemIdentity) clock() ptpmsg.ClockIdentity { return ptpmsg.ClockIdentity(s[6:]) }
func (s systemIdentity) quality() ptpmsg.ClockQuality {
	return ptpmsg.ClockQuality{Class: s[1], Accuracy: s[2], OffsetScaledLogVariance: binary.BigEndian.Uint16(s[3:])}
}

// priorityVector is a spanning tree priority vector (10.3.4); less is better.
type priorityVector struct {
	root   systemIdentity
	steps  uint16
	source ptpmsg.PortIdentity // port that sends the information
	port   tsn.Port            // port that receives it
}

func (v priorityVector) compare(w priorityVector) int {
	return cmp.Or(
		bytes.Compare(v.root[:], w.root[:]),
		cmp.Compare(v.steps, w.steps),
		bytes.Compare(v.source.Clock[:], w.source.Clock[:]),
		cmp.Compare(v.source.Port, w.source.Port),
		cmp.Compare(v.port, w.port),
	)
}

// timeProperties is what an Announce says beside the priority (10.3.9.12 on).
type timeProperties struct {
	flags      uint16
	utcOffset  int16
	timeSource uint8
}

const timeFlags = ptpmsg.FlagLeap61 | ptpmsg.FlagLeap59 | ptpmsg.FlagCurrentUtcOffsetValid | ptpmsg.FlagPtpTimescale |
	ptpmsg.FlagTimeTraceable | ptpmsg.FlagFrequencyTraceable
