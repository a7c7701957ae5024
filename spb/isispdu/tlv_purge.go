package isispdu

import (
	"fmt"

	tsn "tsnswitch"
)

// PurgeOriginator is TLV 13: who purged an LSP, and from whom that system has
// the purge (RFC 6232 s3).
type PurgeOriginator struct{ Systems []tsn.MAC } // one or two

// Code returns 13.
func (*PurgeOriginator) Code() uint8 { return CodePurgeOriginator }

// AppendValue appends the value octets.
func (t *PurgeOriginator) AppendValue(b []byte) []byte {
	b = append(b, byte(len(t.Systems)))
	for _, s := range t.Systems {
		b = append(b, s[:]...)
	}
	return b
}

func (t *PurgeOriginator) String() string { return fmt.Sprintf("purged by %v", t.Systems) }

func parsePurgeOriginator(v []byte) TLV {
	if len(v) < 1 || v[0] < 1 || v[0] > 2 || len(v) != 1+6*int(v[0]) {
		return nil
	}
	t := &PurgeOriginator{}
	for v = v[1:]; len(v) > 0; v = v[6:] {
		t.Systems = append(t.Systems, tsn.MAC(v[:6]))
	}
	return t
}

// purgeable is the column "Purge" of the IANA registry "IS-IS Top-Level TLV
// Codepoints", which RFC 6233 s2 added. A code that is not listed here is not
// in the registry.
var purgeable = map[uint8]bool{
	7: true, CodeAuthentication: true, CodePurgeOriginator: true, 15: true, CodeHostname: true,

	1: false, 2: false, 3: false, 4: false, 5: false, 6: false, 8: false, 9: false, 11: false, 12: false, 14: false,
	16: false, 17: false, 18: false, 22: false, 23: false, 24: false, 25: false, 26: false, 27: false, 42: false,
	126: false, 127: false, 128: false, 129: false, 130: false, 131: false, 132: false, 133: false, 134: false,
	135: false, 138: false, 139: false, 140: false, 141: false, 142: false, 143: false, 144: false, 145: false,
	147: false, 148: false, 149: false, 150: false, 161: false, 211: false, 222: false, 223: false, 229: false,
	232: false, 233: false, 234: false, 235: false, 236: false, 237: false, 238: false, 240: false, 242: false,
	243: false, 251: false,
}

// PurgeAllowed is the rule of RFC 6233 s3 for what a purge may hold: TLVs that
// the registry lists for purges, and TLVs that it does not list at all if the
// purge names its originator.
func PurgeAllowed(tlvs []TLV) bool {
	_, poi := Find[*PurgeOriginator](tlvs)
	for _, t := range tlvs {
		if ok, listed := purgeable[t.Code()]; !ok && (listed || !poi) {
			return false
		}
	}
	return true
}
