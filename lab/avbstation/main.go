// Avbstation is an end station for trying a switch out: it declares talkers,
// listens to streams by MSRP, registers its VLAN by MVRP, and prints what the
// switch tells it.
//
//	avbstation -i eth0 -talk 1:91:e0:f0:00:fe:01:224      talker of class A, frames of 224 octets
//	avbstation -i eth1 -listen 02-00-00-00-00-01:0001     listener of that stream
//	avbstation -i eth1 -all                               listener of all that is offered
//
// Ctrl-C ends it with a word: what it declares is withdrawn.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"tsnswitch"
	"tsnswitch/internal/avbstation"
	"tsnswitch/srp/mrp"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "avbstation:", err)
		os.Exit(1)
	}
}

type options struct {
	ifname       string
	talks        []string
	listens      []tsn.StreamID
	all, b, send bool
	vid          uint
}

func parse() (o options) {
	flag.StringVar(&o.ifname, "i", "", "`interface` of the station (required)")
	flag.Func("talk", "declare a stream, `ID:ADDRESS:OCTETS`: unique id, destination, largest frame; may be repeated", func(s string) error {
		o.talks = append(o.talks, s)
		return nil
	})
	flag.Func("listen", "ask for a `stream`, like 02-00-00-00-00-01:0001; may be repeated", func(s string) error {
		id, err := tsn.ParseStreamID(s)
		o.listens = append(o.listens, id)
		return err
	})
	flag.BoolVar(&o.all, "all", false, "ask for every stream that is offered")
	flag.BoolVar(&o.b, "b", false, "talk in class B instead of A")
	flag.BoolVar(&o.send, "send", false, "send frames of streams that have a listener, 100 a second")
	flag.UintVar(&o.vid, "vlan", 2, "VLAN of the streams")
	flag.Parse()
	return o
}

func run() error {
	o := parse()
	if o.ifname == "" || flag.NArg() > 0 {
		flag.Usage()
		return errors.New("-i is required, and nothing but flags")
	}
	vid := tsn.VID(o.vid)
	if o.vid > 4095 || !vid.Valid() {
		return fmt.Errorf("VLAN %d is outside 1..4094", o.vid)
	}
	s, err := avbstation.Open(o.ifname, avbstation.StationConfig{
		Timers: mrp.ProAV(), Domains: []mrp.Domain{{ClassID: 6, Priority: 3, VID: vid}, {ClassID: 5, Priority: 2, VID: vid}}, Seed: uint64(os.Getpid()),
	})
	if err != nil {
		return err
	}
	defer s.Close()
	st := &station{Station: s, options: o, vid: vid, senders: map[tsn.StreamID]*avbstation.Sender{}, lines: map[string]string{}}
	for _, text := range o.talks {
		t, err := st.talker(text)
		if err != nil {
			return err
		}
		st.talkers = append(st.talkers, t)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return st.live(ctx)
}

// station is a Station that talks to a person.
type station struct {
	*avbstation.Station
	options
	vid     tsn.VID
	talkers []mrp.Talker
	senders map[tsn.StreamID]*avbstation.Sender
	lines   map[string]string // printed last, by what they are about
}

// talker reads ID:ADDRESS:OCTETS.
func (s *station) talker(text string) (t mrp.Talker, err error) {
	first, rest, _ := strings.Cut(text, ":")
	at := strings.LastIndexByte(rest, ':')
	if at < 0 {
		return t, fmt.Errorf("-talk %q: want ID:ADDRESS:OCTETS, like 1:91:e0:f0:00:fe:01:224", text)
	}
	unique, err1 := strconv.ParseUint(first, 10, 16)
	da, err2 := tsn.ParseMAC(rest[:at])
	octets, err3 := strconv.ParseUint(rest[at+1:], 10, 16)
	if err := errors.Join(err1, err2, err3); err != nil {
		return t, fmt.Errorf("-talk %q: %w", text, err)
	}
	t = mrp.Talker{
		StreamID: tsn.MakeStreamID(s.MAC, uint16(unique)), DestinationAddress: da, VID: s.vid,
		MaxFrameSize: uint16(octets), MaxIntervalFrames: 1, DataFramePriority: 3, Rank: 1,
	}
	if s.b {
		t.DataFramePriority = 2
	}
	return t, nil
}

// live declares, and prints what changes, until the end.
func (s *station) live(ctx context.Context) error {
	s.JoinVLAN(s.vid)
	for _, t := range s.talkers {
		s.Talk(t)
		s.say(t.StreamID.String(), "talks to %v, %d octets", t.DestinationAddress, t.MaxFrameSize)
	}
	asked := map[tsn.StreamID]bool{}
	for _, id := range s.listens {
		s.ask(asked, id)
	}
	err := s.Until(ctx, func(seen avbstation.Seen) bool {
		s.report(seen, asked)
		return false
	})
	if !errors.Is(err, context.Canceled) {
		return err
	}
	return s.leave(asked)
}

func (s *station) ask(asked map[tsn.StreamID]bool, id tsn.StreamID) {
	if !asked[id] {
		asked[id] = true
		s.Listen(id)
	}
}

func (s *station) report(seen avbstation.Seen, asked map[tsn.StreamID]bool) {
	for _, id := range slices.SortedFunc(maps.Keys(seen.Talkers), func(a, b tsn.StreamID) int { return slices.Compare(a[:], b[:]) }) {
		if s.all {
			s.ask(asked, id)
		}
		switch t := seen.Talkers[id]; {
		case t.Failed:
			s.say(id.String(), "failed at %v: %v", t.BridgeID, t.FailureCode)
		default:
			s.say(id.String(), "offered: %v, VLAN %d, priority %d, %d octets, %v away", t.DestinationAddress, t.VID, t.DataFramePriority, t.MaxFrameSize, time.Duration(t.AccumulatedLatency))
		}
	}
	for id := range asked {
		if _, ok := seen.Talkers[id]; !ok {
			s.say(id.String(), "no talker is heard")
		}
	}
	for _, t := range s.talkers {
		p := seen.Listeners[t.StreamID]
		what := mrp.ListenerText(p)
		if p == mrp.ListenerIgnore {
			what = "none"
		}
		s.say(t.StreamID.String()+" listeners", "%s", what)
		s.flow(t, p == mrp.ListenerReady || p == mrp.ListenerReadyFailed)
	}
}

// flow starts or stops the frames of a stream.
func (s *station) flow(t mrp.Talker, wanted bool) {
	sender := s.senders[t.StreamID]
	switch {
	case wanted && sender == nil && s.send:
		f := avbstation.Flow{Destination: t.DestinationAddress, VID: t.VID, Priority: t.DataFramePriority, Octets: int(t.MaxFrameSize), Every: 10 * time.Millisecond}
		sender, err := f.Start(s.ifname)
		if err != nil {
			s.say(t.StreamID.String()+" frames", "%v", err)
			return
		}
		s.senders[t.StreamID] = sender
	case !wanted && sender != nil:
		n, err := sender.Stop()
		delete(s.senders, t.StreamID)
		s.say(t.StreamID.String()+" frames", "%d sent, last error: %v", n, err)
	}
}

// leave withdraws everything, and waits for the frames that say so.
func (s *station) leave(asked map[tsn.StreamID]bool) error {
	for _, t := range s.talkers {
		s.flow(t, false)
		s.Quiet(t.StreamID)
	}
	for id := range asked {
		s.Unlisten(id)
	}
	s.LeaveVLAN(s.vid)
	return s.Flush(2 * time.Second)
}

// say prints a line about something if it is another one than before.
func (s *station) say(what, format string, a ...any) {
	if line := fmt.Sprintf(format, a...); s.lines[what] != line {
		s.lines[what] = line
		fmt.Printf("%s  %s  %s\n", time.Now().Format("15:04:05.000"), what, line)
	}
}
