package spb

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
	"unicode/utf8"

	tsn "tsnswitch"
	"tsnswitch/spb/isispdu"
)

// GENINFO application of the switch (RFC 6823): not registered, from the top
// of the space. Strictly, RFC 6823 s4 wants such data in an IS-IS instance of
// its own; it travels in the one there is, because it names what the
// SPBM-SI sub-TLVs beside it reach.
const (
	applicationStations = 65534
	recordStation       = 1
	recordBridge        = 2
	recordOverload      = 3 // why the overload bit is set: UTF-8, for people
	maxReason           = 200
	recordLearned       = 4
)

// Record 2, the bridge itself: one octet of flags, more octets may follow.
const bridgeBare = 1 // no ingress check on its fabric ports

// bridgeRecord is what this bridge says of itself, nil for nothing special.
func (i *Instance) bridgeRecord() []isispdu.TLV {
	if len(i.unlocked) == 0 {
		return nil
	}
	return []isispdu.TLV{&isispdu.GenInfo{
		Flags: isispdu.GenInfoS, Application: applicationStations,
		Records: []isispdu.TLV{&isispdu.Raw{Type: recordBridge, Value: []byte{bridgeBare}}},
	}}
}

// Record 1, one attached end station:
//
//	octets  0-5  MAC address
//	        6-7  port of the advertising bridge
//	        8    length of the management address: 0, 4 or 16
//	        9-   management address, then the name in UTF-8 up to the end
//
// Record 4, one learned: the number of the claim in octets 0-3, not 0, then as
// record 1.
func appendStation(b []byte, s EndStation) []byte {
	b = append(b, s.MAC[:]...)
	b = binary.BigEndian.AppendUint16(b, uint16(s.Port))
	addr := s.ManagementAddress.Unmap().WithZone("").AsSlice()
	b = append(append(b, byte(len(addr))), addr...)
	return append(b, s.Name...)
}

func parseStation(v []byte) (s EndStation, ok bool) {
	if len(v) < 9 {
		return s, false
	}
	n := int(v[8])
	if (n != 0 && n != 4 && n != 16) || len(v) < 9+n || len(v) > 9+n+maxName {
		return s, false
	}
	s.MAC, s.Port = tsn.MAC(v[:6]), tsn.Port(binary.BigEndian.Uint16(v[6:]))
	s.ManagementAddress, _ = netip.AddrFromSlice(v[9 : 9+n])
	s.Name = string(v[9+n:])
	return s, !s.MAC.IsGroup()
}

// parseLearned reads a record of either kind.
func parseLearned(r *isispdu.Raw) (s EndStation, claim uint32, ok bool) {
	v := r.Value
	if r.Type == recordLearned {
		if len(v) < 4 {
			return s, 0, false
		}
		if claim, v = binary.BigEndian.Uint32(v), v[4:]; claim == 0 {
			return s, 0, false
		}
	}
	s, ok = parseStation(v)
	s.Learned = claim != 0
	return s, claim, ok
}

// stationRecords packs the records into as few GENINFO TLVs as they need.
func stationRecords(stations []localStation) []isispdu.TLV {
	var out []isispdu.TLV
	var last *isispdu.GenInfo
	left := 0
	for _, s := range stations {
		r := &isispdu.Raw{Type: recordStation}
		if s.claim != 0 {
			r.Type, r.Value = recordLearned, binary.BigEndian.AppendUint32(nil, s.claim)
		}
		r.Value = appendStation(r.Value, s.EndStation)
		if n := isispdu.TLVLen(r); n > left {
			last = &isispdu.GenInfo{Flags: isispdu.GenInfoS, Application: applicationStations}
			out = append(out, last)
			left = 255 - 3
		}
		last.Records = append(last.Records, r)
		left -= isispdu.TLVLen(r)
	}
	return out
}

// overloadRecord tells everybody why the overload bit is set.
func overloadRecord(why string) []isispdu.TLV {
	if why == "" {
		return nil
	}
	text := strings.ToValidUTF8(why[:min(len(why), maxReason)], "")
	return []isispdu.TLV{&isispdu.GenInfo{
		Flags: isispdu.GenInfoS, Application: applicationStations,
		Records: []isispdu.TLV{&isispdu.Raw{Type: recordOverload, Value: []byte(text)}},
	}}
}

func parseOverload(v []byte) (why string, ok bool) {
	return string(v), len(v) <= maxReason && utf8.Valid(v)
}

// tlvLine is a TLV as text, with our own records in words.
func tlvLine(t isispdu.TLV) string {
	g, ok := t.(*isispdu.GenInfo)
	if !ok || g.Application != applicationStations {
		return t.String()
	}
	out := fmt.Sprintf("geninfo application %d", g.Application)
	for _, r := range g.Records {
		out += " (" + recordText(r.(*isispdu.Raw)) + ")"
	}
	return out
}

func recordText(r *isispdu.Raw) string {
	switch r.Type {
	case recordStation, recordLearned:
		if s, claim, ok := parseLearned(r); ok {
			text := fmt.Sprintf("station %s port %d", s.MAC, s.Port)
			if s.Name != "" {
				text += fmt.Sprintf(" %q", s.Name)
			}
			if s.ManagementAddress.IsValid() {
				text += " at " + s.ManagementAddress.String()
			}
			if claim != 0 {
				text += fmt.Sprintf(", learned, claim %d", claim)
			}
			return text
		}
	case recordBridge:
		if len(r.Value) > 0 && r.Value[0]&bridgeBare != 0 {
			return "bridge without ingress check"
		}
	case recordOverload:
		if why, ok := parseOverload(r.Value); ok {
			return fmt.Sprintf("overload: %q", why)
		}
	}
	return r.String()
}
