package chart

import (
	"testing"

	tsn "tsnswitch"
	"tsnswitch/internal/api"
	"tsnswitch/qbv/schedule"
	"tsnswitch/qbv/verify"
)

// A schedule as a daemon tells it, ports in the order of their systems, is
// drawn along the stream's way; the deadline is at the listener's port, and the
// present is where it is in the cycle.
func TestRunning(t *testing.T) {
	bridge := tsn.Hop{System: tsn.MAC{2, 0, 0, 0, 0, 1}, Port: 3}
	host := tsn.Hop{System: tsn.MAC{2, 0, 0, 1, 0, 1}, Port: 1}
	id := tsn.MakeStreamID(host.System, 1)
	port := func(h tsn.Hop, name string, open int64) api.PortSchedule {
		return api.PortSchedule{
			PathHop: api.PathHop{Hop: h, Node: name}, Oper: &tsn.GateControlList{CycleTime: 1000},
			Windows: []api.Window{{Stream: id, Start: open, End: open + 10, Period: 500}},
		}
	}
	s := &api.Schedule{
		State: api.ScheduleRunning, Base: tsn.PTPTime{NS: 70}, CycleTime: 1000,
		Ports:   []api.PortSchedule{port(bridge, "b1", 400), port(host, "A", 100), {PathHop: api.PathHop{Hop: bridge, Node: "b2"}}},
		Streams: []api.ScheduledStream{{ID: id, Name: "axis", Scheduled: true, MaxLatency: 450}, {Name: "none"}},
	}
	got := Running(s, &tsn.PTPTime{NS: 3100})
	if len(got.Streams) != 1 || len(got.Rows) != 3 || got.Now != 30 {
		t.Fatalf("%+v", got)
	}
	if st := got.Streams[0]; st.Offset != 100 || st.Period != 500 {
		t.Errorf("stream %+v", st)
	}
	if got.Rows[0].Name != "A:1" || got.Rows[1].Name != "b1:3" || got.Rows[2].Empty == "" {
		t.Errorf("rows %+v", got.Rows)
	}
	if a, b := got.Rows[0].Slots[0].Due, got.Rows[1].Slots[0].Due; a != 0 || b != 550 {
		t.Errorf("due %d at the talker's port, %d at the listener's", a, b)
	}
	if c := Running(s, &tsn.PTPTime{NS: 3100, Domain: 9}); c.Now != -1 {
		t.Errorf("another domain's time is drawn at %d", c.Now)
	}
}

// A plan from files has the same form: windows in their queues, the legend
// from the report.
func TestPlanned(t *testing.T) {
	link := func(from, to schedule.NodeID) schedule.Link {
		return schedule.Link{From: from, To: to, Rate: tsn.Gbps, Queues: 8, Scheduled: 0x80}
	}
	p := &schedule.Problem{
		Nodes:   []schedule.Node{{Name: "h0"}, {Name: "b", Bridge: true}, {Name: "h1"}},
		Links:   []schedule.Link{link(0, 1), link(1, 2)},
		Streams: []schedule.Stream{{ID: 4, Talker: 0, Listeners: []schedule.NodeID{2}, Size: 125, Period: 10_000, Deadline: 5000}},
	}
	list := tsn.GateControlList{CycleTime: 10_000, Entries: []tsn.GateEntry{{Gates: 0x80, Interval: 10_000}}}
	s := &schedule.Solution{
		Cycle:   10_000,
		Streams: []schedule.Placement{{Stream: 0, Route: []schedule.LinkID{0, 1}, Starts: []int64{200, 1300}, Queues: []tsn.TrafficClass{7, 7}}},
		Gates:   []schedule.LinkGates{{Link: 0, List: list}, {Link: 1, List: list}},
	}
	report, err := verify.Check(p, s)
	if err != nil {
		t.Fatal(err)
	}
	c, err := Planned(p, s, report)
	if err != nil || len(c.Rows) != 2 || len(c.Streams) != 1 {
		t.Fatalf("%+v, %v", c, err)
	}
	if st := c.Streams[0]; st.Name != "stream 4" || st.Offset != 200 || st.Latency != 2100 || st.Limit != 5000 {
		t.Errorf("%+v", st)
	}
	last := c.Rows[1].Slots[0]
	if c.Rows[1].Name != "b-h1" || last.Open != 1300 || last.Close != 2300 || last.Queue != 7 || last.Due != 5200 || c.Rows[0].Slots[0].Due != 0 {
		t.Errorf("%+v", c.Rows)
	}
}
