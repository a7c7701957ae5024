package daemon

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"tsnswitch"
	"tsnswitch/gptp"
	"tsnswitch/internal/api"
	"tsnswitch/internal/config"
	"tsnswitch/internal/dataplane"
	"tsnswitch/spb"
	"tsnswitch/srp"
)

var _ api.Backend = (*Daemon)(nil)

// Remote implements api.Backend.
func (d *Daemon) Remote(ctx context.Context, node string) (api.Switch, error) {
	return d.fabric.remote(ctx, node)
}

// Node implements api.Peer.
func (d *Daemon) Node(ctx context.Context) (*api.Status, error) { return d.Status(ctx) }

// Events implements api.Switch.
func (d *Daemon) Events(ctx context.Context, since uint64, emit func(api.Event) error) error {
	return d.events.watch(ctx, since, emit)
}

// snapshot is what both machines say of themselves at about one time.
type snapshot struct {
	gptp         gptp.Status
	spb          *spb.Status
	spbCounts    spb.Counters
	neighbours   []spb.Neighbour
	stations     []spb.Station
	digest       [32]byte
	agreement    spb.Agreement
	edge         []spb.EdgePort
	keys         spb.Authentication
	ports        []srp.PortState
	streams      []srp.StreamState
	srpCounts    srp.Counters
	applications []string // of MRP, that run
	msrp         srp.MSRPCounters
	vlans        srp.MAPCounters // of MVRP
	groups       srp.MAPCounters // of MMRP
	mmrp         srp.MMRPCounters
}

func (d *Daemon) snapshot(ctx context.Context) (*snapshot, error) {
	var s snapshot
	if err := d.timing.call(ctx, func() { s.gptp = d.gptp.Status() }); err != nil {
		return nil, err
	}
	err := d.control.call(ctx, func() {
		s.ports, s.streams, s.srpCounts = d.machine.SRP.Ports(), d.machine.SRP.Streams(), d.machine.SRP.Counters()
		s.applications, s.msrp = d.applications(), d.machine.SRP.MSRPCounters()
		if m := d.machine.MVRP; m != nil {
			s.vlans = m.MAPCounters()
		}
		if m := d.machine.MMRP; m != nil {
			s.groups, s.mmrp = m.MAPCounters(), m.Counters()
		}
		if i := d.machine.SPB; i != nil {
			st := i.Status()
			s.spb, s.spbCounts, s.neighbours, s.digest, s.stations = &st, i.Counters(), i.Neighbours(), i.DatabaseDigest(), i.Stations()
			s.agreement, s.edge, s.keys = i.Agreement(), i.EdgePorts(), i.Authentication()
		}
	})
	return &s, err
}

// Status implements api.Switch.
func (d *Daemon) Status(ctx context.Context) (*api.Status, error) {
	s, err := d.snapshot(ctx)
	if err != nil {
		return nil, err
	}
	target := s.gptp.Target()
	st := &api.Status{
		Node: d.cfg.Name, System: d.cfg.SystemID, Role: d.cfg.Role, Version: Version, Uptime: time.Since(d.started).Nanoseconds(),
		GPTP: api.GPTPSummary{
			Synchronized: target.Synced, Grandmaster: d.clockName(ctx, target.GrandMaster),
			IsGrandmaster: target.IsGM, Offset: target.Offset.LastNS, State: target.State.String(), Off: !d.cfg.GPTP.Enabled,
		},
	}
	if s.spb != nil {
		st.SPB = api.SPBStatus{
			Adjacencies: s.spb.Adjacencies, Nodes: s.spb.NodesReached, LSPs: s.spb.LSPs,
			LSDBDigest: fmt.Sprintf("%x", s.digest[:8]), SPFRuns: s.spbCounts.SPFRuns,
			Overload: s.spb.OverloadReason, Agreement: d.agreementView(s), Keys: keysText(s.keys), Convergence: d.convergence.view(),
		}
	}
	sched, err := d.ScheduleState(ctx)
	if err != nil {
		return nil, err
	}
	st.Schedule = api.ScheduleBrief{ID: sched.RunningID, State: sched.State, Base: sched.Base}
	if t := sched.Trial; t.Open() && t.ID == sched.RunningID {
		st.Schedule.Trial, st.Schedule.Doubt = t.Text, t.Doubt
	}
	for _, p := range sched.Ports {
		if p.Oper != nil {
			st.Schedule.Cycle = p.Oper.CycleTime
		}
	}
	st.Ports = d.portStatus(s, sched)
	st.Streams.Here = len(s.streams)
	for _, o := range d.view.Load().owned {
		st.Streams.Owned++
		if len(o.Path) == 0 {
			st.Streams.Failed++
		}
	}
	if !fromPeer(ctx) {
		for _, x := range d.markScheduled(ctx, d.ownStreams(ctx)) {
			if x.State == api.StreamScheduled {
				st.Streams.Scheduled++
			}
		}
	}
	if len(s.applications) > 0 {
		if st.SRP, err = d.srpBrief(ctx, s.applications); err != nil {
			return nil, err
		}
	}
	st.Kernel = d.kernelStatus()
	st.Degraded = d.degraded(s, st)
	for _, c := range d.counters(s) {
		if isTrouble(c.Name) {
			st.Counters = append(st.Counters, c)
		}
	}
	return st, nil
}

// keysText says in a line how IS-IS is authenticated.
func keysText(a spb.Authentication) string {
	chain := func(c spb.KeyChain) string {
		if len(c.Keys) == 0 {
			return ""
		}
		sign, accept := "not signed", []string{}
		for _, k := range c.Keys {
			if k.Send {
				sign = fmt.Sprintf("signed with key %d (%s)", k.ID, k.Algorithm)
			}
			if k.Accept {
				accept = append(accept, strconv.Itoa(int(k.ID)))
			}
		}
		switch {
		case c.SendOnly:
			return sign + "; everything is accepted (sendOnly)"
		case len(accept) == 0:
			return sign + "; nothing is accepted"
		}
		return fmt.Sprintf("%s; accepted: %s", sign, strings.Join(accept, ", "))
	}
	hello, lsp := chain(a.Hello), chain(a.LSP)
	switch {
	case hello == lsp:
		return lsp
	case lsp == "":
		return "hellos " + hello + "; LSPs not signed"
	case hello == "":
		return "LSPs " + lsp + "; hellos not signed"
	}
	return "LSPs " + lsp + ". Hellos " + hello
}

func (d *Daemon) agreementView(s *snapshot) api.Agreement {
	a := api.Agreement{Pending: s.agreement.Pending, Flooding: s.agreement.Flooding, Strict: s.agreement.Strict, Withheld: s.agreement.Withheld}
	if a.Pending {
		a.For = d.control.now().Sub(tsn.Instant(s.agreement.SinceNS))
	}
	for _, m := range s.agreement.Waiting {
		name := ""
		for _, n := range s.neighbours {
			if n.SystemID == m {
				name = n.HostName
			}
		}
		a.Waiting = append(a.Waiting, nameOr(name, m))
	}
	return a
}

func (d *Daemon) portStatus(s *snapshot, sched *api.ScheduleState) []api.PortStatus {
	d.linkMu.Lock()
	defer d.linkMu.Unlock()
	var out []api.PortStatus
	for _, p := range d.cfg.Ports {
		l := d.links[p.Port]
		ps := api.PortStatus{Port: p.Port, Ifname: p.Ifname, Role: p.Role, Up: l.Up, Rate: tsn.Rate(p.Rate), Offload: d.cfg.OffloadOf(p) == config.OffloadFull}
		if ps.Rate == 0 {
			ps.Rate = l.Rate
		}
		for _, n := range s.neighbours {
			if n.Port == p.Port && n.State == "Up" {
				ps.Neighbour = nameOr(n.HostName, n.SystemID)
			}
		}
		for _, st := range p.Stations {
			ps.Neighbour = nameOr(st.Name, st.MAC)
		}
		for _, r := range s.ports {
			if r.Port == p.Port {
				ps.Reserved = r.Reserved
			}
		}
		for _, g := range sched.Ports {
			ps.Gated = ps.Gated || g.Port == p.Port && g.Oper != nil
		}
		out = append(out, ps)
	}
	return out
}

func nameOr(name string, m tsn.MAC) string {
	if name != "" {
		return name
	}
	return m.String()
}

func (d *Daemon) kernelStatus() api.KernelStatus {
	want, last := d.applier.state()
	if want == nil {
		return api.KernelStatus{Error: "nothing is wanted of the kernel yet"}
	}
	left, err := d.kernel.Diff(want.State)
	st := api.KernelStatus{InSync: err == nil && len(left) == 0, Differences: len(left)}
	if last != nil {
		st.Error = last.Error()
	} else if err != nil {
		st.Error = err.Error()
	}
	return st
}

// degraded says in sentences what is not as it should be.
func (d *Daemon) degraded(s *snapshot, st *api.Status) []string {
	var out []string
	absent := map[tsn.Port]bool{}
	for _, p := range d.kernel.Absent() {
		absent[p.Port] = true
		out = append(out, fmt.Sprintf("port %d has no interface: there is no %s here", p.Port, p.Ifname))
	}
	for _, p := range st.Ports {
		if !p.Up && !absent[p.Port] {
			out = append(out, fmt.Sprintf("port %d (%s) has no link", p.Port, p.Ifname))
		}
	}
	for _, n := range s.neighbours {
		if n.LinkUp && n.State != "Up" {
			out = append(out, fmt.Sprintf("port %d: IS-IS adjacency is %s", n.Port, n.State))
		}
		if n.Mismatch != "" {
			out = append(out, fmt.Sprintf("port %d: %s", n.Port, n.Mismatch))
		}
	}
	for _, e := range s.edge {
		if e.State == spb.EdgeBlocked.String() {
			out = append(out, fmt.Sprintf("edge port %d is blocked: %s", e.Port, e.Reason))
		}
	}
	if s.spb != nil && s.spb.Overload {
		out = append(out, "others are asked not to send through this bridge: "+s.spb.OverloadReason)
	}
	if s.spb != nil && s.spb.DuplicateSystem != "" {
		out = append(out, "another bridge seems to have our system id: "+s.spb.DuplicateSystem)
	}
	for _, x := range d.view.Load().silent {
		out = append(out, x.String()+" has not said how the last change of the schedule ended: it may run what the others do not")
	}
	if st.Schedule.Doubt {
		out = append(out, "schedule "+st.Schedule.ID+" may be rolled back: the others do not say")
	}
	out = append(out, d.timeDegraded(s.gptp)...)
	if st.Kernel.Error != "" {
		out = append(out, "kernel: "+st.Kernel.Error)
	}
	features := d.kernel.Features()
	if d.cfg.HasFabric() { // sharedDegraded says it of others
		out = append(out, srpDegraded(features, slices.Contains(s.applications, "msrp"))...)
	}
	out = append(out, filtersDegraded(d.cfg, features)...)
	out = append(out, sharedDegraded(d.cfg, features)...)
	for _, f := range features {
		if f.State == dataplane.FeatureMissing && !d.loose() && (f.Name == dataplane.FeatureTaprio || f.Name == dataplane.FeatureLocked) {
			out = append(out, fmt.Sprintf("%s is missing: %s", f.Name, f.Why))
		}
	}
	return out
}

// counters flattens every counter that is not zero.
func (d *Daemon) counters(s *snapshot) []api.NamedCounter {
	var out []api.NamedCounter
	add := func(name string, port tsn.Port, v any) {
		for _, f := range flatten(name, v) {
			if f.value != 0 {
				out = append(out, api.NamedCounter{Name: f.name, Port: port, Value: f.value})
			}
		}
	}
	if s.spb != nil {
		add("spb", 0, s.spbCounts)
	}
	add("srp", 0, s.srpCounts)
	add("msrp", 0, struct{ Malformed uint64 }{s.msrp.Malformed})
	add("mvrp", 0, s.vlans)
	add("mmrp", 0, s.groups)
	add("mmrp", 0, s.mmrp)
	for _, p := range s.gptp.Target().Ports {
		add("gptp", p.Port, p.Counters)
	}
	for _, c := range d.ports.Counters() {
		add("link_"+c.Protocol.String(), c.Port, c)
	}
	if kernel, err := d.kernel.Counters(); err == nil && d.cfg.FilterMode() != config.FilterOff {
		for _, p := range kernel {
			add("stream_filter", p.Port, sumFilters(p.Filters))
		}
	}
	if d.cfg.HasFabric() {
		proxy, said := d.neighbours.counters()
		add("neighbour_proxy", 0, proxy)
		add("neighbour_addresses", 0, said)
	}
	if d.stations != nil {
		add("learned", 0, d.stations.Counters())
	}
	for _, l := range []*loop{d.timing, d.control} {
		add(l.name+"_loop", 0, struct{ Dropped uint64 }{l.dropped.Load()})
	}
	return out
}

// checkNames are the doctor's words for the data plane's features.
var checkNames = map[string]string{
	dataplane.FeatureTimestamping: "stamps", dataplane.FeaturePHC: "phc", dataplane.FeatureQueues: "queues",
	dataplane.FeatureTaprio: "taprio", dataplane.FeatureCBS: "cbs", dataplane.FeatureLocked: "locked", dataplane.FeatureMACMerge: "mac-merge",
}

// Doctor implements api.Switch.
func (d *Daemon) Doctor(context.Context) (*api.Doctor, error) {
	var uts unix.Utsname
	if err := unix.Uname(&uts); err != nil {
		return nil, err
	}
	doc := &api.Doctor{Node: d.cfg.Name, Kernel: unix.ByteSliceToString(uts.Release[:])}
	for _, p := range d.cfg.Ports {
		dp := api.DoctorPort{Port: p.Port, Ifname: p.Ifname}
		if s, ok := d.ports.Stamping(p.Port); ok {
			dp.Checks = append(dp.Checks, api.Check{Name: "gptp-stamps", State: dataplane.FeatureOK.String(), Detail: s.String()})
		}
		doc.Ports = append(doc.Ports, dp)
	}
	for _, f := range d.kernel.Features() {
		name := checkNames[f.Name]
		if name == "" {
			name = f.Name
		}
		c := api.Check{Name: name, State: f.State.String(), Why: f.Why}
		if f.State == dataplane.FeatureOK {
			c.Detail, c.Why = f.Why, ""
		}
		if f.Port == tsn.NoPort {
			doc.System = append(doc.System, c)
			continue
		}
		for i := range doc.Ports {
			if doc.Ports[i].Port == f.Port {
				doc.Ports[i].Checks = append(doc.Ports[i].Checks, c)
			}
		}
	}
	return doc, nil
}

// Diff implements api.Switch: the steps that would make the kernel as desired.
func (d *Daemon) Diff(context.Context) (*api.Diff, error) {
	out := &api.Diff{Node: d.cfg.Name, Entries: []api.DiffEntry{}}
	want, _ := d.applier.state()
	if want == nil {
		return nil, api.Errorf(api.CodeWrongOrder, "nothing is wanted of the kernel yet: the switch has just started")
	}
	left, err := d.kernel.Diff(want.State)
	if err != nil {
		return nil, api.Errorf(api.CodeInternal, "compare with the kernel: %w", err)
	}
	for _, c := range left {
		kind, rest, _ := strings.Cut(c.Text, " ")
		out.Entries = append(out.Entries, api.DiffEntry{Kind: kind, Key: rest, Want: c.Text})
	}
	out.InSync = len(left) == 0
	return out, nil
}

// KernelText implements api.Switch: read from the kernel now.
func (d *Daemon) KernelText(context.Context) (*api.KernelText, error) {
	text, err := d.kernel.Text()
	if err != nil {
		return nil, api.Errorf(api.CodeInternal, "read the kernel: %w", err)
	}
	counters, err := d.kernel.Counters()
	if err != nil {
		return nil, api.Errorf(api.CodeInternal, "read the kernel's counters: %w", err)
	}
	sections := map[string][]string{}
	var order []string
	for line := range strings.Lines(text) {
		title, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		if !slices.Contains(order, title) {
			order = append(order, title)
		}
		sections[title] = append(sections[title], strings.TrimRight(line, "\n"))
	}
	out := &api.KernelText{Node: d.cfg.Name}
	for _, t := range order {
		out.Sections = append(out.Sections, api.TextSection{Title: t, Text: strings.Join(sections[t], "\n")})
	}
	var b strings.Builder
	for _, c := range counters {
		for class := range tsn.NumClasses {
			k := c.Class[class]
			fmt.Fprintf(&b, "%s class %d frames %d octets %d dropped %d\n", ifnameOf(d.cfg, c.Port), class, k.Frames, k.Octets, k.Dropped)
		}
		fmt.Fprintf(&b, "%s too long %d window drops %d overruns %d\n", ifnameOf(d.cfg, c.Port), c.Oversize, c.Gates.WindowDrops, c.Gates.Overruns)
	}
	out.Sections = append(out.Sections, api.TextSection{Title: "counters", Text: strings.TrimRight(b.String(), "\n")})
	return out, nil
}
