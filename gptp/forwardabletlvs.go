package gptp

import (
	"bytes"

	"tsnswitch/gptp/ptpmsg"
)

// maxForwarded is how many octets of unknown TLVs, with their headers, one
// message carries on: whoever stuffs an Announce or Follow_Up does not stuff
// those of a whole network.
const maxForwarded = 256

// forwardable copies the TLVs that this node does not know and is to pass on
// with what it relays (14.2 of IEEE Std 1588-2019): of Announce and Follow_Up,
// in their order, up to maxForwarded. The rest is dropped and counted.
// Signaling goes over one link only.
func (p *port) forwardable(tlvs []ptpmsg.TLV) (out []ptpmsg.TLV) {
	left := maxForwarded
	for _, t := range tlvs {
		if !t.Type.Forwardable() {
			continue
		}
		if left -= 4 + len(t.Value); left < 0 {
			p.count.TLVsDropped++
			left = 0 // no smaller one gets in: order stays, and holes are at the end
			continue
		}
		out = append(out, ptpmsg.TLV{Type: t.Type, Value: bytes.Clone(t.Value)})
	}
	return out
}

// forward adds TLVs to those of a message that has room octets left.
func (p *port) forward(to, tlvs []ptpmsg.TLV, room int) []ptpmsg.TLV {
	for _, t := range tlvs {
		if room -= 4 + len(t.Value); room < 0 {
			p.count.TLVsDropped++
			continue
		}
		p.count.TLVsForwarded++
		to = append(to, t)
	}
	return to
}
