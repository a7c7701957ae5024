package isispdu

import (
	"net/netip"

	tsn "tsnswitch"
)

// The samples hold every TLV and sub-TLV that the codec understands.
var (
	sysA = tsn.MAC{2, 0, 0, 0, 0, 1}
	sysB = tsn.MAC{2, 0, 0, 0, 0, 2}
	area = &AreaAddresses{Areas: [][]byte{make([]byte, 13)}}
	v4   = &Interfaces{Addresses: []netip.Addr{netip.MustParseAddr("10.0.0.1")}}
	v6   = &Interfaces{V6: true, Addresses: []netip.Addr{netip.MustParseAddr("fd00::1")}}
)

func sampleIIH() *IIH {
	return &IIH{
		CircuitType: CircuitLevel1, SourceID: sysA, HoldingTime: 3, LocalCircuitID: 1,
		TLVs: []TLV{
			area, &Protocols{NLPIDs: []byte{NLPIDSPB}}, v4, v6,
			&ThreeWay{State: Initializing, Fields: 3, ExtendedLocalCircuitID: 1, NeighborSystemID: sysB, NeighborCircuitID: 2},
			&MTPortCap{SubTLVs: []TLV{
				&SPBMCID{},
				&SPBDigest{Flags: DigestValid | 2<<2 | 1, Agreement: AgreementDigest{Convention: 0x20, EdgeCount: 4, Sum: [20]byte{3: 10}}.Append(nil)},
				&SPBBVID{Tuples: []BVIDTuple{MakeBVIDTuple(ECTAlgorithm(1), 100, true)}},
			}},
			&Padding{Octets: make([]byte, 100)},
			&Restart{Flags: RestartRA, Fields: 2, RemainingTime: 25, NeighborSystemID: sysB},
			&MultiTopology{Topologies: []uint16{0, 2}},
			&Authentication{Type: AuthCrypto, KeyID: 3, Data: make([]byte, 32)},
		},
	}
}

func sampleLSP() *LSP {
	return &LSP{
		RemainingLifetime: 1200, ID: MakeLSPID(sysA, 0), SequenceNumber: 7, Flags: FlagLevel1,
		TLVs: []TLV{
			area, &Protocols{NLPIDs: []byte{NLPIDSPB}}, v4, v6, &Hostname{Name: "bridge-a"},
			&MTCapability{SubTLVs: []TLV{
				&SPBInst{
					CISTRoot: tsn.MakeBridgeID(0x8000, sysA), BridgePriority: 0x8000, Source: 1,
					Trees: []SPBTree{MakeSPBTree(ECTAlgorithm(1), 100), MakeSPBTree(ECTAlgorithm(2), 101)},
				},
			}},
			&ExtISReach{Neighbors: []ExtISNeighbor{{
				ID: MakeNodeID(sysB), Metric: 20000,
				SubTLVs: []TLV{&LinkIDs{Local: 1, Remote: 2}, &SPBMetric{Metric: 20000, NumPorts: 1, PortID: 1}},
			}}},
			&MTCapability{SubTLVs: []TLV{
				&SPBMSI{BMAC: tsn.MAC{2, 0, 0, 0, 1, 1}, Word: 100},
				&SPBMSI{BMAC: sysA, Word: 100, Services: []uint32{0xc0000001}},
			}},
			&GenInfo{Flags: GenInfoS, Application: 0xfffe, Records: []TLV{&Raw{Type: 1, Value: []byte("record")}}},
			&MTISReach{MT: 2, Neighbors: []ExtISNeighbor{{
				ID: MakeNodeID(sysB), Metric: 10,
				SubTLVs: []TLV{&SPBMetric{Metric: 10, NumPorts: 1, PortID: 1}, &OpaqueECT{Adjacency: true, ECT: 0x0080c217, Information: []byte{1, 2}}},
			}}},
			&LSPBufferSize{Octets: ReceiveLSPBufferSize},
			&MultiTopology{Topologies: []uint16{0, MTComponentOverload | 2}},
			&Authentication{Type: AuthHMACMD5, Data: make([]byte, 16)},
			&GenInfo{
				Flags: GenInfoD | GenInfoV4 | GenInfoV6, Application: 2, IPv4: v4.Addresses[0], IPv6: v6.Addresses[0],
				Records: []TLV{&Raw{Type: 1, Value: []byte{1}}},
			},
		},
	}
}

// sampleForeign holds what the switch keeps and passes on but never sends.
func sampleForeign() *LSP {
	return &LSP{
		RemainingLifetime: 1200, ID: MakeLSPID(sysB, 1), SequenceNumber: 7, Flags: FlagLevel1,
		TLVs: []TLV{
			sampleTopology(),
			&MTCapability{MT: 2, SubTLVs: []TLV{
				&SPBVADDR{Word: 1<<12 | 300, Addresses: []SPBVMAC{{SPBVTransmit | SPBVReceive, tsn.MAC{1, 0, 0x5e, 0, 0, 1}}}},
				&OpaqueECT{ECT: 0x0080c217, Information: []byte{3}},
			}},
		},
	}
}

// sampleTopology is a branch of a strict tree (RFC 7813 s6).
func sampleTopology() TLV {
	return &MTCapability{SubTLVs: []TLV{&Topology{BaseVIDs: []uint16{100}, SubTLVs: []TLV{
		&Hop{Flags: HopCircuit | HopEdgeBridge | HopRoot, SystemID: sysA, ExtendedLocalCircuitID: 1},
		&Hop{Flags: HopVID | HopEdgeBridge | HopLeaf, SystemID: sysB, VIDs: []uint16{0x8000 | 100}, HasDelay: true, Delay: [6]byte{33, 4, 0, 0, 0, 50}},
		&Bandwidth{Class: 0x68, Rate: 0x4b3ebc20},
		&Bandwidth{Assignment: true, Class: 0x6e, Rate: 0x4b3ebc20},
		&Timestamp{Seconds: 1_700_000_000},
	}}}}
}

func samplePurge() *LSP {
	return &LSP{
		ID: MakeLSPID(sysA, 0), SequenceNumber: 8, Flags: FlagLevel1,
		TLVs: []TLV{
			&Authentication{Type: AuthCrypto, KeyID: 3, Data: make([]byte, 20)},
			&PurgeOriginator{Systems: []tsn.MAC{sysB, sysA}}, &Hostname{Name: "bridge-b"},
		},
	}
}

// sampleOthers are PDUs that SPB does not use.
func sampleOthers() []PDU {
	var out []PDU
	for _, c := range []struct {
		t    Type
		tlvs []TLV
	}{
		{TypeL1LANIIH, sampleIIH().TLVs},
		{TypeL2LANIIH, sampleIIH().TLVs},
		{TypeL2LSP, samplePurge().TLVs},
		{TypeL2CSNP, []TLV{sampleEntries()}},
		{TypeL2PSNP, []TLV{sampleEntries()}},
	} {
		p := &Other{Kind: c.t, Fixed: make([]byte, headerLen[c.t]-commonLen), TLVs: c.tlvs}
		if c.t == TypeL2LSP {
			p.Fixed[len(p.Fixed)-1] = 3 // IS type 2
		}
		b, err := p.Append(nil) // Fixed with its PDU Length
		if err != nil {
			panic(err)
		}
		p.Fixed = b[commonLen:headerLen[c.t]]
		out = append(out, p)
	}
	return out
}

func sampleEntries() *LSPEntries {
	return &LSPEntries{Entries: []LSPEntry{sampleLSP().Entry(), {ID: MakeLSPID(sysB, 1), SequenceNumber: 0}}}
}

func sampleCSNP() *CSNP {
	return &CSNP{Source: MakeNodeID(sysA), End: MaxLSPID, TLVs: []TLV{sampleEntries()}}
}

func samplePSNP() *PSNP { return &PSNP{Source: MakeNodeID(sysA), TLVs: []TLV{sampleEntries()}} }

func samples() []PDU {
	lsp, purge, foreign := sampleLSP(), samplePurge(), sampleForeign()
	for _, l := range []*LSP{lsp, purge, foreign} {
		if _, err := l.Seal(); err != nil {
			panic(err)
		}
	}
	return append([]PDU{sampleIIH(), lsp, purge, sampleCSNP(), samplePSNP(), foreign}, sampleOthers()...)
}
