package spb

import (
	"fmt"
	"runtime"
	"testing"

	tsn "tsnswitch"
	"tsnswitch/spb/isispdu"
)

// bridgeLSP is what a bridge of a network with degree 6 says: two Base VIDs,
// stations end stations in both, their records and one service.
func bridgeLSP(n, nodes, stations int) *isispdu.LSP {
	l := &isispdu.LSP{RemainingLifetime: 1200, ID: isispdu.MakeLSPID(nodeMAC(n), 0), SequenceNumber: 1, Flags: isispdu.FlagLevel1}
	inst := &isispdu.SPBInst{CISTRoot: tsn.MakeBridgeID(0x8000, nodeMAC(n)), BridgePriority: 0x8000, Source: uint32(n + 1)}
	for k, vid := range []tsn.VID{vidA, vidB} {
		inst.Trees = append(inst.Trees, isispdu.MakeSPBTree(isispdu.ECTAlgorithm(uint8(k+1)), vid))
	}
	reach := &isispdu.ExtISReach{}
	for k := range 6 {
		d := 1 + k/2*17 // a ring with chords
		to := (n + d + nodes*(1-k%2*2)) % nodes
		if k%2 == 1 {
			to = (n - d + nodes) % nodes
		}
		reach.Neighbors = append(reach.Neighbors, isispdu.ExtISNeighbor{
			ID: isispdu.MakeNodeID(nodeMAC(to)), Metric: 20000,
			SubTLVs: []isispdu.TLV{
				&isispdu.LinkIDs{Local: uint32(k + 1), Remote: uint32(k ^ 1 + 1)},
				&isispdu.SPBMetric{Metric: 20000, NumPorts: 1, PortID: tsn.Port(k + 1)},
			},
		})
	}
	l.TLVs = []isispdu.TLV{
		&isispdu.AreaAddresses{Areas: [][]byte{make([]byte, 13)}}, &isispdu.Protocols{NLPIDs: []byte{isispdu.NLPIDSPB}},
		&isispdu.Hostname{Name: fmt.Sprintf("bridge-%d", n)}, &isispdu.MTCapability{SubTLVs: []isispdu.TLV{inst}}, reach,
	}
	var list []localStation
	addresses := []isispdu.TLV{&isispdu.SPBMSI{BMAC: nodeMAC(n), Word: uint16(vidA), Services: []uint32{0xc0001000}}}
	for s := range stations {
		st := EndStation{MAC: stationMAC(n*stations + s), Port: edgePort, Name: fmt.Sprintf("s%d", s)}
		list = append(list, localStation{EndStation: st})
		for _, vid := range []tsn.VID{vidA, vidB} {
			addresses = append(addresses, &isispdu.SPBMSI{BMAC: st.MAC, Word: uint16(vid)})
		}
	}
	l.TLVs = append(l.TLVs, &isispdu.MTCapability{SubTLVs: addresses})
	l.TLVs = append(l.TLVs, stationRecords(list)...)
	return l
}

// BenchmarkDatabaseMemory prints what an instance holds that knows 1,000 bridges
// of degree 6 with 5 end stations each: the database alone, and with the
// topology made of it. The bar is 64 MB.
func BenchmarkDatabaseMemory(b *testing.B) {
	const nodes = 1000
	heap := func() float64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return float64(m.HeapAlloc) / 1e6
	}
	var raws [][]byte
	octets := 0
	for n := range nodes {
		raw, err := bridgeLSP(n, nodes, 5).Seal()
		if err != nil {
			b.Fatal(err)
		}
		raws, octets = append(raws, raw), octets+len(raw)
	}
	for b.Loop() {
		before := heap()
		var db database
		db.init()
		for _, raw := range raws {
			pdu, err := isispdu.Parse(raw)
			if err != nil {
				b.Fatal(err)
			}
			db.put(&storedLSP{pdu: pdu.(*isispdu.LSP), raw: append([]byte{}, raw...)})
		}
		b.ReportMetric(heap()-before, "MB-database")
		runtime.KeepAlive(db)
		db = database{}

		before = heap()
		p := newPeer(b, nil).up()
		for _, raw := range raws[2:] { // 0 is the instance, 1 its neighbour
			p.receiveRaw(1, raw)
		}
		p.receiveRaw(1, raws[1])
		p.wait(second)
		if n := p.inst.Status().NodesKnown; n != nodes {
			b.Fatalf("%d nodes are known", n)
		}
		b.ReportMetric(heap()-before, "MB-instance")
		runtime.KeepAlive(p)
	}
	b.ReportMetric(float64(octets)/1e6, "MB-wire")
}

// BenchmarkParseLSP decodes the LSP of a bridge with 5 end stations.
func BenchmarkParseLSP(b *testing.B) {
	raw, err := bridgeLSP(1, 1000, 5).Seal()
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := isispdu.Parse(raw); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkAuthentic verifies that LSP with each algorithm.
func BenchmarkAuthentic(b *testing.B) {
	for a := HMACMD5; a <= HMACSHA512; a++ {
		b.Run(a.String(), func(b *testing.B) {
			key := Key{ID: 1, Algorithm: a, Secret: Secret("a secret of usual length")}
			raw := signed(key, bridgeLSP(1, 1000, 5))
			pdu, err := isispdu.Parse(raw)
			if err != nil {
				b.Fatal(err)
			}
			i := &Instance{}
			i.auth.set(bothChains(chainOf(key)))
			b.SetBytes(int64(len(raw)))
			b.ReportAllocs()
			for b.Loop() {
				if !i.authentic(&port{}, pdu, raw) {
					b.Fatal("not authentic")
				}
			}
		})
	}
}
