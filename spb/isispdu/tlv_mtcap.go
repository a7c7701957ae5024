package isispdu

import (
	"encoding/binary"
	"fmt"

	tsn "tsnswitch"
)

// Sub-TLV codes of MT-Capability (RFC 6329 s14).
const (
	SubSPBInst  = 1
	SubSPBIOALG = 2
	SubSPBMSI   = 3
	SubSPBVADDR = 4
)

// MTOverload in MTCapability.MT: the node is overloaded for SPB only.
const MTOverload = 0x8000

// MTCapability is TLV 144 of an LSP.
type MTCapability struct {
	MT      uint16 // O, reserved (3 bits), MTID (12)
	SubTLVs []TLV
}

// Code returns 144.
func (*MTCapability) Code() uint8 { return CodeMTCapability }

// AppendValue appends the value octets.
func (t *MTCapability) AppendValue(b []byte) []byte {
	return appendSubTLVs(binary.BigEndian.AppendUint16(b, t.MT), t.SubTLVs)
}

func (t *MTCapability) String() string { return "mt-capability" + joinSub(t.SubTLVs) }

func parseMTCapability(v []byte) TLV {
	if len(v) < 2 {
		return nil
	}
	t := &MTCapability{MT: binary.BigEndian.Uint16(v)}
	var err error
	if t.SubTLVs, err = parseTLVs(v[2:], parseMTCapabilitySub); err != nil {
		return nil
	}
	return t
}

func parseMTCapabilitySub(code uint8, v []byte) TLV {
	switch code {
	case SubSPBInst:
		return parseSPBInst(v)
	case SubSPBIOALG:
		return parseOpaqueECT(false, v)
	case SubSPBMSI:
		return parseSPBMSI(v)
	case SubSPBVADDR:
		return parseSPBVADDR(v)
	case SubTopology:
		return parseTopology(v)
	}
	return nil
}

// SPBInst is sub-TLV 1, SPB-Inst; in fragment 0 only.
type SPBInst struct {
	CISTRoot                 tsn.BridgeID
	CISTExternalRootPathCost uint32
	BridgePriority           uint16
	Source                   uint32 // reserved (11 bits), V, SPSourceID (20)
	Trees                    []SPBTree
}

// SPBTree is one VLAN ID tuple of SPB-Inst.
type SPBTree struct {
	Flags uint8 // U, M, A, reserved (5 bits)
	ECT   ECT
	VIDs  uint32 // 24 bits: BaseVID (12), SPVID (12)
}

// SourceAuto in SPBInst.Source (V): the SPSourceID was chosen automatically.
const SourceAuto = 1 << 20

// Bits of SPBTree.Flags.
const (
	TreeUse  = 0x80 // U: the tree carries a service
	TreeSPBM = 0x40 // M: SPBM; clear: SPBV
	TreeAuto = 0x20 // A: SPVIDs are allocated automatically
)

// SPSourceID returns the 20-bit source identifier of group addresses.
func (t *SPBInst) SPSourceID() uint32 { return t.Source & 0xfffff }

// BaseVID returns the Base VID.
func (t SPBTree) BaseVID() tsn.VID { return tsn.VID(t.VIDs >> 12) }

// MakeSPBTree is the tuple of an SPBM Base VID, which has no SPVID.
func MakeSPBTree(e ECT, vid tsn.VID) SPBTree {
	return SPBTree{Flags: TreeUse | TreeSPBM, ECT: e, VIDs: uint32(vid) << 12}
}

// Code returns 1.
func (*SPBInst) Code() uint8 { return SubSPBInst }

// AppendValue appends the value octets.
func (t *SPBInst) AppendValue(b []byte) []byte {
	b = append(b, t.CISTRoot[:]...)
	b = binary.BigEndian.AppendUint32(b, t.CISTExternalRootPathCost)
	b = binary.BigEndian.AppendUint16(b, t.BridgePriority)
	b = binary.BigEndian.AppendUint32(b, t.Source)
	b = append(b, byte(len(t.Trees)))
	for _, u := range t.Trees {
		b = binary.BigEndian.AppendUint32(append(b, u.Flags), uint32(u.ECT))
		b = appendUint24(b, u.VIDs)
	}
	return b
}

func (t *SPBInst) String() string {
	s := fmt.Sprintf("spb-inst priority %04x spsource %05x", t.BridgePriority, t.SPSourceID())
	for _, u := range t.Trees {
		s += fmt.Sprintf(" vid %d ect %s", u.BaseVID(), u.ECT)
	}
	return s
}

func parseSPBInst(v []byte) TLV {
	if len(v) < 19 || len(v) != 19+8*int(v[18]) {
		return nil
	}
	t := &SPBInst{
		CISTRoot: tsn.BridgeID(v[:8]), CISTExternalRootPathCost: binary.BigEndian.Uint32(v[8:]),
		BridgePriority: binary.BigEndian.Uint16(v[12:]), Source: binary.BigEndian.Uint32(v[14:]),
	}
	for v = v[19:]; len(v) > 0; v = v[8:] {
		t.Trees = append(t.Trees, SPBTree{Flags: v[0], ECT: ECT(binary.BigEndian.Uint32(v[1:])), VIDs: uint24(v[5:])})
	}
	return t
}

// SPBMSI is sub-TLV 3, SPBM-SI: an address reached through the node and the
// services behind it. Without services it is unicast only (RFC 6329 s16.1).
type SPBMSI struct {
	BMAC     tsn.MAC
	Word     uint16   // reserved (4 bits), BaseVID (12)
	Services []uint32 // T, R, reserved (6 bits), I-SID (24)
}

// BaseVID returns the Base VID.
func (t *SPBMSI) BaseVID() tsn.VID { return tsn.VID(t.Word & 0xfff) }

// Code returns 3.
func (*SPBMSI) Code() uint8 { return SubSPBMSI }

// AppendValue appends the value octets.
func (t *SPBMSI) AppendValue(b []byte) []byte {
	b = binary.BigEndian.AppendUint16(append(b, t.BMAC[:]...), t.Word)
	for _, s := range t.Services {
		b = binary.BigEndian.AppendUint32(b, s)
	}
	return b
}

func (t *SPBMSI) String() string {
	s := fmt.Sprintf("spbm-si %s vid %d", t.BMAC, t.BaseVID())
	for _, i := range t.Services {
		s += fmt.Sprintf(" isid %06x flags %02x", i&0xffffff, i>>24)
	}
	return s
}

func parseSPBMSI(v []byte) TLV {
	if len(v) < 8 || len(v)%4 != 0 {
		return nil
	}
	t := &SPBMSI{BMAC: tsn.MAC(v[:6]), Word: binary.BigEndian.Uint16(v[6:])}
	for v = v[8:]; len(v) > 0; v = v[4:] {
		t.Services = append(t.Services, binary.BigEndian.Uint32(v))
	}
	return t
}
