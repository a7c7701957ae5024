package isispdu

import (
	"net/netip"

	tsn "tsnswitch"
)

// The samples hold every TLV and sub-TLV that the switch sends or understands.
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
				&SPBBVID{Tuples: []BVIDTuple{MakeBVIDTuple(ECTAlgorithm(1), 100, true)}},
			}},
			&Padding{Octets: make([]byte, 100)},
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
		},
	}
}

func sampleEntries() *LSPEntries {
	return &LSPEntries{Entries: []LSPEntry{sampleLSP().Entry(), {ID: MakeLSPID(sysB, 1), SequenceNumber: 0}}}
}

func sampleCSNP() *CSNP {
	return &CSNP{Source: MakeNodeID(sysA), End: MaxLSPID, TLVs: []TLV{sampleEntries()}}
}

func samplePSNP() *PSNP { return &PSNP{Source: MakeNodeID(sysA), TLVs: []TLV{sampleEntries()}} }

func samples() []PDU {
	lsp := sampleLSP()
	if _, err := lsp.Seal(); err != nil {
		panic(err)
	}
	purge := &LSP{ID: lsp.ID, SequenceNumber: 8, Flags: FlagLevel1}
	if _, err := purge.Seal(); err != nil {
		panic(err)
	}
	return []PDU{sampleIIH(), lsp, purge, sampleCSNP(), samplePSNP()}
}
