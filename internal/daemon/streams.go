package daemon

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"tsnswitch"
	"tsnswitch/internal/api"
)

// A keeper owns streams: the daemon of the bridge that the talker is attached
// to. It reserves them at every system on the path SPB chose, moves them when
// the path changes, and sends each system the whole set it keeps there, so
// that a set that was lost or half sent is put right by sending it again.
//
// Its methods are called with the operations lock of the daemon held: one
// change of the network at a time.
type keeper struct {
	name  string // this node, the owner in every set
	topo  topology
	peers peers
	mem   *ownMemory
	save  func() error
}

// topology is what a keeper asks of SPB.
type topology interface {
	// Path returns the egress ports from a station or bridge to another,
	// starting with the station's own port if a daemon runs there.
	Path(ctx context.Context, vid tsn.VID, from, to tsn.MAC) ([]tsn.Hop, error)
	// Label names a hop for people.
	Label(ctx context.Context, h tsn.Hop) api.PathHop
}

// peers reaches the daemons of the fabric by system; this one's own too.
type peers interface {
	Peer(ctx context.Context, system tsn.MAC) (api.Peer, error)
}

// find returns the index of an owned stream, or -1.
func (k *keeper) find(id tsn.StreamID) int {
	return slices.IndexFunc(k.mem.Owned, func(o ownedStream) bool { return o.Stream.ID == id })
}

// check asks every system on the path whether it would take the stream, and
// changes nothing. The error is an *api.Error that says where and why not.
func (k *keeper) check(ctx context.Context, s tsn.Stream) ([]tsn.Hop, error) {
	if err := s.Validate(); err != nil {
		return nil, api.Errorf(api.CodeBadRequest, "stream %s: %w", s.ID, err)
	}
	for _, o := range k.mem.Owned {
		switch {
		case o.Stream.ID == s.ID:
			return nil, api.Refuse(tsn.FailureStreamIDInUse, s.ID, api.PathHop{Node: k.name}, "stream %s exists (%s); remove it first", s.ID, o.Stream.Name)
		case s.Name != "" && o.Stream.Name == s.Name:
			return nil, api.Errorf(api.CodeConflict, "a stream named %s exists (%s); choose another name", s.Name, o.Stream.ID)
		}
	}
	path, err := k.topo.Path(ctx, s.VID, s.Talker, s.Listener)
	if err != nil {
		return nil, api.Refuse(tsn.FailureEgressNotAVB, s.ID, api.PathHop{Node: k.name}, "no path from %s to %s in VLAN %d: %v", s.Talker, s.Listener, s.VID, err)
	}
	want := append(slices.Clone(k.mem.Owned), ownedStream{Stream: s, Path: path})
	for _, h := range path {
		if err := k.put(ctx, h.System, want, true); err != nil {
			return nil, k.refusal(ctx, err, s.ID, h)
		}
	}
	return path, nil
}

// add reserves a stream that check let pass. It is kept on disk before the
// first system is asked; if one refuses after all, everything is taken back.
func (k *keeper) add(ctx context.Context, s tsn.Stream, path []tsn.Hop) error {
	before := k.mem.Owned
	k.mem.Owned = append(slices.Clone(before), ownedStream{Stream: s, Path: path})
	if err := k.save(); err != nil {
		k.mem.Owned = before
		return api.Errorf(api.CodeInternal, "stream %s was not added: %w", s.ID, err)
	}
	for i, h := range path {
		err := k.put(ctx, h.System, k.mem.Owned, false)
		if err == nil {
			continue
		}
		err = k.refusal(ctx, err, s.ID, h)
		k.mem.Owned = before
		// The system that failed is told too: it may have agreed, and its
		// answer been lost. A caller that went away must not stop this.
		for _, back := range path[:i+1] {
			k.release(context.WithoutCancel(ctx), back.System)
		}
		if serr := k.save(); serr != nil {
			return within(err, "%v, so that the stream may come back with the next start", serr)
		}
		return err
	}
	return nil
}

// remove forgets a stream and frees what it held. A system that cannot be
// reached keeps it until it is met again (resync).
func (k *keeper) remove(ctx context.Context, i int) error {
	gone := k.mem.Owned[i]
	before := k.mem.Owned
	k.mem.Owned = slices.Delete(slices.Clone(before), i, i+1)
	if err := k.save(); err != nil {
		k.mem.Owned = before
		return api.Errorf(api.CodeInternal, "stream %s was not removed: %w", gone.Stream.ID, err)
	}
	for _, h := range gone.Path {
		k.release(context.WithoutCancel(ctx), h.System)
	}
	return nil
}

// A move is what became of a stream when the topology changed.
type move struct {
	Stream tsn.Stream
	From   []tsn.Hop
	To     []tsn.Hop
	Err    error
}

// reroute brings every owned stream onto the path SPB has now. New systems
// are asked first and old ones freed after, so that a stream never stands
// without a reservation it could have had.
func (k *keeper) reroute(ctx context.Context) []move {
	var moves []move
	dirty := false
	for i := range k.mem.Owned {
		o := &k.mem.Owned[i]
		path, err := k.topo.Path(ctx, o.Stream.VID, o.Stream.Talker, o.Stream.Listener)
		if ctx.Err() != nil {
			break // the end of the daemon is no change of the network
		}
		if err == nil && len(o.Path) > 0 && slices.Equal(path, o.Path) {
			continue
		}
		was := *o
		var asked []tsn.Hop
		if err == nil {
			asked, err = k.move(ctx, o, path)
		}
		if ctx.Err() != nil {
			*o, dirty = was, true
			for _, h := range asked {
				k.owe(h.System)
			}
			break
		}
		m := move{Stream: o.Stream, From: was.Path, To: o.Path, Err: err}
		if err != nil {
			m.To = nil
			o.Path, o.Reason, o.Failure = nil, err.Error(), tsn.FailureEgressNotAVB
			if e := (*api.Error)(nil); errors.As(err, &e) && e.Failure != tsn.FailureNone {
				o.Failure = e.Failure
			}
		}
		k.leave(ctx, append(slices.Clone(was.Path), asked...), o.Path)
		if len(m.From) > 0 || len(m.To) > 0 {
			moves = append(moves, m)
		}
		dirty = dirty || len(m.From) > 0 || len(m.To) > 0 || was.Reason != o.Reason
	}
	if dirty {
		// The paths can be computed again; a full disk must not stop the move.
		_ = k.save()
	}
	return moves
}

// move puts a stream on path and returns the hops that were asked to hold it.
// One that stands nowhere is tried without effect first: what is refused again
// and again must not come and go at the systems before the one that refuses.
func (k *keeper) move(ctx context.Context, o *ownedStream, path []tsn.Hop) (asked []tsn.Hop, err error) {
	tries := []bool{false}
	if len(o.Path) == 0 {
		tries = []bool{true, false}
	}
	o.Path, o.Reason, o.Failure = path, "", tsn.FailureNone
	for _, dry := range tries {
		for i, h := range path {
			if !dry {
				asked = path[:i+1]
			}
			if err := k.put(ctx, h.System, k.mem.Owned, dry); err != nil {
				return asked, k.refusal(ctx, err, o.Stream.ID, h)
			}
		}
	}
	return asked, nil
}

// leave frees the systems of hops that are not on path.
func (k *keeper) leave(ctx context.Context, hops, path []tsn.Hop) {
	var left []tsn.MAC
	for _, h := range hops {
		on := slices.ContainsFunc(path, func(p tsn.Hop) bool { return p.System == h.System })
		if !on && !slices.Contains(left, h.System) {
			left = append(left, h.System)
			k.release(ctx, h.System)
		}
	}
}

// release sends a system what is left for it; failing that, the next resync does.
func (k *keeper) release(ctx context.Context, system tsn.MAC) {
	if err := k.put(ctx, system, k.mem.Owned, false); err != nil {
		k.owe(system)
		_ = k.save() // worst case: the reservation stays until that system restarts
	}
}

// owe notes that a system was not told what it holds.
func (k *keeper) owe(system tsn.MAC) {
	if !slices.Contains(k.mem.Owed, system) {
		k.mem.Owed = append(k.mem.Owed, system)
	}
}

// resync sends their sets again to the systems that could not be told before,
// and with all, after a restart, to every other one.
func (k *keeper) resync(ctx context.Context, all bool) {
	systems := k.mem.Owed
	if all {
		systems = slices.Clone(systems)
		for _, o := range k.mem.Owned {
			for _, h := range o.Path {
				systems = append(systems, h.System)
			}
		}
	}
	slices.SortFunc(systems, func(a, b tsn.MAC) int { return slices.Compare(a[:], b[:]) })
	k.mem.Owed = nil
	for _, s := range slices.Compact(systems) {
		k.release(ctx, s)
	}
}

// put sends a system the whole set that streams make there.
func (k *keeper) put(ctx context.Context, system tsn.MAC, streams []ownedStream, dry bool) error {
	peer, err := k.peers.Peer(ctx, system)
	if err != nil {
		return err
	}
	set := api.Reservations{
		Owner: k.name, Generation: k.mem.Generation + 1,
		Reservations: reservationsAt(system, streams), DryRun: dry,
	}
	if !dry {
		k.mem.Generation++
	}
	return peer.PutReservations(ctx, set)
}

// reservationsAt selects what streams hold at one system.
func reservationsAt(system tsn.MAC, streams []ownedStream) []tsn.Reservation {
	var out []tsn.Reservation
	for _, o := range streams {
		var ports []tsn.Port
		for _, h := range o.Path {
			if h.System == system {
				ports = append(ports, h.Port)
			}
		}
		if len(ports) > 0 {
			slices.Sort(ports)
			out = append(out, tsn.Reservation{Stream: o.Stream, Ports: ports})
		}
	}
	return out
}

// refusal gives err the place it happened at, unless it says one itself.
func (k *keeper) refusal(ctx context.Context, err error, id tsn.StreamID, h tsn.Hop) error {
	var e *api.Error
	if !errors.As(err, &e) {
		e = api.Errorf(api.CodeUnavailable, "%s: %w", k.topo.Label(ctx, h).Node, err)
	}
	c := *e
	c.Stream = id
	if c.Hop == (api.PathHop{}) {
		c.Hop = k.topo.Label(ctx, h)
	}
	return &c
}

// within puts where and what in front of an error. An *api.Error stays one:
// its text is all that the caller will see.
func within(err error, format string, a ...any) error {
	where := fmt.Sprintf(format, a...)
	var e *api.Error
	if !errors.As(err, &e) {
		return fmt.Errorf("%s: %w", where, err)
	}
	c := *e
	c.Text = where + ": " + e.Text
	return &c
}
