package pathplan

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"

	tsn "tsnswitch"
	"tsnswitch/qbv/schedule"
)

// Settings are the same on all ports of a network.
type Settings struct {
	GuardOctets int   // longest frame in the way of a window
	SyncError   int64 // largest difference of two clocks
	Jitter      int64 // by how much a transmission may be early or late
	MinInterval int64 // of a gate entry, at least
	MaxCycle    int64 // of the network; 0: schedule.DefaultMaxCycle
}

// Link is the egress port of a system and the link behind it.
type Link struct {
	From             tsn.Hop
	To               tsn.MAC
	Rate             tsn.Rate
	PropagationDelay int64
	ProcessingDelay  int64 // of To
	MaxEntries       int   // of From's gate control list; 0: no limit
	Software         bool  // From runs software taprio
}

// Stream is a stream and its way: a hop's link leads to the next hop's system,
// the last to the listener.
type Stream struct {
	Stream tsn.Stream
	Path   []tsn.Hop
}

// Net is a network and its streams, as a problem. Its nodes and links are in
// ascending order, and its streams by StreamID: the order given does not matter.
type Net struct {
	Problem *schedule.Problem
	streams []Stream  // parallel to Problem.Streams
	hops    []tsn.Hop // parallel to Problem.Links
}

// minSize is a minimum frame. A talker may send less than it reserved.
const minSize = 84

// New puts a network in the terms of a schedule. name is what people call a
// system. An error is a stream whose path is none, or a *schedule.Error.
func New(set Settings, name func(tsn.MAC) string, links []Link, streams []Stream) (*Net, error) {
	n := &Net{streams: slices.Clone(streams), Problem: &schedule.Problem{
		SyncError: set.SyncError, Jitter: set.Jitter, MaxCycle: set.MaxCycle,
	}}
	slices.SortFunc(n.streams, func(a, b Stream) int { return bytes.Compare(a.Stream.ID[:], b.Stream.ID[:]) })
	links = slices.Clone(links)
	slices.SortFunc(links, func(a, b Link) int { return compareHop(a.From, b.From) })
	nodes := n.nodes(links, name)
	for _, l := range links {
		n.hops = append(n.hops, l.From)
		n.Problem.Links = append(n.Problem.Links, set.link(l, nodes))
	}
	for i, s := range n.streams {
		route, err := n.route(links, s)
		if err != nil {
			return nil, fmt.Errorf("stream %s: %w", s.Stream.ID, err)
		}
		st := s.Stream
		n.Problem.Streams = append(n.Problem.Streams, schedule.Stream{
			ID: i, Name: cmp.Or(st.Name, st.ID.String()), StreamID: st.ID,
			Talker: nodes[s.Path[0].System], Listeners: []schedule.NodeID{n.Problem.Links[route[len(route)-1]].To},
			Size: st.WireOctets(), MinSize: minSize, Frames: int(st.MaxIntervalFrames), Period: st.Interval, Deadline: st.MaxLatency,
			Routes: [][]schedule.LinkID{route},
		})
	}
	return n, n.Problem.Validate()
}

// Rate is that of the link at a hop; 0 if there is none.
func (n *Net) Rate(h tsn.Hop) tsn.Rate {
	if i, ok := slices.BinarySearchFunc(n.hops, h, compareHop); ok {
		return n.Problem.Links[i].Rate
	}
	return 0
}

func compareHop(a, b tsn.Hop) int {
	return cmp.Or(bytes.Compare(a.System[:], b.System[:]), cmp.Compare(a.Port, b.Port))
}

// nodes makes the nodes of all ends of links. What begins or ends a stream is
// an end station.
func (n *Net) nodes(links []Link, name func(tsn.MAC) string) map[tsn.MAC]schedule.NodeID {
	var systems []tsn.MAC
	for _, l := range links {
		systems = append(systems, l.From.System, l.To)
	}
	slices.SortFunc(systems, func(a, b tsn.MAC) int { return bytes.Compare(a[:], b[:]) })
	ids := map[tsn.MAC]schedule.NodeID{}
	for i, s := range slices.Compact(systems) {
		ids[s] = schedule.NodeID(i)
		station := slices.ContainsFunc(n.streams, func(x Stream) bool { return x.Stream.Talker == s || x.Stream.Listener == s })
		n.Problem.Nodes = append(n.Problem.Nodes, schedule.Node{Name: name(s), System: s, Bridge: !station})
	}
	return ids
}

func (set Settings) link(l Link, nodes map[tsn.MAC]schedule.NodeID) schedule.Link {
	out := schedule.Link{
		From: nodes[l.From.System], To: nodes[l.To], FromPort: l.From.Port, Rate: l.Rate,
		PropagationDelay: l.PropagationDelay, ProcessingDelay: l.ProcessingDelay,
		Queues: tsn.NumClasses, Scheduled: 1 << tsn.ClassScheduled, GuardOctets: set.GuardOctets,
		Control: tsn.ClassControl, ControlOctets: tsn.MaxFrameOctets,
		MaxEntries: l.MaxEntries, MinInterval: set.MinInterval, Software: l.Software,
	}
	if l.Software { // which takes no entry shorter than a minimum frame
		out.MinInterval = max(out.MinInterval, l.Rate.TransmitTime(60))
	}
	return out
}

// route is the links of a stream's path.
func (n *Net) route(links []Link, s Stream) ([]schedule.LinkID, error) {
	if c := tsn.DefaultClassMap[s.Stream.PCP]; c != tsn.ClassScheduled {
		return nil, fmt.Errorf("priority %d is in class %d, only class %d is scheduled", s.Stream.PCP, c, tsn.ClassScheduled)
	}
	if len(s.Path) == 0 {
		return nil, fmt.Errorf("it has no path")
	}
	var route []schedule.LinkID
	for i, h := range s.Path {
		id, ok := slices.BinarySearchFunc(n.hops, h, compareHop)
		to := s.Stream.Listener
		if i+1 < len(s.Path) {
			to = s.Path[i+1].System
		}
		if !ok || links[id].To != to {
			return nil, fmt.Errorf("hop %d: no link leads from %s port %d to %s", i+1, h.System, h.Port, to)
		}
		route = append(route, schedule.LinkID(id))
	}
	return route, nil
}

// Placed is when a stream is sent on its path; it outlives a restart.
type Placed struct {
	Stream tsn.Stream `json:"stream"`
	Path   []tsn.Hop  `json:"path"`
	// As in schedule.Placement.
	Starts    []int64             `json:"startsNs,omitempty"`
	Queues    []tsn.TrafficClass  `json:"queues,omitempty"`
	Instances []schedule.Instance `json:"instances,omitempty"`
}

// Running is a schedule by streams and hops instead of numbers.
type Running struct {
	Cycle   int64    `json:"cycleTimeNs"`
	Streams []Placed `json:"streams,omitempty"`
}

// keep is what of a running schedule can stay as it is: the streams that are
// still the same, on the same path, with periods that fit the new cycle.
func (n *Net) keep(r Running) *schedule.Solution {
	cycle := hyperperiod(n.Problem.Streams)
	s := &schedule.Solution{Cycle: cycle}
	for i, x := range n.streams {
		j := slices.IndexFunc(r.Streams, func(p Placed) bool { return p.Stream == x.Stream && slices.Equal(p.Path, x.Path) })
		if j < 0 {
			continue
		}
		p := r.Streams[j]
		at := schedule.Placement{Stream: i, Route: n.Problem.Streams[i].Routes[0], Starts: p.Starts, Queues: p.Queues}
		if len(p.Instances) > 0 {
			if r.Cycle == 0 || cycle%r.Cycle != 0 {
				continue
			}
			at.Instances = repeat(p.Instances, r.Cycle, cycle)
		}
		if n.inTime(at) {
			s.Streams = append(s.Streams, at)
		}
	}
	return s
}

// inTime reports whether no frame would leave a hop before it is there: links
// may be slower than when it was planned.
func (n *Net) inTime(at schedule.Placement) bool {
	size := n.Problem.Streams[at.Stream].Size
	ok := func(starts []int64) bool {
		for h := 1; h < min(len(starts), len(at.Route)); h++ {
			l := &n.Problem.Links[at.Route[h-1]]
			if starts[h] < starts[h-1]+l.Rate.TransmitTime(size)+l.PropagationDelay+l.ProcessingDelay {
				return false
			}
		}
		return true
	}
	return ok(at.Starts) && !slices.ContainsFunc(at.Instances, func(x schedule.Instance) bool { return !ok(x.Starts) })
}

// repeat writes instances of a cycle out for a longer one.
func repeat(in []schedule.Instance, cycle, longer int64) (out []schedule.Instance) {
	for shift := int64(0); shift < longer; shift += cycle {
		for _, x := range in {
			starts := slices.Clone(x.Starts)
			for h := range starts {
				starts[h] += shift
			}
			out = append(out, schedule.Instance{K: len(out), Starts: starts, Queues: x.Queues})
		}
	}
	return out
}

// hyperperiod is the least common multiple of all periods, as long as it is no
// longer than any cycle may be.
func hyperperiod(streams []schedule.Stream) int64 {
	cycle := int64(1)
	for _, s := range streams {
		a, b := cycle, s.Period
		for b != 0 {
			a, b = b, a%b
		}
		if s.Period/a > schedule.MaxTime/cycle {
			return schedule.MaxTime
		}
		cycle *= s.Period / a
	}
	return cycle
}
