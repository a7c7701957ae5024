package dataplane

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/mdlayher/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	tsn "tsnswitch"
)

const (
	atIngress = 0xfffffff2

	// Verdicts of actions (linux/pkt_cls.h).
	verdictNext = -1 // on to the next filter
	verdictShot = 2
	verdictPipe = 3 // on to the next action

	// TCA_GATE_*, TCA_GATE_ENTRY_* (linux/tc_act/tc_gate.h).
	gateParms, gatePriority, gateEntries, gateBaseTime, gateCycle, gateExtension, gateClockID = 2, 4, 5, 6, 7, 8, 10
	gateEntry                                                                                 = 1
	gateEntryIndex, gateEntryOpen, gateEntryInterval, gateEntryIPV, gateEntryOctets           = 1, 2, 3, 4, 5

	policeRate64 = 8 // TCA_POLICE_RATE64

	// headerOctets is what police counts of a frame's header when it compares
	// with its mtu, and only then.
	headerOctets = 14
	// linklayerEthernet keeps the kernel from guessing at it in the rate table.
	linklayerEthernet = 1
)

// streamFilters reads our stream filters on a port, with the frames each has
// seen and dropped.
func (c *conn) streamFilters(p tsn.Port, index int) (fs []Filter, counts []FilterCounters, err error) {
	ms, err := c.dump(unix.RTM_GETTFILTER, tcmsg(index, 0, atIngress, 0), nil)
	if err != nil {
		return nil, nil, fmt.Errorf("listing stream filters: %w", err)
	}
	for _, m := range ms {
		number := binary.NativeEndian.Uint32(m[8:])
		if binary.NativeEndian.Uint32(m[16:]) != filterInfo(filterPref) || number == 0 { // 0: the head of the whole preference
			continue
		}
		f, n, err := parseStreamFilter(m[20:])
		if err != nil {
			return nil, nil, fmt.Errorf("listing stream filters: %w", err)
		}
		f.Port, f.Number, n.Port, n.ID = p, number, p, f.ID
		fs, counts = append(fs, f), append(counts, n)
	}
	return fs, counts, nil
}

// streamFilter is a filter while it is read.
type streamFilter struct {
	Filter
	count   FilterCounters
	actions []action
}

type action struct {
	kind            string
	options, cookie []byte
	seen, dropped   uint64
}

func parseStreamFilter(attrs []byte) (Filter, FilterCounters, error) {
	var f streamFilter
	err := each(attrs, func(ad *netlink.AttributeDecoder) {
		if ad.Type() == nl.TCA_OPTIONS {
			nested(ad, f.key)
		}
	})
	if err == nil {
		err = f.interpret()
	}
	return f.Filter, f.count, err
}

func (f *streamFilter) key(ad *netlink.AttributeDecoder) {
	switch ad.Type() {
	case nl.TCA_FLOWER_KEY_ETH_DST:
		copy(f.Handle.Address[:], ad.Bytes())
	case nl.TCA_FLOWER_KEY_ETH_SRC:
		copy(f.Handle.Source[:], ad.Bytes())
	case nl.TCA_FLOWER_KEY_VLAN_ID:
		f.Handle.VID = tsn.VID(ad.Uint16())
	case nl.TCA_FLOWER_KEY_VLAN_PRIO:
		f.Handle.PCP = tsn.PCP(ad.Uint8())
	case nl.TCA_FLOWER_ACT:
		nested(ad, func(ad *netlink.AttributeDecoder) {
			var a action
			nested(ad, a.attribute)
			f.actions = append(f.actions, a)
		})
	}
}

func (a *action) attribute(ad *netlink.AttributeDecoder) {
	switch ad.Type() {
	case nl.TCA_ACT_KIND:
		a.kind = ad.String()
	case nl.TCA_ACT_OPTIONS:
		a.options = ad.Bytes()
	case nl.TCA_ACT_COOKIE:
		a.cookie = ad.Bytes()
	case nl.TCA_ACT_STATS:
		var q qdisc
		nested(ad, q.stats)
		a.seen, a.dropped = q.frames, q.dropped
	}
}

// interpret gives each action its part.
func (f *streamFilter) interpret() error {
	for i, a := range f.actions {
		if i == 0 {
			f.count.Matching = a.seen
			copy(f.ID[:], a.cookie)
		}
		switch a.kind {
		case "gate":
			g, err := decodeGate(a.options)
			if err != nil {
				return fmt.Errorf("gate: %w", err)
			}
			f.Gate, f.count.GateClosed = g, a.dropped
		case "police":
			m, mtu, err := decodePolice(a.options)
			if err != nil {
				return fmt.Errorf("police: %w", err)
			}
			if m.Rate > 0 {
				f.Meter, f.count.Red = m, a.dropped
			} else if mtu >= headerOctets {
				f.MaxSDU, f.count.TooLong = uint16(mtu-headerOctets), a.dropped
			}
		default:
			f.Odd = fmt.Sprintf("has an action %q", a.kind)
		}
	}
	if f.ID == (tsn.StreamID{}) {
		f.Odd = "has no stream's id"
	}
	return nil
}

func setFilterRequest(index int, f Filter) (request, error) {
	h := tcmsg(index, f.Number, atIngress, filterInfo(filterPref))
	return newRequest(unix.RTM_NEWTFILTER, netlink.Create, h, func(ae *netlink.AttributeEncoder) {
		ae.String(nl.TCA_KIND, "flower")
		ae.Nested(nl.TCA_OPTIONS, func(ae *netlink.AttributeEncoder) error {
			ae.Bytes(nl.TCA_FLOWER_KEY_ETH_TYPE, binary.BigEndian.AppendUint16(nil, unix.ETH_P_8021Q))
			ae.Bytes(nl.TCA_FLOWER_KEY_ETH_DST, f.Handle.Address[:])
			if !f.Handle.Source.IsZero() {
				ae.Bytes(nl.TCA_FLOWER_KEY_ETH_SRC, f.Handle.Source[:])
			}
			ae.Uint16(nl.TCA_FLOWER_KEY_VLAN_ID, uint16(f.Handle.VID))
			ae.Uint8(nl.TCA_FLOWER_KEY_VLAN_PRIO, uint8(f.Handle.PCP))
			ae.Nested(nl.TCA_FLOWER_ACT, func(ae *netlink.AttributeEncoder) error {
				f.actions(ae)
				return nil
			})
			return nil
		})
	})
}

func delFilterRequest(index int, f Filter) (request, error) {
	return newRequest(unix.RTM_DELTFILTER, 0, tcmsg(index, f.Number, atIngress, filterInfo(filterPref)), nil)
}

// actions encodes them in the order in which a frame meets them. The last
// hands what it lets pass to the next filter, which may be somebody else's.
func (f Filter) actions(ae *netlink.AttributeEncoder) {
	type encoder struct {
		kind    string
		options func(ae *netlink.AttributeEncoder, verdict int32)
	}
	var all []encoder
	if f.MaxSDU > 0 {
		all = append(all, encoder{"police", func(ae *netlink.AttributeEncoder, verdict int32) {
			encodePolice(ae, Meter{}, uint32(f.MaxSDU)+headerOctets, verdict)
		}})
	}
	if f.Gate != nil {
		all = append(all, encoder{"gate", f.Gate.encode})
	}
	if f.Meter.Rate > 0 {
		all = append(all, encoder{"police", func(ae *netlink.AttributeEncoder, verdict int32) { encodePolice(ae, f.Meter, 0, verdict) }})
	}
	for i, e := range all {
		verdict := int32(verdictPipe)
		if i == len(all)-1 {
			verdict = verdictNext
		}
		ae.Nested(uint16(i+1), func(ae *netlink.AttributeEncoder) error {
			ae.String(nl.TCA_ACT_KIND, e.kind)
			ae.Bytes(nl.TCA_ACT_COOKIE, f.ID[:])
			ae.Nested(nl.TCA_ACT_OPTIONS, func(ae *netlink.AttributeEncoder) error {
				e.options(ae, verdict)
				return nil
			})
			return nil
		})
	}
}

// encodePolice is struct tc_police: index, action, limit, burst, mtu, two
// struct tc_ratespec and three words. The kernel wants a rate table although it
// no longer looks anything up in it.
func encodePolice(ae *netlink.AttributeEncoder, m Meter, mtu uint32, verdict int32) {
	b := make([]byte, 56)
	binary.NativeEndian.PutUint32(b[4:], verdictShot)
	binary.NativeEndian.PutUint32(b[12:], m.Burst)
	binary.NativeEndian.PutUint32(b[16:], mtu)
	if m.Rate > 0 {
		b[20], b[21] = 10, linklayerEthernet // cell_log
		binary.NativeEndian.PutUint16(b[22:], tsn.FrameOverhead)
		binary.NativeEndian.PutUint32(b[28:], uint32(min(m.Rate, 1<<32-1)))
	}
	ae.Bytes(nl.TCA_POLICE_TBF, b)
	if m.Rate > 0 {
		ae.Bytes(nl.TCA_POLICE_RATE, make([]byte, 1024))
	}
	if m.Rate >= 1<<32 {
		ae.Uint64(policeRate64, m.Rate)
	}
	ae.Int32(nl.TCA_POLICE_RESULT, verdict)
}

func decodePolice(options []byte) (m Meter, mtu uint32, err error) {
	err = each(options, func(ad *netlink.AttributeDecoder) {
		switch b := ad.Bytes(); {
		case ad.Type() == nl.TCA_POLICE_TBF && len(b) >= 32:
			m.Burst, mtu = binary.NativeEndian.Uint32(b[12:]), binary.NativeEndian.Uint32(b[16:])
			if m.Rate == 0 {
				m.Rate = uint64(binary.NativeEndian.Uint32(b[28:]))
			}
		case ad.Type() == policeRate64 && len(b) == 8:
			m.Rate = binary.NativeEndian.Uint64(b)
		}
	})
	return m, mtu, err
}

func (g *FilterGate) encode(ae *netlink.AttributeEncoder, verdict int32) {
	parms := make([]byte, 20) // struct tc_gate: index, capab, action, ...
	binary.NativeEndian.PutUint32(parms[8:], uint32(verdict))
	ae.Bytes(gateParms, parms)
	ae.Int32(gatePriority, int32(tsn.NoIPV))
	ae.Int32(gateClockID, unix.CLOCK_TAI)
	ae.Uint64(gateBaseTime, uint64(g.Base))
	ae.Uint64(gateCycle, uint64(g.Cycle))
	ae.Uint64(gateExtension, uint64(g.Extension))
	ae.Nested(gateEntries, func(ae *netlink.AttributeEncoder) error {
		for i, e := range g.Entries {
			ae.Nested(gateEntry, func(ae *netlink.AttributeEncoder) error {
				encodeGateEntry(ae, uint32(i), e)
				return nil
			})
		}
		return nil
	})
}

func encodeGateEntry(ae *netlink.AttributeEncoder, i uint32, e tsn.StreamGateEntry) {
	ae.Uint32(gateEntryIndex, i)
	ae.Flag(gateEntryOpen, e.Open)
	ae.Uint32(gateEntryInterval, uint32(e.Interval))
	ae.Int32(gateEntryIPV, int32(e.IPV))
	octets := e.OctetMax
	if octets == 0 {
		octets = -1
	}
	ae.Int32(gateEntryOctets, octets)
}

func decodeGate(options []byte) (*FilterGate, error) {
	g := &FilterGate{}
	type indexed struct {
		i uint32
		e tsn.StreamGateEntry
	}
	var entries []indexed
	err := each(options, func(ad *netlink.AttributeDecoder) {
		switch ad.Type() {
		case gateBaseTime:
			g.Base = int64(ad.Uint64())
		case gateCycle:
			g.Cycle = int64(ad.Uint64())
		case gateExtension:
			g.Extension = int64(ad.Uint64())
		case gateEntries:
			nested(ad, func(ad *netlink.AttributeDecoder) {
				x := indexed{e: tsn.StreamGateEntry{IPV: tsn.NoIPV}}
				nested(ad, func(ad *netlink.AttributeDecoder) { decodeGateEntry(ad, &x.i, &x.e) })
				entries = append(entries, x)
			})
		}
	})
	slices.SortStableFunc(entries, func(a, b indexed) int { return int(int64(a.i) - int64(b.i)) })
	for _, x := range entries {
		g.Entries = append(g.Entries, x.e)
	}
	return g, err
}

func decodeGateEntry(ad *netlink.AttributeDecoder, i *uint32, e *tsn.StreamGateEntry) {
	switch ad.Type() {
	case gateEntryIndex:
		*i = ad.Uint32()
	case gateEntryOpen:
		e.Open = true
	case gateEntryInterval:
		e.Interval = int64(ad.Uint32())
	case gateEntryIPV:
		e.IPV = int8(ad.Int32())
	case gateEntryOctets:
		e.OctetMax = max(0, ad.Int32())
	}
}

// readFilters reads the stream filters of every port that can have some.
func (k *kernel) readFilters(s *State) error {
	s.Filters = nil
	for _, p := range k.cfg.Ports {
		if !s.EgressOf(p.Port).Hook {
			continue
		}
		fs, _, err := k.c.streamFilters(p.Port, k.links[p.Ifname].index)
		if err != nil {
			return fmt.Errorf("port %d: %w", p.Port, err)
		}
		if k.wentBack(p.Port) {
			for i := range fs {
				fs[i].Gate = nil // it stands still, as the egress gates do
			}
		}
		s.Filters = append(s.Filters, fs...)
	}
	s.Sort()
	return nil
}

// probeFilters makes a stream filter, and then one with a gate, in its place.
func (c *conn) probeFilters(index int, note func(feature string, err error)) {
	f := Filter{Number: 1, ID: tsn.StreamID{1}, Handle: tsn.StreamHandle{Address: tsn.MAC{2}, VID: 2}, MaxSDU: 100, Meter: Meter{125_000, 1000}}
	note(FeatureStreamFilter, c.send(setFilterRequest(index, f)))
	f.Gate = &FilterGate{Cycle: AllOpenCycle, Entries: []tsn.StreamGateEntry{{Open: true, IPV: tsn.NoIPV, Interval: AllOpenCycle}}}
	note(FeatureStreamGate, c.send(setFilterRequest(index, f)))
}
