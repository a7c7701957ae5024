package srp

import (
	"slices"

	"tsnswitch"
)

// publish puts what has moved into the owner's set and the desired state. Both
// are sorted, so that it costs a copy and not that all be made again.
func (b *bridge) publish() {
	if len(b.heldMoved) == 0 && !b.idleMoved {
		return
	}
	b.idleMoved = false
	var set []tsn.Reservation
	if o := b.owners[MSRPOwner]; o != nil {
		set = o.set
	}
	next := Reserved{Slopes: b.slopes(b.carries), MDB: slices.Clone(b.desired.MDB), Talkers: slices.Clone(b.desired.Talkers)}
	for id := range b.heldMoved { // what was held: all of it goes before anything comes
		if i, ok := find(set, id); ok {
			next.take(set[i])
			set = slices.Delete(set, i, i+1)
		}
	}
	for id := range b.heldMoved {
		if s := b.streams[id]; s != nil && s.held > 0 {
			r := tsn.Reservation{Stream: s.request, Ports: b.heldPorts(s)}
			i, _ := find(set, id)
			set = slices.Insert(set, i, r)
			next.put(r)
		}
	}
	clear(b.heldMoved)
	b.puts++
	b.owners[MSRPOwner] = &owner{generation: b.puts, changed: b.puts, set: set}
	if len(set) == 0 {
		delete(b.owners, MSRPOwner)
	}
	next.Idle = b.idle()
	b.tell(next)
}

// frameCount is how many streams have the longest frame of so many octets.
type frameCount map[frameKind]int

type frameKind struct {
	class  tsn.TrafficClass
	octets int
}

func (c frameCount) add(k frameKind, n int) {
	if c[k] += n; c[k] == 0 {
		delete(c, k)
	}
}

// carries is what a port's shapers are made of.
func (b *bridge) carries(q int) (load, longest) {
	frames := b.others.frames[b.Instance.ports[q].Port]
	for k := range b.ports[q].frames { // a maximum: the order does not matter
		frames.add(k.class, k.octets)
	}
	return b.load(q), frames
}

// idle lists the groups of talkers that come in and are reserved nowhere, as far
// as there is room for entries.
func (b *bridge) idle() (out []tsn.MDBEntry) {
	for d, list := range b.byDestination {
		_, used := b.others.destinations[d]
		if list[0].held == 0 && d.address.IsGroup() && d.vid.Valid() && !used {
			out = append(out, tsn.MDBEntry{Group: d.address, VID: d.vid, Ports: []tsn.Port{tsn.NoPort}})
		}
	}
	slices.SortFunc(out, compareEntries)
	room := b.Instance.cfg.MaxGroups - b.held.groups - b.others.groups
	return out[:min(len(out), max(room, 0))]
}

func (b *bridge) heldPorts(s *streamState) (out []tsn.Port) {
	for q, o := range s.out {
		if o.held {
			out = append(out, b.Instance.ports[q].Port)
		}
	}
	return out
}

func find(set []tsn.Reservation, id tsn.StreamID) (int, bool) {
	return slices.BinarySearchFunc(set, id, func(r tsn.Reservation, id tsn.StreamID) int { return compareStreamID(r.Stream.ID, id) })
}

// take removes a reservation's group entry, put adds it.
func (r *Reserved) take(old tsn.Reservation) {
	if i, ok := slices.BinarySearchFunc(r.MDB, entryOf(old), compareEntries); ok && old.Stream.DestinationAddress.IsGroup() {
		r.MDB, r.Talkers = slices.Delete(r.MDB, i, i+1), slices.Delete(r.Talkers, i, i+1)
	}
}

func (r *Reserved) put(now tsn.Reservation) {
	if now.Stream.DestinationAddress.IsGroup() {
		e := entryOf(now)
		i, _ := slices.BinarySearchFunc(r.MDB, e, compareEntries)
		r.MDB, r.Talkers = slices.Insert(r.MDB, i, e), slices.Insert(r.Talkers, i, now.Stream.Talker)
	}
}
