package daemon

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"tsnswitch"
	"tsnswitch/internal/api"
	"tsnswitch/internal/config"
	"tsnswitch/srp"
)

// fromPeer says that a call came from another daemon, which has already done
// what concerns the network as a whole.
func fromPeer(ctx context.Context) bool { return api.PeerName(ctx) != "" }

// gateway is the switch that an end station asks about the network: the first
// configured peer that answers. nil on a bridge, which knows itself.
func (d *Daemon) gateway(ctx context.Context) (api.Switch, error) {
	if d.cfg.Role == config.RoleBridge {
		return nil, nil
	}
	all, err := d.fabric.members(ctx)
	if err != nil {
		return nil, err
	}
	var errs []error
	for _, m := range all {
		c, err := d.fabric.client(m)
		if err == nil {
			var st *api.Status
			if st, err = timed(ctx, c.Status); err == nil && st.Role == config.RoleBridge {
				return c, nil
			}
		}
		if err != nil {
			errs = append(errs, err)
		}
		if ctx.Err() != nil {
			break
		}
	}
	if len(errs) == 0 {
		return nil, api.Errorf(api.CodeUnavailable, "this end station knows no bridge to ask; give some in endStation.peers")
	}
	return nil, api.Errorf(api.CodeUnavailable, "no bridge of endStation.peers answers: %w", errors.Join(errs...))
}

// resolve turns a name or an address into a member of the fabric.
func (d *Daemon) resolve(ctx context.Context, who string) (member, error) {
	if err := d.needSPB(); err != nil {
		return member{}, err
	}
	var mac tsn.MAC
	var err error
	if cerr := d.control.call(ctx, func() { mac, err = d.machine.SPB.Resolve(who) }); cerr != nil {
		return member{}, cerr
	}
	if err != nil {
		return member{}, api.Errorf(api.CodeNotFound, "%w", err)
	}
	return d.fabric.member(ctx, bySystem(mac), who)
}

// AddStream implements api.Switch. The stream is kept by the bridge that the
// talker is attached to; elsewhere the call is passed on.
func (d *Daemon) AddStream(ctx context.Context, r api.StreamRequest) (*api.StreamState, error) {
	if gw, err := d.gateway(ctx); err != nil || gw != nil {
		if err != nil {
			return nil, err
		}
		return d.addByStation(ctx, gw, r)
	}
	s, keeper, err := d.complete(ctx, r)
	if err != nil {
		return nil, err
	}
	if keeper != d.cfg.Name {
		if fromPeer(ctx) {
			return nil, api.Errorf(api.CodeConflict, "%s says that %s keeps the streams of %s, the caller thought otherwise; try again", d.cfg.Name, keeper, s.Talker)
		}
		there, err := d.fabric.remote(ctx, keeper)
		if err != nil {
			return nil, err
		}
		return there.AddStream(ctx, api.StreamRequest{Spec: s, DryRun: r.DryRun})
	}
	unlock, err := d.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if s.ID == (tsn.StreamID{}) {
		s.ID = d.freeID(s.Talker)
	}
	path, err := d.keeper.check(ctx, s)
	if err != nil {
		return nil, err
	}
	if !r.DryRun {
		if err := d.keeper.add(ctx, s, path); err != nil {
			return nil, err
		}
		d.events.add("stream-added", tsn.NoPort, fmt.Sprintf("%s %s", s.ID, s.Name))
		d.networkChanged()
	}
	st := d.streamState(ctx, ownedStream{Stream: s, Path: path})
	return &st, nil
}

// addByStation asks the bridge that will keep the stream: a bridge passes no
// peer's call on, and the gateway may be another one.
func (d *Daemon) addByStation(ctx context.Context, gw api.Switch, r api.StreamRequest) (*api.StreamState, error) {
	nodes, err := timed(ctx, gw.Nodes)
	if err != nil {
		return nil, err
	}
	talker := r.Talker
	if talker == "" {
		talker = r.Spec.Talker.String()
	}
	if name := bridgeOf(nodes, talker); name != "" {
		if gw, err = d.fabric.remote(ctx, name); err != nil {
			return nil, err
		}
	}
	return gw.AddStream(ctx, r)
}

// bridgeOf is the name of the bridge that has the station, "" if none or more
// than one has it. A bridge has itself.
func bridgeOf(nodes []api.FabricNode, station string) (found string) {
	mac, _ := tsn.ParseMAC(station)
	is := func(name string, m tsn.MAC) bool { return name == station || !mac.IsZero() && m == mac }
	for _, n := range nodes {
		if is(n.Name, n.System) || slices.ContainsFunc(n.Stations, func(s api.Station) bool { return is(s.Name, s.MAC) }) {
			if found != "" {
				return ""
			}
			found = n.Name
		}
	}
	return found
}

// removeByStation asks the bridge that keeps the stream.
func (d *Daemon) removeByStation(ctx context.Context, stream string) error {
	s, err := d.ShowStream(ctx, stream)
	if err != nil {
		return err
	}
	owner, err := d.fabric.remote(ctx, s.Owner)
	if err != nil {
		return err
	}
	return owner.RemoveStream(ctx, s.Stream.ID.String())
}

// complete fills in what a request may leave out, and says which bridge keeps
// the stream.
func (d *Daemon) complete(ctx context.Context, r api.StreamRequest) (s tsn.Stream, keeper string, err error) {
	s = r.Spec
	talker, listener := r.Talker, r.Listener
	if talker == "" {
		talker = s.Talker.String()
	}
	if listener == "" {
		listener = s.Listener.String()
	}
	t, err := d.resolve(ctx, talker)
	if err != nil {
		return s, "", within(err, "talker")
	}
	l, err := d.resolve(ctx, listener)
	if err != nil {
		return s, "", within(err, "listener")
	}
	s.Talker, s.Listener = t.system, l.system
	if s.DestinationAddress.IsZero() {
		s.DestinationAddress = s.Listener
	}
	if s.VID == 0 {
		s.VID = d.cfg.SRP.StreamVID
	}
	b, err := d.fabric.member(ctx, bySystem(t.bridge), "the talker's bridge "+t.bridge.String())
	return s, b.name, err
}

// freeID chooses the lowest unique id that no stream of the talker has here.
func (d *Daemon) freeID(talker tsn.MAC) tsn.StreamID {
	for unique := uint16(1); ; unique++ {
		if id := tsn.MakeStreamID(talker, unique); d.keeper.find(id) < 0 || unique == 0xffff {
			return id
		}
	}
}

// RemoveStream implements api.Switch.
func (d *Daemon) RemoveStream(ctx context.Context, stream string) error {
	if gw, err := d.gateway(ctx); err != nil || gw != nil {
		if err != nil {
			return err
		}
		return d.removeByStation(ctx, stream)
	}
	s, err := d.ShowStream(ctx, stream)
	if err != nil {
		return err
	}
	if s.Owner != d.cfg.Name {
		if fromPeer(ctx) {
			return api.Errorf(api.CodeNotFound, "%s does not keep stream %s", d.cfg.Name, stream)
		}
		there, err := d.fabric.remote(ctx, s.Owner)
		if err != nil {
			return err
		}
		return there.RemoveStream(ctx, s.Stream.ID.String())
	}
	unlock, err := d.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	i := d.keeper.find(s.Stream.ID)
	if i < 0 {
		return api.Errorf(api.CodeNotFound, "stream %s is gone already", stream)
	}
	if err := d.keeper.remove(ctx, i); err != nil {
		return err
	}
	d.events.add("stream-removed", tsn.NoPort, s.Stream.ID.String())
	d.networkChanged()
	return nil
}

// ShowStream implements api.Switch.
func (d *Daemon) ShowStream(ctx context.Context, stream string) (*api.StreamState, error) {
	all, err := d.ListStreams(ctx)
	if err != nil {
		return nil, err
	}
	var found []api.StreamState
	for _, s := range all {
		if s.Stream.ID.String() == stream || s.Stream.Name == stream {
			found = append(found, s)
		}
	}
	switch len(found) {
	case 0:
		return nil, api.Errorf(api.CodeNotFound, "there is no stream %q (see: tsnctl stream list)", stream)
	case 1:
		return &found[0], nil
	}
	return nil, api.Errorf(api.CodeBadRequest, "%d streams are named %q; use the id, like %s", len(found), stream, found[0].Stream.ID)
}

// ListStreams implements api.Switch: of the whole fabric if a person asks, of
// this node if another daemon does.
func (d *Daemon) ListStreams(ctx context.Context) ([]api.StreamState, error) {
	if fromPeer(ctx) && d.cfg.Role == config.RoleBridge {
		return d.ownStreams(ctx), nil
	}
	if gw, err := d.gateway(ctx); err != nil || gw != nil {
		if err != nil {
			return nil, err
		}
		return d.fromGateway(ctx, gw)
	}
	return d.markScheduled(ctx, d.allStreams(ctx)), nil
}

// fromGateway asks each bridge, since a bridge tells a peer only of its own.
func (d *Daemon) fromGateway(ctx context.Context, gw api.Switch) ([]api.StreamState, error) {
	nodes, err := timed(ctx, gw.Nodes)
	if err != nil {
		return nil, err
	}
	var out []api.StreamState
	for _, n := range nodes {
		if sw, err := d.fabric.remote(ctx, n.Name); err == nil && n.Reachable {
			if s, err := timed(ctx, sw.ListStreams); err == nil {
				out = append(out, s...)
			}
		}
	}
	sortStreams(out)
	return d.markScheduled(ctx, out), nil
}

// reservedStreams is what the conductor plans with; an owner that does not
// answer is an error, because planning without its streams would close their
// gates.
func (d *Daemon) reservedStreams(ctx context.Context) ([]api.StreamState, error) {
	out := d.ownStreams(ctx)
	members, err := d.fabric.members(ctx)
	if err != nil {
		return nil, err
	}
	for _, m := range members {
		if m.station || !m.reachable || m.system == d.cfg.SystemID {
			continue
		}
		sw, err := d.fabric.client(m)
		if err != nil {
			return nil, err
		}
		s, err := timed(ctx, sw.ListStreams)
		if err != nil {
			return nil, within(err, "streams kept by %s", m.name)
		}
		out = append(out, s...)
	}
	sortStreams(out)
	return out, nil
}

// allStreams is reservedStreams for people: who does not answer is left out.
func (d *Daemon) allStreams(ctx context.Context) []api.StreamState {
	out := d.ownStreams(ctx)
	members, err := d.fabric.members(ctx)
	if err != nil {
		return out
	}
	for _, m := range members {
		if m.station || !m.reachable || m.system == d.cfg.SystemID {
			continue
		}
		if sw, err := d.fabric.client(m); err == nil {
			if s, err := timed(ctx, sw.ListStreams); err == nil {
				out = append(out, s...)
			}
		}
	}
	sortStreams(out)
	return out
}

func sortStreams(s []api.StreamState) {
	slices.SortFunc(s, func(a, b api.StreamState) int { return bytes.Compare(a.Stream.ID[:], b.Stream.ID[:]) })
}

// ownStreams lists the streams this node keeps.
func (d *Daemon) ownStreams(ctx context.Context) []api.StreamState {
	out := []api.StreamState{}
	for _, o := range d.view.Load().owned {
		out = append(out, d.streamState(ctx, o))
	}
	sortStreams(out)
	return out
}

func (d *Daemon) streamState(ctx context.Context, o ownedStream) api.StreamState {
	s := api.StreamState{Stream: o.Stream, Owner: d.cfg.Name, State: api.StreamReserved, Reason: "unscheduled"}
	for _, h := range o.Path {
		s.Path = append(s.Path, d.fabric.Label(ctx, h))
	}
	if len(o.Path) == 0 {
		s.State, s.Reason, s.Failure = api.StreamFailed, o.Reason, o.Failure
	}
	return s
}

// markScheduled marks streams that have a window on every port of their path
// in a schedule that runs. Who conducts it is in the schedule's id.
func (d *Daemon) markScheduled(ctx context.Context, streams []api.StreamState) []api.StreamState {
	if len(streams) == 0 {
		return streams
	}
	sched := d.runningSchedule(ctx)
	if sched == nil {
		return streams
	}
	for i := range streams {
		s := &streams[i]
		if s.State != api.StreamReserved {
			continue
		}
		windows := 0
		for _, h := range s.Path {
			for _, p := range sched.Ports {
				if p.Hop == h.Hop && slices.ContainsFunc(p.Windows, func(w api.Window) bool { return w.Stream == s.Stream.ID }) {
					windows++
				}
			}
		}
		for _, x := range sched.Streams {
			if x.ID != s.Stream.ID {
				continue
			}
			if x.Scheduled && windows == len(s.Path) {
				s.State, s.Reason, s.Latency = api.StreamScheduled, "", x.Latency
			} else if x.Reason != "" {
				s.Reason = "unscheduled: " + x.Reason
			}
		}
	}
	return streams
}

// PutReservations implements api.Peer.
func (d *Daemon) PutReservations(ctx context.Context, p api.Reservations) error {
	if err := d.putReservations(ctx, p); err != nil || p.DryRun {
		return err
	}
	// The talker may send once this returns: the kernel must be ready. But the
	// reservation stands, and the caller must hear of it in time.
	ctx, cancel := context.WithTimeout(ctx, settleLimit)
	defer cancel()
	if err := d.applier.settle(ctx); err != nil {
		d.log.Warn("reservation accepted, kernel not yet as desired", "owner", p.Owner, "err", err)
	}
	return nil
}

// settleLimit is how long an accepted reservation waits for the kernel; it is
// well below callLimit.
const settleLimit = callLimit / 2

// putReservations asks srp, keeps the set on disk, and puts it in force.
func (d *Daemon) putReservations(ctx context.Context, p api.Reservations) error {
	d.heldMu.Lock()
	defer d.heldMu.Unlock()
	ev := srp.PutReservations{Owner: p.Owner, Generation: p.Generation, Reservations: p.Reservations}
	put := func(dry bool) error {
		err := d.ask(ctx, func(id uint64) tsn.Event { ev.RequestID, ev.Dry = id, dry; return ev })
		var r *srp.Refusal
		if errors.As(err, &r) {
			hop := api.PathHop{Hop: tsn.Hop{System: d.cfg.SystemID, Port: r.Port}, Node: d.cfg.Name, Ifname: ifnameOf(d.cfg, r.Port)}
			if r.Code == tsn.FailureNone {
				return api.Errorf(api.CodeConflict, "%s: %s", d.cfg.Name, r.Reason)
			}
			return api.Refuse(r.Code, r.Stream, hop, "%s port %d (%s): %s", d.cfg.Name, r.Port, hop.Ifname, r.Reason)
		}
		return err
	}
	if err := put(true); err != nil || p.DryRun {
		return err
	}
	before := slices.Clone(d.held.Reservations)
	d.held.Reservations = slices.DeleteFunc(d.held.Reservations, func(o api.Reservations) bool { return o.Owner == p.Owner })
	if len(p.Reservations) > 0 {
		d.held.Reservations = append(d.held.Reservations, p)
	}
	if err := d.heldStore.save(d.held); err != nil {
		d.held.Reservations = before
		return api.Errorf(api.CodeInternal, "%s: reservations not changed: %w", d.cfg.Name, err)
	}
	err := put(false)
	if err != nil {
		d.held.Reservations = before
		if serr := d.heldStore.save(d.held); serr != nil {
			d.log.Warn("state not put back", "err", serr)
		}
	}
	return err
}
