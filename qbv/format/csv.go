package format

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	tsn "tsnswitch"
	"tsnswitch/qbv/schedule"
)

// ReadTopology reads nodes and links, in the order of the file. The error is
// an *Error.
func ReadTopology(file string, data []byte) (*schedule.Problem, error) {
	t, err := readTable(file, data, "link", "q_num", "rate", "t_proc", "t_prop")
	if err != nil {
		return nil, err
	}
	if err := t.need("link"); err != nil {
		return nil, err
	}
	p := &schedule.Problem{}
	nodes, lines, seen := map[string]schedule.NodeID{}, map[string]int{}, map[[2]schedule.NodeID]int{}
	for _, r := range t.rows {
		l, err := r.link(p, nodes)
		if err != nil {
			return nil, err
		}
		ends := [2]schedule.NodeID{l.From, l.To}
		if line := seen[ends]; line > 0 {
			return nil, r.bad("link %s: is on line %d already", r.text("link"), line)
		}
		seen[ends] = r.line
		p.Links = append(p.Links, l)
		lines[p.LinkName(schedule.LinkID(len(p.Links)-1))] = r.line
	}
	if len(p.Links) == 0 {
		return nil, &Error{File: file, Reason: "has no link"}
	}
	findBridges(p)
	return p, placed(file, lines, p.Validate())
}

func (r row) link(p *schedule.Problem, nodes map[string]schedule.NodeID) (schedule.Link, error) {
	var l schedule.Link
	ends := names(r.text("link"))
	if len(ends) != 2 {
		return l, r.bad(`link %q: is not two nodes, like "(0, 1)"`, r.text("link"))
	}
	queues := int64(tsn.MaxTrafficClasses)
	if err := r.wholes(map[string]*int64{"q_num": &queues, "t_proc": &l.ProcessingDelay, "t_prop": &l.PropagationDelay}); err != nil {
		return l, err
	}
	if queues < 1 || queues > tsn.MaxTrafficClasses {
		return l, r.bad("q_num %d: is outside 1..%d", queues, tsn.MaxTrafficClasses)
	}
	l.Queues = int(queues)
	l.Scheduled = scheduledQueues(l.Queues)
	rate, err := r.rate()
	if err != nil {
		return l, err
	}
	l.Rate = rate
	var id [2]schedule.NodeID
	for i, name := range ends {
		known, ok := nodes[name]
		if !ok {
			known = schedule.NodeID(len(p.Nodes))
			nodes[name] = known
			p.Nodes = append(p.Nodes, schedule.Node{Name: name})
		}
		id[i] = known
	}
	l.From, l.To = id[0], id[1]
	return l, nil
}

// scheduledQueues keeps queue 0 for other traffic where there is another.
func scheduledQueues(n int) tsn.GateMask {
	if n == 1 {
		return 1
	}
	return tsn.GateMask(1<<n-1) &^ 1
}

// rate is in bit/ns in the file. A part of a kbit/s is left off: no frame then
// takes less time than planned.
func (r row) rate() (tsn.Rate, error) {
	s := r.text("rate")
	if s == "" {
		return tsn.Gbps, nil
	}
	v, err := strconv.ParseFloat(s, 64)
	kbps := math.Floor(v*1e6 + 1e-3)
	if err != nil || !(kbps >= 1 && kbps <= 1e12) {
		return 0, r.bad("rate %q: is not a rate in bit/ns, like 1 for 1 Gbit/s", s)
	}
	return tsn.Rate(kbps), nil
}

// findBridges: who has two neighbours passes frames on.
func findBridges(p *schedule.Problem) {
	neighbour := make([]schedule.NodeID, len(p.Nodes))
	for i := range neighbour {
		neighbour[i] = -1
	}
	meet := func(a, b schedule.NodeID) {
		if neighbour[a] >= 0 && neighbour[a] != b {
			p.Nodes[a].Bridge = true
		}
		neighbour[a] = b
	}
	for _, l := range p.Links {
		meet(l.From, l.To)
		meet(l.To, l.From)
	}
}

// placed gives a fault of the problem the line it comes from.
func placed(file string, lines map[string]int, err error) error {
	if err == nil {
		return nil
	}
	e := &Error{File: file, Reason: err.Error()}
	var fault *schedule.Error
	if errors.As(err, &fault) {
		e.Line = lines[fault.Where]
	}
	return e
}

// ReadStreams reads the streams of a network. The error is an *Error.
func ReadStreams(file string, data []byte, p *schedule.Problem) ([]schedule.Stream, error) {
	t, err := readTable(file, data, "stream|id", "src", "dst", "size", "period", "deadline", "jitter")
	if err != nil {
		return nil, err
	}
	if err := t.need("src", "dst", "size", "period"); err != nil {
		return nil, err
	}
	nodes := map[string]schedule.NodeID{}
	for i, n := range p.Nodes {
		nodes[n.Name] = schedule.NodeID(i)
	}
	q, lines, seen := *p, map[string]int{}, map[int]int{}
	q.Streams = nil
	for i, r := range t.rows {
		s, err := r.stream(i, nodes)
		if err != nil {
			return nil, err
		}
		if line := seen[s.ID]; line > 0 {
			return nil, r.bad("stream %d: is on line %d already", s.ID, line)
		}
		seen[s.ID] = r.line
		lines[fmt.Sprintf("stream %d", s.ID)] = r.line
		q.Streams = append(q.Streams, s)
	}
	return q.Streams, placed(file, lines, q.Validate())
}

func (r row) stream(i int, nodes map[string]schedule.NodeID) (schedule.Stream, error) {
	id, size, jitter := int64(i), int64(0), int64(-1)
	var s schedule.Stream
	err := r.wholes(map[string]*int64{"stream": &id, "size": &size, "period": &s.Period, "jitter": &jitter})
	if err != nil {
		return s, err
	}
	if s.Deadline, err = r.whole("deadline", s.Period); err != nil {
		return s, err
	}
	if id < 0 || id > math.MaxInt32 {
		return s, r.bad("stream %d: is outside 0..%d", id, math.MaxInt32)
	}
	if size < 1 || size > 1<<16 {
		return s, r.bad("size %d: is outside 1..%d octets", size, 1<<16)
	}
	s.ID, s.Size, s.Jitter = int(id), int(size), jitterLimit(jitter)
	if jitter < -1 {
		return s, r.bad("jitter %d: is negative", jitter)
	}
	src, err := r.nodes("src", nodes)
	if err != nil {
		return s, err
	}
	if len(src) != 1 {
		return s, r.bad("src %q: is not one node", r.text("src"))
	}
	s.Talker = src[0]
	s.Listeners, err = r.nodes("dst", nodes)
	return s, err
}

// jitterLimit: none (-1) is 0 to a schedule, and 0 the least it has a word for.
func jitterLimit(ns int64) int64 {
	switch ns {
	case -1:
		return 0
	case 0:
		return 1
	}
	return ns
}

func (r row) nodes(column string, nodes map[string]schedule.NodeID) ([]schedule.NodeID, error) {
	list := names(r.text(column))
	if len(list) == 0 {
		return nil, r.bad("%s %q: names no node", column, r.text(column))
	}
	var out []schedule.NodeID
	for _, name := range list {
		n, ok := nodes[name]
		if !ok {
			return nil, r.bad("%s %q: there is no node %s in the topology", column, r.text(column), name)
		}
		out = append(out, n)
	}
	return out, nil
}

// WriteTopology writes the links as ReadTopology reads them. What CSV has no
// column for is lost.
func WriteTopology(p *schedule.Problem) []byte {
	var b bytes.Buffer
	b.WriteString("link,q_num,rate,t_proc,t_prop\n")
	for _, l := range p.Links {
		fmt.Fprintf(&b, "\"(%s, %s)\",%d,%s,%d,%d\n", p.Nodes[l.From].Name, p.Nodes[l.To].Name, l.Queues,
			strconv.FormatFloat(float64(l.Rate)/1e6, 'f', -1, 64), l.ProcessingDelay, l.PropagationDelay)
	}
	return b.Bytes()
}

// WriteStreams writes the streams as ReadStreams reads them.
func WriteStreams(p *schedule.Problem) []byte {
	var b bytes.Buffer
	b.WriteString("stream,src,dst,size,period,deadline,jitter\n")
	for _, s := range p.Streams {
		to := make([]string, len(s.Listeners))
		for i, n := range s.Listeners {
			to[i] = p.Nodes[n].Name
		}
		list := "[" + strings.Join(to, ", ") + "]"
		if len(to) > 1 {
			list = `"` + list + `"`
		}
		jitter := s.Jitter
		if jitter == 0 {
			jitter = s.Deadline
		}
		fmt.Fprintf(&b, "%d,%s,%s,%d,%d,%d,%d\n", s.ID, p.Nodes[s.Talker].Name, list, s.Size, s.Period, s.Deadline, jitter)
	}
	return b.Bytes()
}
