package format

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	tsn "tsnswitch"
	"tsnswitch/qbv/schedule"
)

// ReadSolution reads anybody's solution of p. The result has the form of a
// Solution of p, which says nothing about its worth. The error is an *Error;
// Mismatch if the file is of the format but names what p does not have, or
// the same thing twice.
func ReadSolution(file string, data []byte, p *schedule.Problem) (*schedule.Solution, Meta, error) {
	r := newReader(file, data, p)
	if err := tooLong(file, data); err != nil {
		return nil, r.meta, err
	}
	if err := r.document(); err != nil {
		return nil, r.meta, r.locate(err)
	}
	return r.finish(), r.meta, nil
}

// ReadRunning is ReadSolution for a schedule whose streams may have changed
// since: those that p does not have are left out, and their IDs returned,
// ascending.
func ReadRunning(file string, data []byte, p *schedule.Problem) (s *schedule.Solution, gone []int, err error) {
	r := newReader(file, data, p)
	r.gone = []int{}
	if err := tooLong(file, data); err != nil {
		return nil, nil, err
	}
	if err := r.document(); err != nil {
		return nil, nil, r.locate(err)
	}
	slices.Sort(r.gone)
	return r.finish(), r.gone, nil
}

// errGone: the stream is no longer there, which is fine.
var errGone = errors.New("gone")

// reader walks the document member by member, so that it knows where it is.
type reader struct {
	file string
	data []byte
	dec  *json.Decoder
	p    *schedule.Problem

	links   map[[2]string][]schedule.LinkID
	streams map[int]int // index by ID
	placed  map[int]bool
	gone    []int // IDs of streams that p lacks; nil: there shall be none
	gated   map[schedule.LinkID]bool

	at   int64 // where the value being read begins
	s    schedule.Solution
	meta Meta
	has  map[string]bool
}

func newReader(file string, data []byte, p *schedule.Problem) *reader {
	r := &reader{
		file: file, data: data, p: p, dec: json.NewDecoder(bytes.NewReader(data)),
		links: map[[2]string][]schedule.LinkID{}, streams: map[int]int{}, placed: map[int]bool{}, gated: map[schedule.LinkID]bool{},
		meta: Meta{Units: -1}, has: map[string]bool{},
	}
	for i, l := range p.Links {
		from, to, id := p.Nodes[l.From].Name, p.Nodes[l.To].Name, schedule.LinkID(i)
		r.links[[2]string{from, to}] = append(r.links[[2]string{from, to}], id)
		if l.FromPort != tsn.NoPort {
			from = withPort(from, l.FromPort)
			r.links[[2]string{from, to}] = append(r.links[[2]string{from, to}], id)
		}
	}
	for i := range p.Streams {
		r.streams[p.Streams[i].ID] = i
	}
	return r
}

// mismatch is an error of what is said, not of how.
type mismatch struct{ error }

func (r *reader) mismatch(format string, a ...any) error { return mismatch{fmt.Errorf(format, a...)} }

// locate makes an *Error of what went wrong in the value at r.at.
func (r *reader) locate(err error) error {
	at, reason := r.at, err.Error()
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		at, reason = max(syntax.Offset, r.at), "not JSON: "+reason
	case errors.As(err, &kind):
		reason = fmt.Sprintf("%s: is %s, not what is wanted here", strings.ToLower(kind.Field[strings.LastIndexByte(kind.Field, '.')+1:]), kind.Value)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		at, reason = int64(len(r.data)), "not JSON: it ends too early"
	}
	at = min(at, int64(len(r.data)))
	return &Error{
		File: r.file, Line: 1 + bytes.Count(r.data[:at], []byte("\n")), Reason: reason, Mismatch: errors.As(err, new(mismatch)),
	}
}

// next is the next token; want 0 takes any.
func (r *reader) next(want json.Delim) (json.Token, error) {
	r.mark()
	t, err := r.dec.Token()
	if err == nil && want != 0 && t != want {
		err = fmt.Errorf("%v is not the %v that is wanted here", t, want)
	}
	return t, err
}

// mark remembers where the next value begins.
func (r *reader) mark() {
	r.at = r.dec.InputOffset()
	for r.at < int64(len(r.data)) && bytes.IndexByte([]byte(" \t\r\n,:"), r.data[r.at]) >= 0 {
		r.at++
	}
}

func (r *reader) value(v any) error {
	r.mark()
	return r.dec.Decode(v)
}

func (r *reader) document() error {
	if _, err := r.next('{'); err != nil {
		return err
	}
	for r.dec.More() {
		t, err := r.next(0)
		if err != nil {
			return err
		}
		if err := r.member(fmt.Sprint(t)); err != nil {
			return err
		}
	}
	if _, err := r.next('}'); err != nil {
		return err
	}
	if t, err := r.next(0); err == nil {
		return fmt.Errorf("%v after the end", t)
	} else if !errors.Is(err, io.EOF) {
		return err
	}
	r.at = 0
	for _, name := range []string{"format", "cycle_ns", "streams"} {
		if !r.has[name] {
			return fmt.Errorf("there is no %q", name)
		}
	}
	return nil
}

func (r *reader) member(name string) error {
	if r.has[name] {
		return fmt.Errorf("%q is there twice", name)
	}
	r.has[name] = true
	switch name {
	case "format":
		var f string
		if err := r.value(&f); err != nil {
			return err
		}
		if f != Name {
			return fmt.Errorf("the format is %q, not %q", f, Name)
		}
		return nil
	case "instance":
		return r.value(&r.meta.Instance)
	case "mode":
		return r.value(&r.meta.Mode)
	case "seed":
		return r.value(&r.meta.Seed)
	case "units":
		return r.value(&r.meta.Units)
	case "cycle_ns":
		return r.value(&r.s.Cycle)
	case "streams":
		return array(r, r.stream)
	case "gates":
		return array(r, r.gate)
	case "cyclic":
		var in *cyclicIn
		if err := r.value(&in); err != nil || in == nil {
			return err
		}
		return r.cyclic(in)
	case "unscheduled":
		return array(r, r.unplaced)
	}
	return r.value(new(json.RawMessage))
}

// array reads the members of an array; null is an empty one.
func array[T any](r *reader, one func(T) error) error {
	t, err := r.next(0)
	if err != nil || t == nil {
		return err
	}
	if t != json.Delim('[') {
		return fmt.Errorf("%v is not a list", t)
	}
	for r.dec.More() {
		var v T
		if err := r.value(&v); err != nil {
			return err
		}
		if err := one(v); err != nil && !errors.Is(err, errGone) {
			return err
		}
	}
	_, err = r.dec.Token()
	return err
}

// node is a number or a string.
type node string

func (n *node) UnmarshalJSON(b []byte) error {
	var s string
	if b[0] == '"' {
		err := json.Unmarshal(b, &s)
		*n = node(s)
		return err
	}
	v, err := strconv.ParseUint(string(b), 10, 63)
	if err != nil {
		return fmt.Errorf("%s is not a node: a whole number or a string", b)
	}
	*n = node(strconv.FormatUint(v, 10))
	return nil
}

type timesIn struct {
	Starts []int64
	Queues []int64
}

type streamIn struct {
	ID    *int
	Route [][]node
	timesIn
	Frames []struct {
		K *int
		timesIn
	}
}

type gateIn struct {
	Link    []node
	Base    int64 `json:"base_ns"`
	Cycle   int64 `json:"cycle_ns"`
	Entries []struct {
		Mask     *int64
		Interval *int64 `json:"interval_ns"`
	}
	MaxSDU []int `json:"max_sdu"`
}

type unplacedIn struct {
	ID             *int
	Link           []node
	Blocking       []int
	Reason, Remedy string
}

type cyclicIn struct {
	Cycle   int64 `json:"cycle_ns"`
	Windows []struct {
		Link   []node
		Queues []int64
		Offset int64 `json:"offset_ns"`
		Length int64 `json:"length_ns"`
	}
	Streams []struct {
		ID    *int
		Route [][]node
		Start int64
		Worst int64 `json:"latency_ns"`
		Best  int64 `json:"best_ns"`
	}
}

func (r *reader) link(ends []node) (schedule.LinkID, error) {
	if len(ends) != 2 {
		return 0, fmt.Errorf("a link of %d nodes; two are wanted", len(ends))
	}
	found := r.links[[2]string{string(ends[0]), string(ends[1])}]
	if len(found) == 0 {
		return 0, r.mismatch("there is no link [%s,%s] in the topology", ends[0], ends[1])
	}
	if len(found) > 1 {
		return 0, r.mismatch("there are %d links [%s,%s]: say which by its egress port, \"%s:1\"", len(found), ends[0], ends[1], ends[0])
	}
	return found[0], nil
}

// index finds a stream by its ID, which may be named once in what is placed
// or left out.
func (r *reader) index(id *int) (int, error) {
	if id == nil {
		return 0, errors.New("a stream without id")
	}
	i, ok := r.streams[*id]
	switch {
	case !ok && r.gone != nil:
		r.gone = append(r.gone, *id)
		return 0, errGone
	case !ok:
		return 0, r.mismatch("there is no stream %d", *id)
	case r.placed[i]:
		return 0, r.mismatch("stream %d is there twice", *id)
	}
	r.placed[i] = true
	return i, nil
}

func (r *reader) stream(in streamIn) error {
	i, err := r.index(in.ID)
	if err != nil {
		return err
	}
	x := schedule.Placement{Stream: i}
	if x.Route, err = r.route(*in.ID, in.Route); err != nil {
		return err
	}
	if (in.Frames == nil) == (in.Starts == nil) {
		return fmt.Errorf("stream %d: has to have starts or frames", *in.ID)
	}
	if in.Frames == nil {
		x.Starts = in.Starts
		if x.Queues, err = r.times(in.timesIn, len(x.Route)); err != nil {
			return fmt.Errorf("stream %d: %w", *in.ID, err)
		}
	}
	for n, f := range in.Frames {
		queues, err := r.times(f.timesIn, len(x.Route))
		if err != nil || f.K == nil {
			return fmt.Errorf("stream %d: frame %d: %w", *in.ID, n, cmpErr(err, errors.New("has no k")))
		}
		x.Instances = append(x.Instances, schedule.Instance{K: *f.K, Starts: f.Starts, Queues: queues})
	}
	r.s.Streams = append(r.s.Streams, x)
	return nil
}

func (r *reader) route(id int, in [][]node) ([]schedule.LinkID, error) {
	var out []schedule.LinkID
	for _, ends := range in {
		l, err := r.link(ends)
		if err != nil {
			return nil, fmt.Errorf("stream %d: route: %w", id, err)
		}
		out = append(out, l)
	}
	return out, nil
}

func (r *reader) cyclic(in *cyclicIn) error {
	c := &schedule.Cyclic{CycleTime: in.Cycle}
	for _, x := range in.Windows {
		l, err := r.link(x.Link)
		if err != nil {
			return fmt.Errorf("cyclic: windows: %w", err)
		}
		w := schedule.CyclicWindow{Link: l, Offset: x.Offset, Length: x.Length}
		if len(x.Queues) != len(w.Queues) {
			return r.mismatch("cyclic: the window of link [%s,%s] has %d queues; two are wanted", x.Link[0], x.Link[1], len(x.Queues))
		}
		for i, q := range x.Queues {
			if q < 0 || q >= tsn.MaxTrafficClasses {
				return r.mismatch("cyclic: queue %d is outside 0..%d", q, tsn.MaxTrafficClasses-1)
			}
			w.Queues[i] = tsn.TrafficClass(q)
		}
		c.Windows = append(c.Windows, w)
	}
	for _, x := range in.Streams {
		i, err := r.index(x.ID)
		if errors.Is(err, errGone) {
			continue
		}
		if err != nil {
			return fmt.Errorf("cyclic: %w", err)
		}
		route, err := r.route(*x.ID, x.Route)
		if err != nil {
			return fmt.Errorf("cyclic: %w", err)
		}
		c.Streams = append(c.Streams, schedule.CyclicStream{Stream: i, Route: route, Start: x.Start, Worst: x.Worst, Best: x.Best})
	}
	r.s.Cyclic = c
	return nil
}

func cmpErr(err, other error) error {
	if err != nil {
		return err
	}
	return other
}

// times checks the form; a queue that does not fit a traffic class is a
// mismatch here, because the type has no room for it.
func (r *reader) times(in timesIn, hops int) ([]tsn.TrafficClass, error) {
	if len(in.Starts) != hops || len(in.Queues) != hops {
		return nil, r.mismatch("a route of %d links with %d starts and %d queues", hops, len(in.Starts), len(in.Queues))
	}
	out := make([]tsn.TrafficClass, hops)
	for i, q := range in.Queues {
		if q < 0 || q >= tsn.MaxTrafficClasses {
			return nil, r.mismatch("queue %d is outside 0..%d", q, tsn.MaxTrafficClasses-1)
		}
		out[i] = tsn.TrafficClass(q)
	}
	return out, nil
}

func (r *reader) gate(in gateIn) error {
	l, err := r.link(in.Link)
	if err != nil {
		return fmt.Errorf("gates: %w", err)
	}
	if r.gated[l] {
		return r.mismatch("the gates of link [%s,%s] are there twice", in.Link[0], in.Link[1])
	}
	r.gated[l] = true
	g := schedule.LinkGates{Link: l, List: tsn.GateControlList{BaseTime: tsn.PTPTime{NS: in.Base}, CycleTime: in.Cycle}}
	for i, e := range in.Entries {
		switch {
		case e.Mask == nil || e.Interval == nil:
			return fmt.Errorf("gates of link [%s,%s]: entry %d has to have mask and interval_ns", in.Link[0], in.Link[1], i)
		case *e.Mask < 0 || *e.Mask > 255:
			return r.mismatch("gates of link [%s,%s]: entry %d: mask %d is outside 0..255", in.Link[0], in.Link[1], i, *e.Mask)
		}
		g.List.Entries = append(g.List.Entries, tsn.GateEntry{Gates: tsn.GateMask(*e.Mask), Interval: *e.Interval})
	}
	if len(in.MaxSDU) > len(g.MaxSDU) {
		return r.mismatch("gates of link [%s,%s]: max_sdu of %d queues", in.Link[0], in.Link[1], len(in.MaxSDU))
	}
	copy(g.MaxSDU[:], in.MaxSDU)
	r.s.Gates = append(r.s.Gates, g)
	return nil
}

func (r *reader) unplaced(in unplacedIn) error {
	i, err := r.index(in.ID)
	if err != nil {
		return fmt.Errorf("unscheduled: %w", err)
	}
	u := schedule.Unplaced{Stream: i, Link: -1, Reason: in.Reason, Remedy: in.Remedy}
	if in.Link != nil {
		if u.Link, err = r.link(in.Link); err != nil {
			return fmt.Errorf("unscheduled: stream %d: %w", *in.ID, err)
		}
	}
	for _, id := range in.Blocking {
		b, ok := r.streams[id]
		if !ok && r.gone != nil {
			continue
		}
		if !ok {
			return r.mismatch("unscheduled: there is no stream %d", id)
		}
		u.Blocking = append(u.Blocking, b)
	}
	r.s.Unplaced = append(r.s.Unplaced, u)
	return nil
}

// finish puts everything in the order a Solution has.
func (r *reader) finish() *schedule.Solution {
	slices.SortFunc(r.s.Streams, func(a, b schedule.Placement) int { return a.Stream - b.Stream })
	slices.SortFunc(r.s.Unplaced, func(a, b schedule.Unplaced) int { return a.Stream - b.Stream })
	slices.SortFunc(r.s.Gates, func(a, b schedule.LinkGates) int { return int(a.Link - b.Link) })
	if c := r.s.Cyclic; c != nil {
		slices.SortFunc(c.Windows, func(a, b schedule.CyclicWindow) int { return int(a.Link - b.Link) })
		slices.SortFunc(c.Streams, func(a, b schedule.CyclicStream) int { return a.Stream - b.Stream })
	}
	for i := range r.s.Unplaced {
		slices.Sort(r.s.Unplaced[i].Blocking)
	}
	return &r.s
}
