package dataplane

import (
	"encoding/binary"
	"fmt"
	"math/bits"

	"github.com/mdlayher/netlink"

	tsn "tsnswitch"
)

// Attributes of taprio (linux/pkt_sched.h).
const (
	taprioPriomap   = 1
	taprioEntryList = 2
	taprioBaseTime  = 3
	taprioClockID   = 5
	taprioAdmin     = 7
	taprioCycleTime = 8
	taprioExtension = 9
	taprioFlags     = 10
	taprioDelay     = 11
	taprioTCEntry   = 12

	taprioEntry                                     = 1
	entryIndex, entryCmd, entryGateMask, entryLimit = 1, 2, 3, 4
	tcEntryIndex, tcEntryMaxSDU, tcEntryFP          = 1, 2, 3

	taprioTxTimeAssist = 1 << 0
	taprioFullOffload  = 1 << 1
	sizeofMqprioQopt   = 82
	fpExpress          = 1 // TC_FP_EXPRESS
	fpPreemptible      = 2 // TC_FP_PREEMPTIBLE
	clockTAI           = 11
	// taprioAllOpen is the mask for which taprio does not look at entries'
	// ends: frames flow even where its timer stands still.
	taprioAllOpen = 0xffffffff
)

// Order says which of the kernel's traffic classes taprio serves first.
type Order uint8

// HighestFirst is the standard's order; LowestFirst that of software taprio
// before kernel 6.3.
const (
	HighestFirst Order = iota
	LowestFirst
)

func (o Order) String() string {
	if o == LowestFirst {
		return "lowest first"
	}
	return "highest first"
}

// classes converts between the standard's classes and the kernel's, which
// number them from the other end where the lowest is served first, and leave out
// those that no priority has. The gates of such a class count as open.
type classes struct {
	n      int // classes of the standard
	order  Order
	unused tsn.GateMask
}

// queues is how many classes the kernel has.
func (cl classes) queues() int { return cl.n - bits.OnesCount8(uint8(cl.unused)) }

func (cl classes) has(c tsn.TrafficClass) bool { return int(c) < cl.n && !cl.unused.Has(c) }

// tc is the kernel's number of a class that it has.
func (cl classes) tc(c tsn.TrafficClass) int {
	tc := int(c) - bits.OnesCount8(uint8(cl.unused&(1<<c-1)))
	if cl.order == LowestFirst {
		return cl.queues() - 1 - tc
	}
	return tc
}

// class is the inverse of tc.
func (cl classes) class(tc int) tsn.TrafficClass {
	for c := range tsn.TrafficClass(cl.n) {
		if cl.has(c) && cl.tc(c) == tc {
			return c
		}
	}
	return tsn.TrafficClass(cl.n) // there is none
}

func (cl classes) toMask(g tsn.GateMask) (m uint32) {
	for c := range tsn.TrafficClass(cl.n) {
		if cl.has(c) && g.Has(c) {
			m |= 1 << cl.tc(c)
		}
	}
	return m
}

func (cl classes) fromMask(m uint32) tsn.GateMask {
	g := cl.unused
	for c := range tsn.TrafficClass(cl.n) {
		if cl.has(c) && m&(1<<cl.tc(c)) != 0 {
			g |= 1 << c
		}
	}
	return g
}

// taprioRoot is what is fixed while the qdisc lives.
type taprioRoot struct {
	Qopt    [sizeofMqprioQopt]byte // struct tc_mqprio_qopt
	ClockID int32                  // -1 in full offload
	Flags   uint32
	Delay   uint32 // of a frame's launch, ns; txtime-assist only
}

// root returns the wanted root: one queue for each class, skb priorities 0..7
// by the class map, higher ones as priority 0.
func (cl classes) root(m tsn.ClassMap, p PortConfig) taprioRoot {
	r := taprioRoot{ClockID: clockTAI}
	switch p.Offload {
	case OffloadTxTime:
		r.Flags, r.Delay = taprioTxTimeAssist, uint32(p.delta())
	case OffloadFull:
		r.ClockID, r.Flags = -1, taprioFullOffload
	}
	r.Qopt[0] = uint8(cl.queues())
	for prio := range 16 {
		p := 0
		if prio < len(m) {
			p = prio
		}
		r.Qopt[1+prio] = uint8(cl.tc(m[p]))
	}
	for tc := range cl.queues() {
		binary.NativeEndian.PutUint16(r.Qopt[18+2*tc:], 1)          // count
		binary.NativeEndian.PutUint16(r.Qopt[50+2*tc:], uint16(tc)) // offset
	}
	return r
}

// equal ignores the hw octet, which the kernel fills as it likes.
func (r taprioRoot) equal(o taprioRoot) bool {
	r.Qopt[17], o.Qopt[17] = 0, 0
	return r.Qopt == o.Qopt && r.Flags == o.Flags && r.Delay == o.Delay && (r.ClockID == o.ClockID || r.Flags&taprioFullOffload != 0)
}

// perClass is what taprio is told of single classes; nil leaves it as it is.
type perClass struct {
	MaxSDU      *[tsn.MaxTrafficClasses]uint32
	Preemptible *[tsn.MaxTrafficClasses]bool
}

// encodeTaprio writes the options of taprio. The map is left out when a
// schedule is replaced; clock and flags must then be the same as at first.
func (cl classes) encodeTaprio(ae *netlink.AttributeEncoder, root taprioRoot, replace bool, s *Schedule, per perClass) {
	if !replace {
		ae.Bytes(taprioPriomap, root.Qopt[:])
	}
	if root.ClockID >= 0 {
		ae.Int32(taprioClockID, root.ClockID)
	}
	ae.Uint32(taprioFlags, root.Flags)
	if root.Delay > 0 {
		ae.Uint32(taprioDelay, root.Delay)
	}
	ae.Int64(taprioBaseTime, s.Base)
	ae.Int64(taprioCycleTime, s.Cycle)
	ae.Int64(taprioExtension, s.Extension)
	ae.Nested(taprioEntryList, func(ae *netlink.AttributeEncoder) error {
		for i, e := range s.Entries {
			mask := cl.toMask(e.Gates)
			if s.allOpen(cl.n) && root.Flags == 0 {
				mask = taprioAllOpen
			}
			ae.Nested(taprioEntry, encodeEntry(i, mask, e.Interval))
		}
		return nil
	})
	if per == (perClass{}) {
		return
	}
	for c := range tsn.TrafficClass(cl.n) {
		if cl.has(c) {
			ae.Nested(taprioTCEntry, cl.encodeClass(c, per))
		}
	}
}

func encodeEntry(i int, mask uint32, interval int64) func(*netlink.AttributeEncoder) error {
	return func(ae *netlink.AttributeEncoder) error {
		ae.Uint32(entryIndex, uint32(i))
		ae.Uint8(entryCmd, 0) // SetGateStates
		ae.Uint32(entryGateMask, mask)
		ae.Uint32(entryLimit, uint32(interval))
		return nil
	}
}

func (cl classes) encodeClass(c tsn.TrafficClass, per perClass) func(*netlink.AttributeEncoder) error {
	return func(ae *netlink.AttributeEncoder) error {
		ae.Uint32(tcEntryIndex, uint32(cl.tc(c)))
		if per.MaxSDU != nil {
			ae.Uint32(tcEntryMaxSDU, per.MaxSDU[c])
		}
		if per.Preemptible != nil {
			fp := uint32(fpExpress)
			if per.Preemptible[c] {
				fp = fpPreemptible
			}
			ae.Uint32(tcEntryFP, fp)
		}
		return nil
	}
}

// taprioState is the options as they are dumped.
type taprioState struct {
	Root        taprioRoot
	Oper, Admin *Schedule
	MaxSDU      [tsn.MaxTrafficClasses]uint32
	Preemptible [tsn.MaxTrafficClasses]bool
	// The kernel knows max-sdu, and preemptible classes.
	HasMaxSDU, HasFP bool
}

// decodeTaprio reads the options from a dump. A schedule with anything else
// than SetGateStates entries is not ours and shows with its gates closed.
func (cl classes) decodeTaprio(b []byte) (taprioState, error) {
	t := taprioState{Root: taprioRoot{ClockID: -1}}
	var oper, admin Schedule
	hasOper, hasAdmin := false, false
	err := each(b, func(ad *netlink.AttributeDecoder) {
		switch ad.Type() {
		case taprioPriomap:
			copy(t.Root.Qopt[:], ad.Bytes())
		case taprioClockID:
			t.Root.ClockID = ad.Int32()
		case taprioFlags:
			t.Root.Flags = ad.Uint32()
		case taprioDelay:
			t.Root.Delay = ad.Uint32()
		case taprioTCEntry:
			nested(ad, cl.decodeClass(&t))
		case taprioAdmin:
			hasAdmin = true
			nested(ad, func(ad *netlink.AttributeDecoder) { cl.schedule(&admin, ad) })
		default:
			hasOper = cl.schedule(&oper, ad) || hasOper
		}
	})
	if err != nil {
		return t, fmt.Errorf("taprio options: %w", err)
	}
	for _, s := range []struct {
		has bool
		s   *Schedule
		to  **Schedule
	}{{hasOper, &oper, &t.Oper}, {hasAdmin, &admin, &t.Admin}} {
		if !s.has {
			continue
		}
		if s.s.Cycle <= 0 {
			return t, fmt.Errorf("taprio options: a schedule with a cycle of %d ns", s.s.Cycle)
		}
		*s.to = s.s
	}
	return t, nil
}

// decodeClass collects one traffic class's entry; the index comes first.
func (cl classes) decodeClass(t *taprioState) func(*netlink.AttributeDecoder) {
	tc := uint32(tsn.MaxTrafficClasses)
	ours := func() bool { return tc < uint32(cl.queues()) }
	return func(ad *netlink.AttributeDecoder) {
		switch ad.Type() {
		case tcEntryIndex:
			tc = ad.Uint32()
		case tcEntryMaxSDU:
			if v := ad.Uint32(); ours() {
				t.MaxSDU[cl.class(int(tc))] = v
			}
			t.HasMaxSDU = true
		case tcEntryFP:
			if v := ad.Uint32(); ours() {
				t.Preemptible[cl.class(int(tc))] = v == fpPreemptible
			}
			t.HasFP = true
		}
	}
}

// schedule takes an attribute if it belongs to a schedule.
func (cl classes) schedule(s *Schedule, ad *netlink.AttributeDecoder) bool {
	switch ad.Type() {
	case taprioBaseTime:
		s.Base = ad.Int64()
	case taprioCycleTime:
		s.Cycle = ad.Int64()
	case taprioExtension:
		s.Extension = ad.Int64()
	case taprioEntryList:
		nested(ad, func(ad *netlink.AttributeDecoder) {
			var e tsn.GateEntry
			var cmd uint8
			nested(ad, func(ad *netlink.AttributeDecoder) {
				switch ad.Type() {
				case entryCmd:
					cmd = ad.Uint8()
				case entryGateMask:
					e.Gates = cl.fromMask(ad.Uint32())
				case entryLimit:
					e.Interval = int64(ad.Uint32())
				}
			})
			if cmd != 0 {
				e.Gates = 0
			}
			s.Entries = append(s.Entries, e)
		})
	default:
		return false
	}
	return true
}
