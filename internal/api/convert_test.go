package api

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"tsnswitch"
	pb "tsnswitch/internal/api/tsnswitchv1"
)

// roundTrip checks that a value survives its message, on the wire too.
func roundTrip[T any, M proto.Message](t *rapid.T, name string, v T, to func(T) M, from func(*decoder, M) T) {
	m := to(v)
	b, err := proto.Marshal(m)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	again := m.ProtoReflect().New().Interface().(M)
	if err := proto.Unmarshal(b, again); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	var d decoder
	got := from(&d, again)
	if err := d.err(); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	if diff := cmp.Diff(v, got, cmpopts.EquateEmpty()); diff != "" {
		t.Fatalf("%s (-sent +got):\n%s", name, diff)
	}
}

var (
	anyMAC  = rapid.Map(rapid.SliceOfN(rapid.Byte(), 6, 6), func(b []byte) tsn.MAC { return tsn.MAC(b) })
	anyID   = rapid.Map(rapid.SliceOfN(rapid.Byte(), 8, 8), func(b []byte) tsn.StreamID { return tsn.StreamID(b) })
	anyText = rapid.StringMatching(`[ -~äß]{0,12}`)
)

func anyStream(t *rapid.T) tsn.Stream {
	return tsn.Stream{
		ID: anyID.Draw(t, "id"), Name: anyText.Draw(t, "name"),
		Talker: anyMAC.Draw(t, "talker"), Listener: anyMAC.Draw(t, "listener"), DestinationAddress: anyMAC.Draw(t, "da"),
		VID: tsn.VID(rapid.Uint16Range(0, 4094).Draw(t, "vid")), PCP: tsn.PCP(rapid.Uint8Range(0, 7).Draw(t, "pcp")),
		Interval: rapid.Int64().Draw(t, "interval"), MaxFrameSize: rapid.Uint16().Draw(t, "size"),
		MaxIntervalFrames: rapid.Uint16().Draw(t, "frames"), MaxLatency: rapid.Int64().Draw(t, "latency"),
	}
}

func anyHop(t *rapid.T) PathHop {
	return PathHop{
		Hop:  tsn.Hop{System: anyMAC.Draw(t, "system"), Port: tsn.Port(rapid.Uint16Range(0, 4095).Draw(t, "port"))},
		Node: anyText.Draw(t, "node"), Ifname: anyText.Draw(t, "ifname"),
	}
}

func anyTime(t *rapid.T) tsn.PTPTime {
	return tsn.PTPTime{NS: rapid.Int64().Draw(t, "ns"), Domain: rapid.Uint8().Draw(t, "domain")}
}

func anyGates(t *rapid.T) *tsn.GateControlList {
	if rapid.Bool().Draw(t, "no list") {
		return nil
	}
	l := &tsn.GateControlList{
		BaseTime: anyTime(t), CycleTime: rapid.Int64().Draw(t, "cycle"), CycleTimeExtension: rapid.Int64().Draw(t, "extension"),
	}
	for range rapid.IntRange(0, 4).Draw(t, "entries") {
		l.Entries = append(l.Entries, tsn.GateEntry{Gates: tsn.GateMask(rapid.Uint8().Draw(t, "gates")), Interval: rapid.Int64().Draw(t, "interval")})
	}
	return l
}

func anyPorts(t *rapid.T) []PortSchedule {
	var out []PortSchedule
	for range rapid.IntRange(0, 3).Draw(t, "ports") {
		p := PortSchedule{
			PathHop: anyHop(t), Admin: anyGates(t), Oper: anyGates(t),
			ConfigPending: rapid.Bool().Draw(t, "pending"), Reason: anyText.Draw(t, "reason"),
		}
		for range rapid.IntRange(0, 2).Draw(t, "windows") {
			p.Windows = append(p.Windows, Window{anyID.Draw(t, "stream"), rapid.Int64().Draw(t, "start"), rapid.Int64().Draw(t, "end"), rapid.Int64().Draw(t, "frameStart"), rapid.Int64().Draw(t, "frameEnd"), rapid.Int64().Draw(t, "period")})
		}
		out = append(out, p)
	}
	return out
}

func anySample(t *rapid.T) GPTPSample {
	return GPTPSample{
		Time: rapid.Int64().Draw(t, "time"), Domain: rapid.Uint8().Draw(t, "domain"), Offset: rapid.Int64().Draw(t, "offset"),
		RatePPM: rapid.Float64().Draw(t, "rate"), MeanLinkDelay: rapid.Float64().Draw(t, "delay"),
		Grandmaster: anyText.Draw(t, "grandmaster"), State: anyText.Draw(t, "state"),
	}
}

// Select puts the fields of another domain at the top, and names those there are.
func TestSelectDomain(t *testing.T) {
	g := GPTPStatus{Domains: []GPTPDomain{{Domain: 0}, {Domain: 20, Grandmaster: "x"}}}
	if err := g.Select(20); err != nil || g.Grandmaster != "x" {
		t.Errorf("%v: %+v", err, g.GPTPDomain)
	}
	if err := g.Select(3); ErrorCode(err) != CodeNotFound || err.Error() != "domain 3 is not configured here; there is 0, 20" {
		t.Error(err)
	}
}

func anyTrial(t *rapid.T) *Trial {
	return &Trial{
		ID: anyText.Draw(t, "id"), Phase: "started", RevertAt: anyTime(t), RevertIn: rapid.Int64().Draw(t, "in"), Text: "t",
		Final: rapid.Bool().Draw(t, "final"), Doubt: rapid.Bool().Draw(t, "doubt"), Systems: []tsn.MAC{{2}, {4}},
	}
}

func TestConversions(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		roundTrip(t, "stream", anyStream(t), streamToPB, (*decoder).stream)
		roundTrip(t, "hop", anyHop(t), hopToPB, (*decoder).hop)
		roundTrip(t, "reservation", tsn.Reservation{Stream: anyStream(t), Ports: []tsn.Port{1, 4095}}, reservationToPB, (*decoder).reservation)
		roundTrip(t, "stream state", StreamState{
			Stream: anyStream(t), Owner: anyText.Draw(t, "owner"), State: anyText.Draw(t, "state"), Reason: anyText.Draw(t, "reason"),
			Failure: tsn.FailureCode(rapid.Uint8().Draw(t, "failure")), Path: []PathHop{anyHop(t), anyHop(t)}, Latency: rapid.Int64().Draw(t, "latency"),
		}, streamStateToPB, (*decoder).streamState)
		roundTrip(t, "schedule", Schedule{
			ID: anyText.Draw(t, "id"), State: anyText.Draw(t, "state"), Base: anyTime(t), CycleTime: rapid.Int64().Draw(t, "cycle"),
			Ports: anyPorts(t), Streams: []ScheduledStream{{ID: anyID.Draw(t, "id"), Name: "n", Scheduled: true, Latency: 1, MaxLatency: 2, Reason: "r"}},
			Trial: anyTrial(t), Silent: []string{"b3"}, Warnings: []Warning{{Stream: anyID.Draw(t, "id"), Name: "n", Kind: WarnLatency, Before: 1, After: 2, Text: "t"}},
		}, scheduleToPB, (*decoder).schedule)
		roundTrip(t, "schedule state", ScheduleState{
			StagedID: "a", RunningID: "b", State: anyText.Draw(t, "state"), Base: anyTime(t), Ports: anyPorts(t),
			Clock: ClockState{Domain: 20, GrandMaster: "g", Now: 3, OffsetBound: 4, Trouble: "t"}, Trial: anyTrial(t),
		}, scheduleStateToPB, (*decoder).scheduleState)
		ports := []PortGates{{Port: 1, Gates: &tsn.GateControlList{BaseTime: anyTime(t), CycleTime: 5, Entries: []tsn.GateEntry{{Gates: 3, Interval: 5}}}, Arrivals: []Window{{anyID.Draw(t, "stream"), 1, 2, 3, 4, 6}}}, {Port: 2}}
		roundTrip(t, "stage", StageRequest{
			ID: anyText.Draw(t, "id"), Systems: []tsn.MAC{{2}, {4}}, StartBy: anyTime(t), Base: tsn.PTPTime{NS: 1}, KeepBy: anyTime(t), RevertAt: anyTime(t),
			Ports: ports, OldID: "o", Old: ports,
		}, stageRequestToPB, (*decoder).stageRequest)
		roundTrip(t, "event", Event{Seq: rapid.Uint64().Draw(t, "seq"), Time: rapid.Int64().Draw(t, "time"), Node: "n", Kind: "k", Port: 9, Detail: anyText.Draw(t, "detail"), Domain: rapid.Uint8().Draw(t, "domain")},
			eventToPB, (*decoder).event)
		sample, event := anySample(t), Event{Seq: 1, Kind: "grand-master", Domain: 20}
		roundTrip(t, "history", GPTPHistory{Node: anyText.Draw(t, "node"), Domain: 20, Samples: []GPTPSample{sample, sample}, Events: []Event{event}}, historyToPB, (*decoder).history)
		roundTrip(t, "update of a sample", GPTPUpdate{Sample: &sample}, updateToPB, (*decoder).update)
		roundTrip(t, "update of an event", GPTPUpdate{Event: &event}, updateToPB, (*decoder).update)
	})
}

// An Error crosses the wire with all it says; a code this side does not know
// becomes CodeInternal.
func TestErrorCrossesTheWire(t *testing.T) {
	e := Refuse(tsn.FailureMaxLatency, tsn.StreamID{1}, PathHop{Hop: tsn.Hop{System: tsn.MAC{2}, Port: 3}, Node: "b1"}, "no %d", 7)
	got := fromConnect(toConnect(e), "x")
	if d := cmp.Diff(e, got, cmpopts.IgnoreUnexported(Error{})); d != "" {
		t.Error(d)
	}
	if c := ErrorCode(errorFromPB(&pb.Error{Code: "from-the-future"})); c != CodeInternal {
		t.Errorf("code %q", c)
	}
	for code := range connectCodes {
		if got := ErrorCode(fromConnect(toConnect(&Error{Code: code, Text: "t"}), "x")); got != code {
			t.Errorf("%s became %s", code, got)
		}
	}
}

// Whatever octets a caller sends in place of messages, conversion says what is
// wrong or gives values in range.
func FuzzDecode(f *testing.F) {
	for _, m := range []proto.Message{
		&pb.AddStreamRequest{Spec: &pb.Stream{Id: "02-00-00-00-00-01:0001", Talker: "A", Vlan: 5000, Pcp: 9}},
		scheduleToPB(Schedule{ID: "s", Ports: []PortSchedule{{Admin: &tsn.GateControlList{Entries: []tsn.GateEntry{{Gates: 1, Interval: 2}}}}}}),
		&pb.PutReservationsRequest{Reservations: []*pb.Reservation{{Ports: []uint32{5000}}, nil}},
	} {
		b, _ := proto.Marshal(m)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var d decoder
		var add pb.AddStreamRequest
		if proto.Unmarshal(b, &add) == nil {
			r := d.request(&add)
			if r.Spec.PCP > 7 || r.Spec.VID > 4094 {
				t.Errorf("out of range: %+v", r.Spec)
			}
		}
		var put pb.PutReservationsRequest
		if proto.Unmarshal(b, &put) == nil {
			for _, r := range mapSlice(put.Reservations, d.reservation) {
				_ = r.Stream.Validate()
			}
		}
		var demand pb.RequestStreamRequest
		if proto.Unmarshal(b, &demand) == nil {
			if r := d.demand(&demand); r.VID > 4094 || r.Rank > 1 || r.MaxLatency < 0 {
				t.Errorf("out of range: %+v", r)
			}
		}
		var proxies pb.PutProxiesRequest
		if proto.Unmarshal(b, &proxies) == nil {
			_ = d.proxies(&proxies)
		}
		var sched pb.Schedule
		if proto.Unmarshal(b, &sched) == nil {
			_ = d.schedule(&sched)
		}
		var stage pb.StageScheduleRequest
		if proto.Unmarshal(b, &stage) == nil {
			_ = d.stageRequest(&stage)
		}
		_ = d.err()
	})
}
