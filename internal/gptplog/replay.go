package gptplog

import (
	"io"
	"math"

	"tsnswitch"
	"tsnswitch/gptp"
	"tsnswitch/internal/api"
	"tsnswitch/internal/record"
)

// Every event that the timing machine is given in a daemon.
func init() {
	record.Register("gptp.SetSource", gptp.SetSource{})
	record.Register("gptp.RequestIntervals", gptp.RequestIntervals{})
	record.Register("gptp.SetPortStates", gptp.SetPortStates{})
	record.Register("gptp.SetClockQuality", gptp.SetClockQuality{})
}

// all is more than any recording holds.
const all = math.MaxInt32

const second = 1_000_000_000

// Replay steps a machine built from cfg through a trace and returns all that
// happened. Time begins with the trace. What was replayed before an error
// is returned, too.
func Replay(trace io.Reader, cfg gptp.Config, node string) (*Log, error) {
	sys, err := gptp.New(cfg)
	if err != nil {
		return nil, err
	}
	l := New(Limits{Syncs: all, Seconds: all, Events: all})
	r := replay{log: l, sys: sys, node: node}
	return l, record.Replay(trace, sys, r.step)
}

type replay struct {
	log         *Log
	sys         *gptp.System
	node        string
	started     bool
	begin, next tsn.Instant
}

func (r *replay) step(at tsn.Instant, _ tsn.Event, effects []tsn.Effect) {
	if !r.started {
		r.started, r.begin, r.next = true, at, at
	}
	at -= r.begin
	for _, e := range effects {
		switch e := e.(type) {
		case gptp.RelationChanged:
			r.log.Relation(at, e)
		case tsn.Notice:
			r.log.Event(at, api.Event{Node: r.node, Kind: e.Kind, Port: e.Port, Detail: e.Detail, Domain: e.Domain})
		}
	}
	if at+r.begin >= r.next {
		r.log.Status(at, r.sys.Status())
		r.next = at + r.begin + second
	}
}
