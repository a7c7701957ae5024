package spb

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	tsn "tsnswitch"
	"tsnswitch/spb/isispdu"
)

// Service is an attachment of this bridge to a backbone service: the place
// where a MAC-in-MAC edge will map a customer to {I-SID, Base VID}. Until
// there is one, frames for the service are what arrives with its group address.
type Service struct {
	ISID uint32  `json:"isid"` // 24 bits, 256 to 0xfffffe
	VID  tsn.VID `json:"vid"`  // Base VID, whose ECT algorithm the trees follow
	// Transmit (T): this bridge sends to the group, so the fabric keeps a tree
	// for it. Without T its copies are made here, one for each receiver (head-end
	// replication). Receive (R): it wants what others send.
	Transmit bool `json:"transmit"`
	Receive  bool `json:"receive"`
	// Ports are edge ports on which the group's frames are delivered; none:
	// the bridge's own interface.
	Ports []tsn.Port `json:"ports,omitempty"`
}

// SetServices replaces the list of services. A list that does not validate is
// refused with a Notice and changes nothing.
type SetServices struct{ Services []Service }

// I-SIDs below minISID and the highest are reserved (802.1Q table 9-3).
const (
	minISID = 256
	maxISID = 0xfffffe
	bitT    = 1 << 31 // of an entry of SPBM-SI
	bitR    = 1 << 30
)

func compareService(a, b Service) int {
	return cmp.Or(cmp.Compare(a.VID, b.VID), cmp.Compare(a.ISID, b.ISID))
}

func validateServices(c Config, services []Service) error {
	var errs []error
	seen := map[[2]uint32]bool{}
	for _, s := range services {
		bad := func(format string, a ...any) {
			errs = append(errs, fmt.Errorf("spb: service %d in VLAN %d: "+format, append([]any{s.ISID, s.VID}, a...)...))
		}
		if s.ISID < minISID || s.ISID > maxISID {
			bad("the I-SID is outside %d..%d", minISID, maxISID)
		}
		if !slices.ContainsFunc(c.BaseVIDs, func(b BaseVID) bool { return b.VID == s.VID }) {
			bad("the VLAN is not a base VID")
		}
		if !s.Transmit && !s.Receive && len(s.Ports) > 0 {
			bad("ports without receive")
		}
		if key := [2]uint32{s.ISID, uint32(s.VID)}; seen[key] {
			bad("given twice")
		} else {
			seen[key] = true
		}
		for _, p := range s.Ports {
			at := slices.IndexFunc(c.Ports, func(q PortConfig) bool { return q.Port == p && q.Role == tsn.RoleEdge })
			if at < 0 || !c.Ports[at].carries(s.VID) {
				bad("port %d is not an edge port in the VLAN", p)
			}
		}
	}
	return errors.Join(errs...)
}

func (i *Instance) setServices(s []Service) {
	i.services = slices.Clone(s)
	slices.SortFunc(i.services, compareService)
	for k := range i.services {
		i.services[k].Ports = slices.Sorted(slices.Values(i.services[k].Ports))
	}
}

// serviceTLVs are the SPBM-SI sub-TLVs of the services, one for each Base VID
// and as many more as their length asks for.
func (i *Instance) serviceTLVs() []isispdu.TLV {
	const perTLV = (255 - 2 - 2 - 8) / 4
	var out []isispdu.TLV
	for _, b := range i.cfg.BaseVIDs {
		var words []uint32
		for _, s := range i.services {
			if s.VID != b.VID {
				continue
			}
			w := s.ISID
			if s.Transmit && i.sourceID.usable() {
				w |= bitT
			}
			if s.Receive {
				w |= bitR
			}
			words = append(words, w)
		}
		for part := range slices.Chunk(words, perTLV) {
			out = append(out, &isispdu.MTCapability{SubTLVs: []isispdu.TLV{
				&isispdu.SPBMSI{BMAC: i.cfg.SystemID, Word: uint16(b.VID), Services: part},
			}})
		}
	}
	return out
}

// nodeService is a service as a node advertises it.
type nodeService struct {
	isid     uint32
	vid      tsn.VID
	transmit bool
	receive  bool
}

// readServices keeps the services behind the nodal B-MAC of a node.
func (i *Instance) readServices(n *node, si *isispdu.SPBMSI) {
	for _, w := range si.Services {
		if len(n.services) >= i.cfg.Caps.MaxServices {
			i.counters.Drops.ServicesOverCap++
			continue
		}
		n.services = append(n.services, nodeService{
			isid: w & 0xffffff, vid: si.BaseVID(), transmit: w&bitT != 0, receive: w&bitR != 0,
		})
	}
}

// GroupAddress is the group B-MAC of a source and an I-SID (RFC 6329 s16.3).
func GroupAddress(source, isid uint32) tsn.MAC {
	return tsn.MAC{byte(source>>16)<<4 | 3, byte(source >> 8), byte(source), byte(isid >> 16), byte(isid >> 8), byte(isid)}
}

// ServiceState is a service of this bridge, and what it means for forwarding.
type ServiceState struct {
	Service
	// Group is the address to send to; zero without Transmit or SPSourceID.
	Group tsn.MAC `json:"group,omitzero"`
	// Receivers are the other bridges that want it, ascending. With Replicate
	// a frame must be sent to each of them by unicast.
	Receivers []tsn.MAC `json:"receivers"`
	Replicate bool      `json:"replicate,omitempty"`
	// Sources are the group addresses that arrive here, with their bridges.
	Sources []GroupSource `json:"sources"`
}

// GroupSource is a bridge that sends to a service.
type GroupSource struct {
	System tsn.MAC `json:"system"`
	Group  tsn.MAC `json:"group"`
}

// Services lists the services of this bridge by VLAN and I-SID.
func (i *Instance) Services() []ServiceState {
	out := make([]ServiceState, 0, len(i.services))
	for _, s := range i.services {
		st := ServiceState{Service: s, Receivers: []tsn.MAC{}, Sources: []GroupSource{}}
		st.Ports = slices.Clone(s.Ports)
		if s.Transmit && i.sourceID.usable() {
			st.Group = GroupAddress(i.sourceID.value, s.ISID)
		}
		st.Replicate = !s.Transmit || !i.sourceID.usable()
		for _, n := range i.top.nodes {
			if n.system == i.cfg.SystemID {
				continue
			}
			for _, v := range n.services {
				if v.isid != s.ISID || v.vid != s.VID {
					continue
				}
				if v.receive {
					st.Receivers = append(st.Receivers, n.system)
				}
				if v.transmit && n.source != 0 && s.Receive {
					st.Sources = append(st.Sources, GroupSource{n.system, GroupAddress(n.source, s.ISID)})
				}
			}
		}
		out = append(out, st)
	}
	return out
}
