package node

import (
	"fmt"
	"slices"

	"tsnswitch"
	"tsnswitch/srp"
)

// refusal says why a bridge cannot keep a set of reservations, or nil. Only
// the whole switch knows: srp does not know the fabric's VLANs, and one entry
// that the kernel refuses would keep every other change from it.
func (c *Control) refusal(put srp.PutReservations) *srp.Refusal {
	if c.SPB == nil {
		return nil
	}
	for _, r := range put.Reservations {
		s := r.Stream
		switch {
		case !slices.Contains(c.vids, s.VID):
			return &srp.Refusal{
				Code: tsn.FailureVLANBlocked, Stream: s.ID,
				Reason: fmt.Sprintf("VLAN %d is none of the fabric's: use one of %v", s.VID, c.vids),
			}
		case isIPGroup(s.DestinationAddress):
			return &srp.Refusal{
				Code: tsn.FailureUseAnotherDA, Stream: s.ID,
				Reason: fmt.Sprintf("bridges look up %s by IP address: use another group, like 91:e0:f0:00:fe:01", s.DestinationAddress),
			}
		}
	}
	return nil
}

// isIPGroup tells the groups that IPv4 and IPv6 multicast map to.
func isIPGroup(m tsn.MAC) bool {
	return m[0] == 0x01 && m[1] == 0x00 && m[2] == 0x5e && m[3] < 0x80 || m[0] == 0x33 && m[1] == 0x33
}
