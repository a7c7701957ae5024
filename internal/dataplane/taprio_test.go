package dataplane

import (
	"bytes"
	"encoding/hex"
	"flag"
	"os"
	"reflect"
	"testing"

	"github.com/mdlayher/netlink"
	"pgregory.net/rapid"

	tsn "tsnswitch"
)

func encoded(t interface{ Fatal(...any) }, cl classes, r taprioRoot, replace bool, s *Schedule, per perClass) []byte {
	ae := netlink.NewAttributeEncoder()
	cl.encodeTaprio(ae, r, replace, s, per)
	b, err := ae.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestTaprioRoundTrip: what is written is read back, in both orders of classes.
func TestTaprioRoundTrip(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		cl := classes{n: rapid.IntRange(1, 8).Draw(rt, "classes"), order: Order(rapid.IntRange(0, 1).Draw(rt, "order"))}
		cl.unused = tsn.GateMask(rapid.Byte().Draw(rt, "unused")) & (allGates(cl.n) >> 1) // the highest is there
		var m tsn.ClassMap
		for i := range m {
			m[i] = rapid.Custom(func(t *rapid.T) tsn.TrafficClass { return tsn.TrafficClass(rapid.IntRange(0, cl.n-1).Draw(t, "class")) }).Filter(cl.has).Draw(rt, "class")
		}
		root := cl.root(m, PortConfig{Offload: Offload(rapid.IntRange(0, 2).Draw(rt, "offload")), LaunchDelta: rapid.Int64Range(0, maxDelta).Draw(rt, "delta")})
		s := &Schedule{
			Base: rapid.Int64().Draw(rt, "base"), Cycle: rapid.Int64Min(1).Draw(rt, "cycle"), Extension: rapid.Int64().Draw(rt, "extension"),
		}
		for range rapid.IntRange(1, 20).Draw(rt, "entries") {
			s.Entries = append(s.Entries, tsn.GateEntry{
				Gates: tsn.GateMask(rapid.Byte().Draw(rt, "gates"))&allGates(cl.n) | cl.unused, Interval: rapid.Int64Range(1, 1<<32-1).Draw(rt, "interval"),
			})
		}
		var sdu [8]uint32
		var preemptible [8]bool
		for c := range cl.n {
			if cl.unused.Has(tsn.TrafficClass(c)) {
				continue
			}
			sdu[c], preemptible[c] = rapid.Uint32().Draw(rt, "sdu"), rapid.Bool().Draw(rt, "preemptible")
		}
		got, err := cl.decodeTaprio(encoded(rt, cl, root, false, s, perClass{&sdu, &preemptible}))
		if err != nil || !got.Root.equal(root) || got.Admin != nil || !reflect.DeepEqual(got.Oper, s) ||
			got.MaxSDU != sdu || got.Preemptible != preemptible || !got.HasMaxSDU || !got.HasFP {
			rt.Fatalf("%+v, %v; want %+v", got, err, s)
		}
		for c := range tsn.TrafficClass(cl.n) {
			if cl.has(c) && (cl.class(cl.tc(c)) != c || cl.tc(c) >= cl.queues()) {
				rt.Fatalf("class %d is %d there and back", c, cl.class(cl.tc(c)))
			}
		}
	})
}

// TestTaprioBytes fixes the bytes for each mode. In full offload class numbers are the standard's, no
// clock is given, and flags is 2.
func TestTaprioBytes(t *testing.T) {
	s := &Schedule{Base: 1, Cycle: 3000, Entries: []tsn.GateEntry{{Gates: 0x10, Interval: 1000}, {Gates: 0xf, Interval: 2000}}}
	var out bytes.Buffer
	for _, c := range []struct {
		name string
		o    Offload
		cl   classes
		per  perClass
	}{
		{"software, lowest first", OffloadNone, classes{n: 5, order: LowestFirst}, perClass{}},
		{"full offload", OffloadFull, classes{n: 5, order: HighestFirst}, perClass{}},
		{"txtime-assist", OffloadTxTime, classes{n: 5, order: HighestFirst}, perClass{MaxSDU: &[8]uint32{1: 300}}},
		{"full offload, class 0 preemptible", OffloadFull, classes{n: 5, order: HighestFirst}, perClass{&[8]uint32{}, &[8]bool{0: true}}},
	} {
		root := c.cl.root(tsn.DefaultClassMap, PortConfig{Offload: c.o})
		out.WriteString(c.name + "\n" + hex.Dump(encoded(t, c.cl, root, false, s, c.per)))
	}
	const golden = "testdata/taprio.golden"
	if flag.Lookup("update").Value.String() == "true" {
		if err := os.WriteFile(golden, out.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if want, err := os.ReadFile(golden); err != nil || !bytes.Equal(want, out.Bytes()) {
		t.Errorf("%v; got\n%s", err, out.String())
	}
}

// TestAllOpenNeverStops: the all-open schedule is sent as all ones, for which
// taprio needs no timer; a list of the scheduler never is.
func TestAllOpenNeverStops(t *testing.T) {
	cl := classes{n: 5, order: LowestFirst}
	ones := []byte{0xff, 0xff, 0xff, 0xff}
	if !bytes.Contains(encoded(t, cl, cl.root(tsn.DefaultClassMap, PortConfig{}), true, AllOpen(5), perClass{}), ones) {
		t.Error("the all-open mask is not all ones")
	}
	two := &Schedule{Cycle: 2000, Entries: []tsn.GateEntry{{Gates: 0x1f, Interval: 1000}, {Gates: 0x10, Interval: 1000}}}
	if bytes.Contains(encoded(t, cl, cl.root(tsn.DefaultClassMap, PortConfig{}), true, two, perClass{}), ones) {
		t.Error("an open entry of a list is all ones: frames would run over its end")
	}
}

// FuzzTaprio: any options are read or refused, and what is read is bounded by
// its input.
func FuzzTaprio(f *testing.F) {
	cl := classes{n: 5, order: LowestFirst}
	f.Add(encoded(f, cl, cl.root(tsn.DefaultClassMap, PortConfig{}), false, AllOpen(5), perClass{&[8]uint32{1: 5}, &[8]bool{1: true}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := cl.decodeTaprio(b)
		if err != nil {
			return
		}
		for _, x := range []*Schedule{s.Oper, s.Admin} {
			if x != nil && (x.Cycle <= 0 || len(x.Entries) > len(b)/4) {
				t.Fatalf("%+v from %d octets", x, len(b))
			}
		}
	})
}
