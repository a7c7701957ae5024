package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"tsnswitch"
	"tsnswitch/internal/api"
	"tsnswitch/srp"
	"tsnswitch/srp/mrp"
)

// Demands are streams for end stations that speak no MSRP (802.1Qcc 46.1.3.3,
// the fully centralised model: whoever calls RequestStream is the CUC, this
// daemon the CNC's voice). Their talkers and listeners are declared by the
// bridges that they are attached to, in whose sets (srp.PutProxies) this node
// has a part under its name. A set is sent again whenever it is another one,
// because a station has moved, and whenever the network is looked at, because a
// bridge may have lost it.

// demandMemory is what survives a restart.
type demandMemory struct {
	Demands []api.Demand `json:"demands,omitempty"`
	// Proxied are the systems that may hold a set of ours.
	Proxied []tsn.MAC `json:"proxied,omitempty"`
}

// toldProxies is the set that a system holds, as far as is known.
type toldProxies struct {
	digest     string
	generation uint64
}

// stationPlaces are the ports of end stations, by address.
type stationPlaces map[tsn.MAC]tsn.Hop

func (d *Daemon) stationPlaces(ctx context.Context) (stationPlaces, error) {
	out := stationPlaces{}
	err := d.control.call(ctx, func() {
		if d.machine.SPB == nil {
			return
		}
		for _, s := range d.machine.SPB.Stations() {
			if _, known := out[s.MAC]; !known && s.Reachable {
				out[s.MAC] = tsn.Hop{System: s.Bridge, Port: s.Port}
			}
		}
	})
	for _, p := range d.cfg.Ports {
		for _, s := range p.Stations {
			out[s.MAC] = tsn.Hop{System: d.cfg.SystemID, Port: p.Port}
		}
	}
	return out, err
}

// demandEnd finds a station by name, by address, or by address and place.
func (d *Daemon) demandEnd(ctx context.Context, text string, places stationPlaces) (api.DemandEnd, error) {
	address, place, fixed := strings.Cut(text, "@")
	if fixed {
		return d.fixedEnd(ctx, address, place)
	}
	e := api.DemandEnd{}
	for _, p := range d.cfg.Ports {
		for _, s := range p.Stations {
			if s.Name == text && s.Name != "" {
				e.MAC, e.Name = s.MAC, s.Name
			}
		}
	}
	var err error
	if e.MAC.IsZero() {
		if e.MAC, err = tsn.ParseMAC(text); err != nil && d.machine.SPB != nil {
			var m member
			if m, err = d.resolve(ctx, text); err == nil && !m.station {
				return e, api.Errorf(api.CodeBadRequest, "%s is a bridge, not a station", text)
			}
			e.MAC, e.Name = m.system, m.name
		}
	}
	if err != nil {
		return e, api.Errorf(api.CodeNotFound, "station %q is not known; give its address and place, like 02:00:00:00:01:01@%s:1", text, d.cfg.Name)
	}
	if at, known := places[e.MAC]; known {
		e.PathHop = d.fabric.Label(ctx, at)
		return e, nil
	}
	return e, api.Errorf(api.CodeNotFound, "where station %s is attached is not known; give its place, like %s@%s:1", text, e.MAC, d.cfg.Name)
}

// fixedEnd reads an address and node:port.
func (d *Daemon) fixedEnd(ctx context.Context, address, place string) (e api.DemandEnd, err error) {
	if e.MAC, err = tsn.ParseMAC(address); err != nil {
		return e, api.Errorf(api.CodeBadRequest, "%s@%s: %w", address, place, err)
	}
	node, port, ok := strings.Cut(place, ":")
	n, err := strconv.ParseUint(port, 10, 12)
	if !ok || err != nil || n == 0 {
		return e, api.Errorf(api.CodeBadRequest, "%s@%s: the place is not NODE:PORT", address, place)
	}
	at := tsn.Hop{System: d.cfg.SystemID, Port: tsn.Port(n)}
	if node != d.cfg.Name {
		m, err := d.fabric.member(ctx, byName(node), "node "+node)
		if err != nil {
			return e, err
		}
		at.System = m.system
	}
	e.Fixed, e.PathHop = true, d.fabric.Label(ctx, at)
	return e, nil
}

// RequestStream implements api.Switch.
func (d *Daemon) RequestStream(ctx context.Context, r api.DemandRequest) (*api.Demand, error) {
	if gw, err := d.gateway(ctx); err != nil || gw != nil {
		if err != nil {
			return nil, err
		}
		return gw.RequestStream(ctx, r)
	}
	m, err := d.demand(ctx, r)
	if err != nil {
		return nil, err
	}
	unlock, err := d.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	for _, o := range d.demands.mem.Demands {
		switch {
		case o.Stream.ID == m.Stream.ID:
			return nil, api.Errorf(api.CodeConflict, "stream %s has been asked for already; withdraw it first (tsnctl stream remove)", m.Stream.ID)
		case o.Stream.Name == m.Stream.Name && o.Stream.Name != "":
			return nil, api.Errorf(api.CodeConflict, "a stream named %s has been asked for (%s); choose another name", o.Stream.Name, o.Stream.ID)
		}
	}
	want := append(slices.Clone(d.demands.mem.Demands), *m)
	sets := d.demands.sets(want)
	for _, at := range systemsOf(m) {
		if err := d.demands.put(ctx, at, sets[at], true); err != nil {
			return nil, within(err, "%s", d.fabric.Label(ctx, tsn.Hop{System: at}).Node)
		}
	}
	if r.DryRun {
		return m, nil
	}
	if err := d.demands.keep(want); err != nil {
		return nil, api.Errorf(api.CodeInternal, "stream %s was not asked for: %w", m.Stream.ID, err)
	}
	d.events.add("stream-requested", tsn.NoPort, m.Stream.ID.String()+" "+m.Stream.Name)
	if !d.tendDemands(ctx) {
		d.networkChanged() // and again
	}
	return m, nil
}

// WithdrawStream implements api.Switch.
func (d *Daemon) WithdrawStream(ctx context.Context, stream string) (*api.Demand, error) {
	if gw, err := d.gateway(ctx); err != nil || gw != nil {
		if err != nil {
			return nil, err
		}
		return gw.WithdrawStream(ctx, stream)
	}
	unlock, err := d.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	i := slices.IndexFunc(d.demands.mem.Demands, func(m api.Demand) bool { return m.Stream.ID.String() == stream || m.Stream.Name == stream })
	if i < 0 {
		return nil, api.Errorf(api.CodeNotFound, "%s has not asked for a stream %q (see: tsnctl stream requests)", d.cfg.Name, stream)
	}
	gone := d.demands.mem.Demands[i]
	if err := d.demands.keep(slices.Delete(slices.Clone(d.demands.mem.Demands), i, i+1)); err != nil {
		return nil, api.Errorf(api.CodeInternal, "stream %s was not withdrawn: %w", gone.Stream.ID, err)
	}
	d.events.add("stream-withdrawn", tsn.NoPort, gone.Stream.ID.String())
	if !d.tendDemands(ctx) {
		d.networkChanged()
	}
	return &gone, nil
}

// Demands implements api.Switch.
func (d *Daemon) Demands(ctx context.Context) ([]api.Demand, error) {
	if gw, err := d.gateway(ctx); err != nil || gw != nil {
		if err != nil {
			return nil, err
		}
		return gw.Demands(ctx)
	}
	return append([]api.Demand{}, d.view.Load().demands...), nil
}

// demand completes a request.
func (d *Daemon) demand(ctx context.Context, r api.DemandRequest) (*api.Demand, error) {
	classes := d.srClasses()
	k := slices.IndexFunc(classes, func(c srp.SRClass) bool { return srClassName(c.ID) == r.Class })
	if k < 0 {
		return nil, api.Errorf(api.CodeBadRequest, "class: %q is not one of MSRP's here", r.Class)
	}
	class := classes[k]
	places, err := d.stationPlaces(ctx)
	if err != nil {
		return nil, err
	}
	m := &api.Demand{Class: r.Class, Rank: r.Rank, Keeper: d.cfg.Name}
	if m.Talker, err = d.demandEnd(ctx, r.Talker, places); err != nil {
		return nil, within(err, "talker")
	}
	for _, l := range r.Listeners {
		e, err := d.demandEnd(ctx, l, places)
		if err != nil {
			return nil, within(err, "listener")
		}
		if e.Hop == m.Talker.Hop {
			return nil, api.Errorf(api.CodeBadRequest, "listener %s is at the talker's port", l)
		}
		m.Listeners = append(m.Listeners, e)
	}
	m.Stream = tsn.Stream{
		ID: r.ID, Name: r.Name, Talker: m.Talker.MAC, DestinationAddress: r.Destination, VID: r.VID, PCP: class.Priority,
		Interval: class.Interval, MaxFrameSize: r.MaxFrameSize, MaxIntervalFrames: perInterval(r, class.Interval), MaxLatency: r.MaxLatency,
	}
	if m.Stream.VID == 0 {
		m.Stream.VID = class.VID
	}
	return m, d.chooseNames(ctx, &m.Stream)
}

// perInterval is how many frames may come in a class measurement interval, if
// so many do in each of the talker's (802.1Qcc 35.2.2.10.6 asks the same).
func perInterval(r api.DemandRequest, class int64) uint16 {
	own := r.Interval
	if own == 0 {
		own = class
	}
	return uint16(min((int64(r.MaxIntervalFrames)*class+own-1)/own, 65535))
}

// chooseNames gives a stream the id and destination that it was not asked for
// with: the lowest that nobody uses, as far as the fabric knows.
func (d *Daemon) chooseNames(ctx context.Context, s *tsn.Stream) error {
	known, err := d.FindStreams(ctx, api.StreamQuery{})
	if err != nil {
		return err
	}
	ids, groups := map[tsn.StreamID]bool{}, map[tsn.MAC]bool{}
	for _, v := range known {
		ids[v.Stream.ID], groups[v.Stream.DestinationAddress] = true, true
	}
	for _, m := range d.view.Load().demands {
		ids[m.Stream.ID], groups[m.Stream.DestinationAddress] = true, true
	}
	for unique := uint16(1); s.ID == (tsn.StreamID{}); unique++ {
		if id := tsn.MakeStreamID(s.Talker, unique); !ids[id] || unique == 0xffff {
			s.ID = id
		}
	}
	// IEEE 1722 annex B leaves these groups to local administration. Another
	// node that asks begins elsewhere.
	for n := 0; s.DestinationAddress.IsZero(); n++ {
		g := tsn.MAC{0x91, 0xe0, 0xf0, 0x00, 0xfe, d.cfg.SystemID[5] + byte(n)}
		if n == 256 {
			return api.Errorf(api.CodeConflict, "every group address that could be chosen is in use; name one")
		}
		if !groups[g] {
			s.DestinationAddress = g
		}
	}
	return nil
}

// systemsOf are those that a demand has an end at.
func systemsOf(m *api.Demand) []tsn.MAC {
	out := []tsn.MAC{m.Talker.System}
	for _, l := range m.Listeners {
		if !slices.Contains(out, l.System) {
			out = append(out, l.System)
		}
	}
	return out
}

// demands is the keeper of what this node has asked for; it needs the operations lock.
type demands struct {
	name       string
	peers      peers
	mem        demandMemory
	store      store[demandMemory]
	generation uint64
	told       map[tsn.MAC]toldProxies
}

// keep has other demands from now on.
func (k *demands) keep(m []api.Demand) error {
	before := k.mem.Demands
	k.mem.Demands = m
	err := k.store.save(k.mem)
	if err != nil {
		k.mem.Demands = before
	}
	return err
}

// sets are the proxies that demands make at each system.
func (k *demands) sets(all []api.Demand) map[tsn.MAC]api.Proxies {
	out := map[tsn.MAC]api.Proxies{}
	for _, m := range all {
		if m.Problem != "" {
			continue
		}
		p := out[m.Talker.System]
		p.Talkers = append(p.Talkers, api.ProxyTalker{Port: m.Talker.Port, Stream: m.Stream, Rank: m.Rank, MaxLatency: m.Stream.MaxLatency})
		out[m.Talker.System] = p
		for _, l := range m.Listeners {
			p := out[l.System]
			p.Listeners = append(p.Listeners, api.ProxyListener{Port: l.Port, Stream: m.Stream.ID, MaxLatency: m.Stream.MaxLatency})
			out[l.System] = p
		}
	}
	return out
}

// put sends a system its set: under the number of the last time if it is the same.
func (k *demands) put(ctx context.Context, system tsn.MAC, set api.Proxies, dry bool) error {
	peer, err := k.peers.Peer(ctx, system)
	if err != nil {
		return err
	}
	digest, err := json.Marshal(set)
	if err != nil {
		return err
	}
	last := k.told[system]
	set.Owner, set.DryRun, set.Generation = k.name, dry, last.generation
	if last.digest != string(digest) {
		set.Generation = k.generation + 1
	}
	if dry {
		return peer.PutProxies(ctx, set)
	}
	k.generation = max(k.generation, set.Generation)
	delete(k.told, system) // it may take it, and its answer be lost
	if err := peer.PutProxies(ctx, set); err != nil {
		return err
	}
	k.told[system] = toldProxies{string(digest), set.Generation}
	return nil
}

// tendDemands brings every system the set that it shall have now, and says
// whether all have it.
func (d *Daemon) tendDemands(ctx context.Context) bool {
	k := &d.demands
	if len(k.mem.Demands) == 0 && len(k.mem.Proxied) == 0 {
		return true
	}
	places, err := d.stationPlaces(ctx)
	if err != nil {
		return false
	}
	for i := range k.mem.Demands {
		d.follow(ctx, &k.mem.Demands[i], places)
	}
	sets := k.sets(k.mem.Demands)
	before := slices.Clone(k.mem.Proxied)
	for system := range sets {
		if !slices.Contains(k.mem.Proxied, system) {
			k.mem.Proxied = append(k.mem.Proxied, system)
		}
	}
	slices.SortFunc(k.mem.Proxied, func(a, b tsn.MAC) int { return slices.Compare(a[:], b[:]) })
	if !slices.Equal(before, k.mem.Proxied) {
		if err := k.store.save(k.mem); err != nil {
			d.log.Warn("stations are not spoken for", "err", err)
			return false
		}
	}
	all := true
	var left []tsn.MAC
	for _, system := range k.mem.Proxied {
		set := sets[system]
		err := k.put(ctx, system, set, false)
		all = all && err == nil
		if err != nil {
			d.demandProblem(ctx, system, err)
		}
		if err != nil || len(set.Talkers)+len(set.Listeners) > 0 {
			left = append(left, system)
		}
	}
	if !slices.Equal(left, k.mem.Proxied) {
		k.mem.Proxied = left
		_ = k.store.save(k.mem) // worst case: an empty set is sent again
	}
	return all
}

// follow updates the places of a demand's stations.
func (d *Daemon) follow(ctx context.Context, m *api.Demand, places stationPlaces) {
	m.Problem = ""
	for _, e := range append([]*api.DemandEnd{&m.Talker}, pointers(m.Listeners)...) {
		if e.Fixed {
			continue
		}
		if at, known := places[e.MAC]; known {
			e.PathHop = d.fabric.Label(ctx, at)
		} else {
			m.Problem = fmt.Sprintf("no bridge knows station %s", nameOr(e.Name, e.MAC))
		}
	}
}

func pointers[T any](s []T) (out []*T) {
	for i := range s {
		out = append(out, &s[i])
	}
	return out
}

// demandProblem notes why a system does not speak for stations.
func (d *Daemon) demandProblem(ctx context.Context, system tsn.MAC, err error) {
	text := within(err, "%s", d.fabric.Label(ctx, tsn.Hop{System: system}).Node).Error()
	d.log.Debug("stations are not spoken for", "err", text)
	for i := range d.demands.mem.Demands {
		if m := &d.demands.mem.Demands[i]; slices.Contains(systemsOf(m), system) {
			m.Problem = text
		}
	}
}

// PutProxies implements api.Peer.
func (d *Daemon) PutProxies(ctx context.Context, p api.Proxies) error {
	if !d.cfg.SRP.MSRP {
		return api.Errorf(api.CodeUnsupported, "%s does not speak MSRP (srp.msrp)", d.cfg.Name)
	}
	d.heldMu.Lock()
	defer d.heldMu.Unlock()
	if err := d.askProxies(ctx, p, true); err != nil || p.DryRun {
		return err
	}
	before := slices.Clone(d.held.Proxies)
	d.held.Proxies = slices.DeleteFunc(d.held.Proxies, func(o api.Proxies) bool { return o.Owner == p.Owner })
	if len(p.Talkers)+len(p.Listeners) > 0 {
		d.held.Proxies = append(d.held.Proxies, p)
	}
	if err := d.heldStore.save(d.held); err != nil {
		d.held.Proxies = before
		return api.Errorf(api.CodeInternal, "%s: stations not spoken for: %w", d.cfg.Name, err)
	}
	return d.askProxies(ctx, p, false)
}

// askProxies gives MSRP a set.
func (d *Daemon) askProxies(ctx context.Context, p api.Proxies, dry bool) error {
	ev := srp.PutProxies{Owner: p.Owner, Generation: p.Generation, Dry: dry}
	for _, t := range p.Talkers {
		s := t.Stream
		ev.Talkers = append(ev.Talkers, srp.ProxyTalker{Port: t.Port, MaxLatency: uint32(t.MaxLatency), Talker: mrp.Talker{
			StreamID: s.ID, DestinationAddress: s.DestinationAddress, VID: s.VID, MaxFrameSize: s.MaxFrameSize,
			MaxIntervalFrames: s.MaxIntervalFrames, DataFramePriority: s.PCP, Rank: t.Rank,
		}})
	}
	for _, l := range p.Listeners {
		ev.Listeners = append(ev.Listeners, srp.ProxyListener{Port: l.Port, StreamID: l.Stream, MaxLatency: uint32(l.MaxLatency)})
	}
	err := d.ask(ctx, func(id uint64) tsn.Event { ev.RequestID = id; return ev })
	var r *srp.Refusal
	if !errors.As(err, &r) {
		return err
	}
	hop := api.PathHop{Hop: tsn.Hop{System: d.cfg.SystemID, Port: r.Port}, Node: d.cfg.Name, Ifname: ifnameOf(d.cfg, r.Port)}
	if r.Code == tsn.FailureNone {
		return api.Errorf(api.CodeConflict, "%s: %s", d.cfg.Name, r.Reason)
	}
	return api.Refuse(r.Code, r.Stream, hop, "%s port %d (%s): %s", d.cfg.Name, r.Port, hop.Ifname, r.Reason)
}

// restoreProxies speaks for the stations that others have asked to before.
func (d *Daemon) restoreProxies(ctx context.Context) {
	d.heldMu.Lock()
	defer d.heldMu.Unlock()
	for _, p := range d.held.Proxies {
		if !d.cfg.SRP.MSRP {
			d.log.Warn("stations are not spoken for: srp.msrp is off", "owner", p.Owner)
			continue
		}
		if err := d.askProxies(ctx, p, false); err != nil {
			d.log.Warn("stations are not spoken for", "owner", p.Owner, "err", err)
		}
	}
}
