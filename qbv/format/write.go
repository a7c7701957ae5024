package format

import (
	"cmp"
	"encoding/json"
	"slices"
	"strconv"

	tsn "tsnswitch"
	"tsnswitch/qbv/schedule"
)

// Name is the format's name and version.
const Name = "qbv-solution/1"

// Meta is what a solution says of itself beside the schedule.
type Meta struct {
	Instance string
	Mode     string // "" : not told
	Seed     uint64
	Units    int64 // work units spent; negative: not told
	// Moved are the IDs of running streams that are elsewhere now; nil: not told.
	Moved []int
	// Figures of the placements, parallel to Solution.Streams; nil: not told.
	Figures []Figures
}

// Figures are worst cases over all listeners and periods, ns.
type Figures struct{ Latency, Jitter int64 }

// WriteSolution writes s, which must fit p: a stream, a link and a gate list
// each on one line, streams by ascending ID. Equal input gives equal bytes.
func WriteSolution(p *schedule.Problem, s *schedule.Solution, m Meta) []byte {
	w := &writer{p: p, ends: endNames(p)}
	w.raw(`{"format":`).str(Name).raw(`,"instance":`).str(m.Instance)
	w.raw(`,"cycle_ns":`).num(s.Cycle).raw(`,"status":`).str(status(p, s)).raw(`,"of":`).num(int64(len(p.Streams)))
	if m.Mode != "" {
		w.raw(`,"mode":`).str(m.Mode)
	}
	if m.Units >= 0 {
		w.raw(`,"seed":`).raw(strconv.FormatUint(m.Seed, 10)).raw(`,"units":`).num(m.Units)
	}
	if m.Moved != nil {
		w.raw(`,"moved":`)
		list(w, m.Moved, func(id int) { w.num(int64(id)) })
	}
	w.raw(",\n\"streams\":[")
	each(w, byID(s.Streams, func(i int) int { return p.Streams[s.Streams[i].Stream].ID }), func(i int) {
		w.placement(&s.Streams[i])
		if m.Figures != nil {
			w.raw(`,"latency_ns":`).num(m.Figures[i].Latency).raw(`,"jitter_ns":`).num(m.Figures[i].Jitter)
		}
		w.raw("}")
	})
	w.raw("],\n\"gates\":[")
	each(w, upTo(len(s.Gates)), func(i int) { w.gates(&s.Gates[i]) })
	if s.Cyclic != nil {
		w.raw("],\n\"cyclic\":")
		w.cyclic(s.Cyclic)
		w.raw(",\n\"unscheduled\":[")
	} else {
		w.raw("],\n\"unscheduled\":[")
	}
	each(w, byID(s.Unplaced, func(i int) int { return p.Streams[s.Unplaced[i].Stream].ID }), func(i int) { w.unplaced(&s.Unplaced[i]) })
	w.raw("]}\n")
	return w.b
}

func status(p *schedule.Problem, s *schedule.Solution) string {
	n := len(s.Streams)
	if s.Cyclic != nil {
		n += len(s.Cyclic.Streams)
	}
	if n < len(p.Streams) {
		return "partial"
	}
	return "complete"
}

// upTo is 0..n-1; byID is the same in the order of id.
func upTo(n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = i
	}
	return out
}

func byID[T any](list []T, id func(int) int) []int {
	order := upTo(len(list))
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(id(a), id(b)) })
	return order
}

// writer appends JSON.
type writer struct {
	p    *schedule.Problem
	ends [][2]string // of each link, as JSON
	b    []byte
}

func (w *writer) raw(s string) *writer { w.b = append(w.b, s...); return w }
func (w *writer) num(v int64) *writer  { w.b = strconv.AppendInt(w.b, v, 10); return w }
func (w *writer) str(s string) *writer { return w.raw(quote(s)) }

func quote(s string) string {
	b, _ := json.Marshal(s) // a string always can be
	return string(b)
}

// each writes the members of an array, a line each.
func each(w *writer, order []int, one func(i int)) {
	for k, i := range order {
		if k > 0 {
			w.raw(",")
		}
		w.raw("\n")
		one(i)
	}
}

// list writes v on one line.
func list[T any](w *writer, v []T, one func(T)) {
	w.raw("[")
	for i, x := range v {
		if i > 0 {
			w.raw(",")
		}
		one(x)
	}
	w.raw("]")
}

func (w *writer) link(l schedule.LinkID) {
	w.raw("[").raw(w.ends[l][0]).raw(",").raw(w.ends[l][1]).raw("]")
}

// placement leaves its object open.
func (w *writer) placement(x *schedule.Placement) {
	w.stream(x.Stream)
	w.raw(`,"route":`)
	list(w, x.Route, w.link)
	if x.Instances == nil {
		w.times(x.Starts, x.Queues)
		return
	}
	w.raw(`,"frames":`)
	list(w, x.Instances, func(f schedule.Instance) {
		w.raw(`{"k":`).num(int64(f.K))
		w.times(f.Starts, f.Queues)
		w.raw("}")
	})
}

func (w *writer) times(starts []int64, queues []tsn.TrafficClass) {
	w.raw(`,"starts":`)
	list(w, starts, func(v int64) { w.num(v) })
	w.raw(`,"queues":`)
	list(w, queues, func(q tsn.TrafficClass) { w.num(int64(q)) })
}

func (w *writer) gates(g *schedule.LinkGates) {
	w.raw(`{"link":`)
	w.link(g.Link)
	w.raw(`,"base_ns":`).num(g.List.BaseTime.NS).raw(`,"cycle_ns":`).num(g.List.CycleTime)
	w.raw(`,"entries":`)
	list(w, g.List.Entries, func(e tsn.GateEntry) {
		w.raw(`{"mask":`).num(int64(e.Gates)).raw(`,"interval_ns":`).num(e.Interval).raw("}")
	})
	if g.MaxSDU != [tsn.MaxTrafficClasses]int{} {
		w.raw(`,"max_sdu":`)
		list(w, g.MaxSDU[:w.p.Links[g.Link].Queues], func(v int) { w.num(int64(v)) })
	}
	w.raw("}")
}

func (w *writer) cyclic(c *schedule.Cyclic) {
	w.raw(`{"cycle_ns":`).num(c.CycleTime).raw(`,"windows":[`)
	each(w, upTo(len(c.Windows)), func(i int) {
		x := &c.Windows[i]
		w.raw(`{"link":`)
		w.link(x.Link)
		w.raw(`,"queues":[`).num(int64(x.Queues[0])).raw(",").num(int64(x.Queues[1]))
		w.raw(`],"offset_ns":`).num(x.Offset).raw(`,"length_ns":`).num(x.Length).raw("}")
	})
	w.raw("],\n\"streams\":[")
	each(w, byID(c.Streams, func(i int) int { return w.p.Streams[c.Streams[i].Stream].ID }), func(i int) {
		x := &c.Streams[i]
		w.stream(x.Stream)
		w.raw(`,"route":`)
		list(w, x.Route, w.link)
		w.raw(`,"start":`).num(x.Start).raw(`,"latency_ns":`).num(x.Worst).raw(`,"best_ns":`).num(x.Best).raw("}")
	})
	w.raw("]}")
}

// stream leaves its object open.
func (w *writer) stream(i int) {
	s := &w.p.Streams[i]
	w.raw(`{"id":`).num(int64(s.ID))
	if s.Name != "" {
		w.raw(`,"name":`).str(s.Name)
	}
}

func (w *writer) unplaced(u *schedule.Unplaced) {
	w.stream(u.Stream)
	if u.Link >= 0 {
		w.raw(`,"link":`)
		w.link(u.Link)
	}
	w.raw(`,"blocking":`)
	list(w, u.Blocking, func(b int) { w.num(int64(w.p.Streams[b].ID)) })
	w.raw(`,"reason":`).str(u.Reason)
	if u.Remedy != "" {
		w.raw(`,"remedy":`).str(u.Remedy)
	}
	w.raw("}")
}

// endNames are the ends of the links as JSON: the node, or where several links
// go the same way, the node and its egress port.
func endNames(p *schedule.Problem) [][2]string {
	out := make([][2]string, len(p.Links))
	for i, ends := range linkEnds(p) {
		out[i] = [2]string{quoteNode(ends[0]), quoteNode(ends[1])}
	}
	return out
}

func quoteNode(name string) string {
	if n, err := strconv.ParseUint(name, 10, 53); err == nil && strconv.FormatUint(n, 10) == name {
		return name
	}
	return quote(name)
}

// linkEnds names the ends of each link so that no two links are named alike,
// if they differ in their ports.
func linkEnds(p *schedule.Problem) [][2]string {
	count := map[[2]schedule.NodeID]int{}
	for _, l := range p.Links {
		count[[2]schedule.NodeID{l.From, l.To}]++
	}
	out := make([][2]string, len(p.Links))
	for i, l := range p.Links {
		from := p.Nodes[l.From].Name
		if count[[2]schedule.NodeID{l.From, l.To}] > 1 {
			from = withPort(from, l.FromPort)
		}
		out[i] = [2]string{from, p.Nodes[l.To].Name}
	}
	return out
}

func withPort(node string, port tsn.Port) string {
	if port == tsn.NoPort {
		return node
	}
	return node + ":" + strconv.Itoa(int(port))
}
