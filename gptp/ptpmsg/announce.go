package ptpmsg

import "encoding/binary"

// ClockQuality is the grandmasterClockQuality (6.4.3.8).
type ClockQuality struct {
	Class                   uint8
	Accuracy                uint8
	OffsetScaledLogVariance uint16
}

// Announce carries a port's view of the best master (10.6.3).
type Announce struct {
	Header
	Reserved         [10]byte
	CurrentUtcOffset int16
	Reserved2        uint8
	Priority1        uint8
	Quality          ClockQuality
	Priority2        uint8
	GrandMaster      ClockIdentity
	StepsRemoved     uint16
	TimeSource       uint8
	TLVs             []TLV
}

const announceLen = 30

// Type is TypeAnnounce.
func (*Announce) Type() MessageType { return TypeAnnounce }

func (m *Announce) parse(h Header, b []byte, d *Decoder) (err error) {
	if len(b) < announceLen {
		return ErrShort
	}
	*m = Announce{
		Header:           h,
		Reserved:         [10]byte(b),
		CurrentUtcOffset: int16(binary.BigEndian.Uint16(b[10:])),
		Reserved2:        b[12],
		Priority1:        b[13],
		Quality:          ClockQuality{Class: b[14], Accuracy: b[15], OffsetScaledLogVariance: binary.BigEndian.Uint16(b[16:])},
		Priority2:        b[18],
		GrandMaster:      ClockIdentity(b[19:]),
		StepsRemoved:     binary.BigEndian.Uint16(b[27:]),
		TimeSource:       b[29],
	}
	if m.TLVs, err = d.parseSuffix(b[announceLen:]); err != nil {
		return err
	}
	for _, t := range m.TLVs {
		if t.Type == TLVPathTrace && len(t.Value)%8 != 0 {
			return ErrTLV
		}
	}
	return nil
}

func (m *Announce) appendBody(b []byte) []byte {
	b = append(b, m.Reserved[:]...)
	b = binary.BigEndian.AppendUint16(b, uint16(m.CurrentUtcOffset))
	b = append(b, m.Reserved2, m.Priority1, m.Quality.Class, m.Quality.Accuracy)
	b = binary.BigEndian.AppendUint16(b, m.Quality.OffsetScaledLogVariance)
	b = append(append(b, m.Priority2), m.GrandMaster[:]...)
	b = binary.BigEndian.AppendUint16(b, m.StepsRemoved)
	return appendTLVs(append(b, m.TimeSource), m.TLVs)
}

// MaxPathTrace is how many identities fit into an Announce without other TLVs
// (10.3.9.23 lets a longer trace be left out).
const MaxPathTrace = (MaxMessageLen - HeaderLen - announceLen - 4) / 8

// PathTrace appends the identities of the first path trace TLV (10.6.3.3),
// grand master first, to dst. ok is false without such a TLV.
func (m *Announce) PathTrace(dst []ClockIdentity) (path []ClockIdentity, ok bool) {
	for _, t := range m.TLVs {
		if t.Type != TLVPathTrace {
			continue
		}
		for v := t.Value; len(v) >= 8; v = v[8:] {
			dst = append(dst, ClockIdentity(v))
		}
		return dst, true
	}
	return dst, false
}

// PathTraceTLV encodes a path trace.
func PathTraceTLV(path []ClockIdentity) TLV {
	v := make([]byte, 0, 8*len(path))
	for _, c := range path {
		v = append(v, c[:]...)
	}
	return TLV{Type: TLVPathTrace, Value: v}
}
