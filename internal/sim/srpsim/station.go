package srpsim

import (
	"slices"

	"tsnswitch"
	"tsnswitch/srp/mrp"
)

var application = mrp.MSRP()

// stream is what a talker has to offer, and who wants it.
type stream struct {
	wish      mrp.Talker
	talker    *node
	talks     bool
	listeners []*node // who could listen
}

// station is an end station: it declares its domains and talkers, and answers
// the talkers that it wants to listen to.
type station struct {
	*mrp.Participant
	heard  map[tsn.StreamID][]mrp.Talker // registered, the latest last
	wants  map[tsn.StreamID]bool
	said   map[tsn.StreamID]mrp.Param
	talks  map[tsn.StreamID]mrp.Talker
	answer map[tsn.StreamID]mrp.Param // registered listeners
	babble bool
}

func newStation(c mrp.Config) *station {
	return &station{
		Participant: mrp.NewParticipant(application, c),
		heard:       map[tsn.StreamID][]mrp.Talker{}, wants: map[tsn.StreamID]bool{}, said: map[tsn.StreamID]mrp.Param{},
		talks: map[tsn.StreamID]mrp.Talker{}, answer: map[tsn.StreamID]mrp.Param{},
	}
}

// stationLink starts or stops a station's part.
func (n *Network) stationLink(x *node, up bool) {
	s := x.station
	if !up {
		s.take(n.Now, s.Stop())
	} else {
		s.Start(n.Now)
		for _, d := range []mrp.Domain{{ClassID: 6, Priority: 3, VID: 2}, {ClassID: 5, Priority: 2, VID: 2}} {
			s.Join(n.Now, d.Value(), 0, false)
		}
	}
	n.arm(x, s.Deadline())
}

// makeStreams gives each stream a talker, a wish and some that may listen.
func (n *Network) makeStreams() {
	stations := n.stations()
	for i := range n.Streams {
		x := stations[n.rand.IntN(len(stations))]
		s := &stream{talker: x, wish: mrp.Talker{
			StreamID: tsn.MakeStreamID(x.mac, uint16(i)), DestinationAddress: tsn.MAC{0x91, 0xe0, 0xf0, 0, byte(i >> 8), byte(i)},
			VID: tsn.VID(2 + i%2), MaxFrameSize: uint16(46 + n.rand.IntN(300)), MaxIntervalFrames: uint16(1 + n.rand.IntN(2)),
			DataFramePriority: tsn.PCP(3 - n.rand.IntN(2)), Rank: uint8(min(1, n.rand.IntN(20))),
		}}
		for want := 1 + n.rand.IntN(n.Listeners); len(s.listeners) == 0 || want > 1; want-- {
			if l := stations[n.rand.IntN(len(stations))]; l != x && !slices.Contains(s.listeners, l) {
				s.listeners = append(s.listeners, l)
			}
		}
		n.streams = append(n.streams, s)
	}
}

// Talk begins or ends a stream.
func (n *Network) talk(s *stream, on bool) {
	s.talks = on
	n.declare(s.talker, s.wish, on)
}

// declare makes t the one declaration of its stream by a station, or none.
func (n *Network) declare(x *node, t mrp.Talker, on bool) {
	st := x.station
	if old, ok := st.talks[t.StreamID]; ok {
		st.Leave(n.Now, old.Value())
		delete(st.talks, t.StreamID)
	}
	if on {
		st.talks[t.StreamID] = t
		st.Join(n.Now, t.Value(), 0, true)
	}
	n.arm(x, st.Deadline())
}

func (n *Network) listen(x *node, id tsn.StreamID, on bool) {
	s := x.station
	if delete(s.wants, id); on {
		s.wants[id] = true
	}
	s.respond(n.Now, id)
	n.arm(x, s.Deadline())
}

// take is what a station does about indications.
func (s *station) take(now tsn.Instant, told []mrp.Indication) {
	for _, i := range slices.Clone(told) {
		leaves := i.Kind == mrp.IndicateLeave
		switch i.Value.Type {
		case mrp.TypeTalkerAdvertise, mrp.TypeTalkerFailed:
			t, _ := mrp.ParseTalker(i.Value)
			s.hear(t, leaves)
			s.respond(now, t.StreamID)
		case mrp.TypeListener:
			id, _ := mrp.ParseListener(i.Value)
			if s.answer[id] = i.Param; leaves {
				delete(s.answer, id)
			}
		}
	}
}

func (s *station) hear(t mrp.Talker, leaves bool) {
	list := slices.DeleteFunc(s.heard[t.StreamID], func(o mrp.Talker) bool { return o == t })
	if !leaves {
		list = append(list, t)
	}
	if s.heard[t.StreamID] = list; len(list) == 0 {
		delete(s.heard, t.StreamID)
	}
}

// offered is the talker that counts, or nil.
func (s *station) offered(id tsn.StreamID) *mrp.Talker {
	list := s.heard[id]
	if len(list) == 0 {
		return nil
	}
	return &list[len(list)-1]
}

// respond declares what a listener has to say about a stream (802.1Q 35.2.4.4).
func (s *station) respond(now tsn.Instant, id tsn.StreamID) {
	say, t := mrp.ListenerIgnore, s.offered(id)
	switch {
	case t == nil || !s.wants[id]:
	case t.Failed:
		say = mrp.ListenerAskingFailed
	default:
		say = mrp.ListenerReady
	}
	if say == s.said[id] {
		return
	}
	if s.said[id] = say; say == mrp.ListenerIgnore {
		delete(s.said, id)
		s.Leave(now, mrp.ListenerValue(id))
		return
	}
	s.Join(now, mrp.ListenerValue(id), say, true)
}
