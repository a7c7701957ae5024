package daemon

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"

	"tsnswitch"
	"tsnswitch/internal/api"
	"tsnswitch/internal/dataplane"
	"tsnswitch/srp"
	"tsnswitch/srp/mrp"
)

// srClasses are the SR classes here, MSRP's or those that it would have.
func (d *Daemon) srClasses() []srp.SRClass {
	if c := d.machine.SRP.MSRPClasses(); c != nil {
		return c
	}
	return srp.DefaultSRClasses()
}

// srClassName is a class id in words (802.1Q 35.2.2.9.2).
func srClassName(id uint8) string {
	if id >= 1 && id <= 6 {
		return string(rune('A' + 6 - id))
	}
	return fmt.Sprintf("class %d", id)
}

// classOf names the class of a stream's priority.
func classOf(classes []srp.SRClass, p tsn.PCP) string {
	if i := slices.IndexFunc(classes, func(c srp.SRClass) bool { return c.Priority == p }); i >= 0 {
		return srClassName(classes[i].ID)
	}
	if tsn.DefaultClassMap[p&7] == tsn.ClassScheduled {
		return "scheduled"
	}
	return "none"
}

// trafficClassName names a traffic class by the SR classes in it.
func trafficClassName(classes []srp.SRClass, c tsn.TrafficClass) string {
	var names []string
	for _, s := range classes {
		if tsn.DefaultClassMap[s.Priority&7] == c {
			names = append(names, srClassName(s.ID))
		}
	}
	if c == tsn.ClassScheduled {
		names = append(names, "scheduled")
	}
	return strings.Join(names, "+")
}

// SRP implements api.Switch.
func (d *Daemon) SRP(ctx context.Context) (*api.SRP, error) {
	var ports []srp.PortState
	var msrp []srp.MSRPPort
	var counters srp.MSRPCounters
	var classes []srp.SRClass
	out := &api.SRP{Node: d.cfg.Name, System: d.cfg.SystemID, Applications: []string{}, Classes: []api.SRPClass{}, Ports: []api.SRPPort{}}
	if err := d.control.call(ctx, func() {
		ports, msrp, counters, classes = d.machine.SRP.Ports(), d.machine.SRP.MSRPPorts(), d.machine.SRP.MSRPCounters(), d.srClasses()
		out.Applications = d.applications()
	}); err != nil {
		return nil, err
	}
	for _, c := range classes {
		out.Classes = append(out.Classes, api.SRPClass{ID: c.ID, Name: srClassName(c.ID), Priority: c.Priority, VID: c.VID, Interval: c.Interval})
	}
	for _, p := range ports {
		v := d.srpPort(p, classes)
		if i := slices.IndexFunc(msrp, func(m srp.MSRPPort) bool { return m.Port == p.Port }); i >= 0 {
			v.takePart(msrp[i], classes)
		}
		out.Ports = append(out.Ports, v.SRPPort)
	}
	out.Reserved, out.Released, out.Preempted = counters.Reserved, counters.Released, counters.Preempted
	for code, n := range counters.Failed {
		if n > 0 {
			c := tsn.FailureCode(code)
			out.Failed = append(out.Failed, api.SRPFailure{Code: c, Text: c.String(), Count: n})
		}
	}
	out.Degraded = srpDegraded(d.kernel.Features(), msrp != nil)
	return out, nil
}

// applications are the MRP applications that run; it is called in the control loop.
func (d *Daemon) applications() []string {
	out := []string{}
	for _, a := range []struct {
		name string
		runs bool
	}{{"msrp", d.machine.SRP.MSRPClasses() != nil}, {"mvrp", d.machine.MVRP != nil}, {"mmrp", d.machine.MMRP != nil}} {
		if a.runs {
			out = append(out, a.name)
		}
	}
	return out
}

// srpPort is a port's bandwidth.
func (d *Daemon) srpPort(p srp.PortState, classes []srp.SRClass) srpPortView {
	v := srpPortView{api.SRPPort{
		Port: p.Port, Ifname: ifnameOf(d.cfg, p.Port), Role: d.portRole(p.Port), Up: p.Up, Rate: p.Rate,
		Reserved: p.Reserved, Limit: p.Limit, Free: p.Available,
	}}
	for _, c := range slices.Backward(p.Classes) {
		v.Classes = append(v.Classes, api.SRPPortClass{
			Class: trafficClassName(classes, tsn.TrafficClass(c.Class)), Limit: c.Limit, Used: c.Reserved, Free: c.Available,
		})
	}
	return v
}

func (d *Daemon) portRole(n tsn.Port) string {
	for _, p := range d.cfg.Ports {
		if p.Port == n {
			return p.Role
		}
	}
	return ""
}

// atEdge reports whether no other bridge of the fabric is behind a port.
func (d *Daemon) atEdge(n tsn.Port) bool { return d.portRole(n) != "fabric" }

type srpPortView struct{ api.SRPPort }

// takePart adds what MSRP knows of a port.
func (v *srpPortView) takePart(m srp.MSRPPort, classes []srp.SRClass) {
	v.Version = &m.Version
	for _, d := range m.Domains {
		v.Neighbour = append(v.Neighbour, api.SRPDomain{Class: srClassName(d.ClassID), Priority: d.Priority, VID: d.VID})
	}
	for i, c := range classes {
		name := srClassName(c.ID)
		k := slices.IndexFunc(v.Classes, func(p api.SRPPortClass) bool { return slices.Contains(strings.Split(p.Class, "+"), name) })
		if k < 0 {
			continue
		}
		p := &v.Classes[k]
		if i < len(m.Latency) {
			p.Latency = max(p.Latency, m.Latency[i])
		}
		if m.Boundary[i] && !p.Boundary || p.Why == "" {
			p.Boundary, p.Why = m.Boundary[i], m.BoundaryWhy[i]
			if !p.Boundary {
				p.Why = insideWhy(c, m.Domains)
			}
		}
	}
	for _, f := range flatten("mrp", m.Counters) {
		if f.value != 0 {
			v.Counters = append(v.Counters, api.NamedCounter{Name: mrpCounterName(f.name), Port: m.Port, Value: f.value})
		}
	}
}

// mrpCounterName gives the counters of events and LeaveAlls their names.
func mrpCounterName(flat string) string {
	for i := range 6 {
		if flat == fmt.Sprintf("mrp_events_%d", i) {
			return "mrp_received_" + strings.ToLower(mrp.Event(i).String())
		}
	}
	switch flat {
	case "mrp_leave_alls_0":
		return "mrp_leave_alls_sent"
	case "mrp_leave_alls_1":
		return "mrp_leave_alls_received"
	}
	return flat
}

// insideWhy says why a port is inside a class's domain (802.1Q 6.6.4, 35.1.4).
func insideWhy(c srp.SRClass, heard []mrp.Domain) string {
	if len(heard) == 0 {
		return "nobody there has declared a domain, so frames from there have lost their priority after 3 s"
	}
	return fmt.Sprintf("the neighbour has class %s at priority %d too", srClassName(c.ID), c.Priority)
}

// srpBrief is what runs, and MSRP's streams, on the status page.
func (d *Daemon) srpBrief(ctx context.Context, applications []string) (*api.SRPBrief, error) {
	streams, err := d.streamsHere(ctx)
	if err != nil {
		return nil, err
	}
	out := &api.SRPBrief{Applications: applications}
	for _, s := range api.MergeStreams(streams) {
		switch {
		case s.Source != api.SourceMSRP:
		case s.State == api.StreamReserved:
			out.Reserved++
		case s.State == api.StreamFailed || s.State == api.StreamPartly:
			out.Failed++
		default:
			out.Waiting++
		}
	}
	return out, nil
}

// srpNeeds is what a reservation is worth less without.
var srpNeeds = []struct{ feature, without string }{
	{dataplane.FeatureCBS, "streams of SR classes are admitted but not shaped, so the bound of their class does not hold"},
	{dataplane.FeatureClassifier, "frames of SR classes are not put into the queue of their class"},
	{dataplane.FeatureMDB, "streams go to every port of their VLAN, not only to those with a listener"},
	{dataplane.FeatureVLANFiltering, "VLANs are not kept apart, so streams go to ports outside of theirs"},
	{dataplane.FeatureRegeneration, "frames from outside the domain keep the priority of SR classes"},
	{dataplane.FeatureStreamFilter, "talkers are not held to what they have reserved"},
}

// srpDegraded says which promises of a reservation this machine cannot keep.
func srpDegraded(features []dataplane.Feature, msrp bool) (out []string) {
	if !msrp {
		return nil
	}
	for _, n := range srpNeeds {
		where := map[string][]string{} // ports, by why
		for _, f := range features {
			if f.Name != n.feature || f.State != dataplane.FeatureMissing {
				continue
			}
			text := fmt.Sprintf("%s (%s is missing: %s)", n.without, f.Name, f.Why)
			where[text] = append(where[text], strconv.Itoa(int(f.Port)))
		}
		for _, text := range slices.Sorted(maps.Keys(where)) {
			switch ports := where[text]; {
			case len(ports) > 1:
				text = "ports " + strings.Join(ports, ", ") + ": " + text
			case ports[0] != "0": // the whole switch
				text = "port " + ports[0] + ": " + text
			}
			out = append(out, text)
		}
	}
	return out
}

// Declarations implements api.Switch.
func (d *Daemon) Declarations(ctx context.Context, q api.DeclarationQuery) ([]api.Declaration, error) {
	if q.Port != tsn.NoPort && d.portRole(q.Port) == "" {
		return nil, api.Errorf(api.CodeNotFound, "%s has no port %d", d.cfg.Name, q.Port)
	}
	out := []api.Declaration{}
	err := d.control.call(ctx, func() {
		for _, p := range d.cfg.Ports {
			for _, a := range d.machine.SRP.MSRPAttributes(p.Port) {
				out = append(out, declaration(p.Port, p.Ifname, a))
			}
		}
		if m := d.machine.MVRP; m != nil {
			for _, r := range m.Registrations() {
				out = append(out, d.registrationAttribute("mvrp", r))
			}
		}
		if m := d.machine.MMRP; m != nil {
			for _, r := range m.Registrations() {
				out = append(out, d.registrationAttribute("mmrp", r))
			}
		}
	})
	out = slices.DeleteFunc(out, func(a api.Declaration) bool {
		return q.Port != tsn.NoPort && q.Port != a.Port || q.Application != "" && q.Application != a.Application
	})
	slices.SortStableFunc(out, func(a, b api.Declaration) int { return cmp.Compare(a.Port, b.Port) })
	return out, err
}

// registrationAttribute is an attribute of MVRP or MMRP.
func (d *Daemon) registrationAttribute(application string, r srp.Registration) api.Declaration {
	v := d.registration(application, r)
	a := api.Declaration{
		Port: v.Port, Ifname: v.Ifname, Application: application, Attribute: "vid", Value: strconv.Itoa(int(v.VLAN)),
		Applicant: v.Applicant, Registrar: v.Registrar, Declared: v.Declared, Registered: v.Registered,
	}
	if application == "mmrp" {
		a.Attribute, a.Value = "group", fmt.Sprintf("%s in vlan %d", v.Group, v.VLAN)
	}
	return a
}

// declaration is an attribute of MSRP.
func declaration(port tsn.Port, ifname string, a mrp.Attribute) api.Declaration {
	v := api.Declaration{
		Port: port, Ifname: ifname, Application: "msrp", Applicant: a.Applicant, Registrar: a.Registrar,
		Declared: a.Declared, Registered: a.Registered,
	}
	v.Attribute, v.Value = attributeText(a.Value)
	if a.Value.Type == mrp.TypeListener {
		if a.Declared {
			v.Says = mrp.ListenerText(a.Declare)
		}
		if a.Registered {
			v.Heard = mrp.ListenerText(a.Param)
		}
	}
	return v
}

// attributeText is an attribute of MSRP in words.
func attributeText(v mrp.Value) (kind, text string) {
	kind, text = fmt.Sprintf("type %d", v.Type), fmt.Sprintf("%x", v.Octet)
	switch v.Type {
	case mrp.TypeTalkerAdvertise, mrp.TypeTalkerFailed:
		t, err := mrp.ParseTalker(v)
		if err != nil {
			return kind, text
		}
		text = fmt.Sprintf("%s to %s vlan %d pcp %d rank %d, %d x %d, %d ns", t.StreamID, t.DestinationAddress, t.VID,
			t.DataFramePriority, t.Rank, t.MaxIntervalFrames, t.MaxFrameSize, t.AccumulatedLatency)
		if t.Failed {
			return "talker failed", fmt.Sprintf("%s; code %d at %s: %s", text, t.FailureCode, t.BridgeID, t.FailureCode)
		}
		return "talker advertise", text
	case mrp.TypeListener:
		if id, err := mrp.ParseListener(v); err == nil {
			return "listener", id.String()
		}
	case mrp.TypeTalkerEnhanced:
		if t, err := mrp.ParseTalkerEnhanced(v); err == nil {
			return "talker enhanced", enhancedText(t)
		}
	case mrp.TypeListenerEnhanced:
		if l, err := mrp.ParseListenerEnhanced(v); err == nil {
			return "listener enhanced", fmt.Sprintf("%s status %d, at most %d ns", l.StreamID, l.Status.Listener, l.Requirements.MaxLatency)
		}
	case mrp.TypeDomain:
		if x, err := mrp.ParseDomain(v); err == nil {
			return "domain", fmt.Sprintf("class %s priority %d vlan %d", srClassName(x.ClassID), x.Priority, x.VID)
		}
	}
	return kind, text
}

// enhancedText is a Talker Enhanced (802.1Qcc 35.2.2.10).
func enhancedText(t mrp.TalkerEnhanced) string {
	text := fmt.Sprintf("%s to %s vlan %d pcp %d rank %d, %d x %d every %d ns, at most %d ns; %d ns", t.StreamID, t.DestinationAddress, t.VID,
		t.Priority, t.Rank, t.TSpec.MaxIntervalFrames, t.TSpec.MaxFrameSize, t.TSpec.Interval(), t.Requirements.MaxLatency, t.Status.AccumulatedLatency)
	if t.Status.FailureCode != tsn.FailureNone {
		text += fmt.Sprintf("; code %d at %s: %s", t.Status.FailureCode, t.Status.FailedAt, t.Status.FailureCode)
	}
	return text
}

// FindStreams implements api.Switch: what this bridge knows and, unless another
// daemon asks or only that is wanted, what the others of the fabric know.
func (d *Daemon) FindStreams(ctx context.Context, q api.StreamQuery) ([]api.StreamView, error) {
	if gw, err := d.gateway(ctx); err != nil || gw != nil {
		if err != nil {
			return nil, err
		}
		q.Fabric = true
		return gw.FindStreams(ctx, q)
	}
	fabric := !q.Here && (q.Fabric || !fromPeer(ctx))
	all, err := d.streamsHere(ctx)
	if err != nil {
		return nil, err
	}
	if fabric {
		all = append(all, d.streamsElsewhere(ctx)...)
	}
	out := api.MergeStreams(all)
	if fabric {
		d.markViews(ctx, out)
	}
	if q.Stream == "" {
		return out, nil
	}
	out = slices.DeleteFunc(out, func(v api.StreamView) bool { return v.Stream.ID.String() != q.Stream && v.Stream.Name != q.Stream })
	if len(out) == 0 {
		return nil, api.Errorf(api.CodeNotFound, "there is no stream %q (see: tsnctl stream list)", q.Stream)
	}
	return out, nil
}

// streamsElsewhere asks the other bridges, all at once; who does not answer is
// left out.
func (d *Daemon) streamsElsewhere(ctx context.Context) []api.StreamView {
	members, err := d.fabric.members(ctx)
	if err != nil {
		return nil
	}
	var asked sync.WaitGroup
	answers := make([][]api.StreamView, len(members))
	for i, m := range members {
		if m.station || !m.reachable || m.system == d.cfg.SystemID {
			continue
		}
		sw, err := d.fabric.client(m)
		if err != nil {
			continue
		}
		asked.Go(func() {
			v, err := timed(ctx, func(ctx context.Context) ([]api.StreamView, error) {
				return sw.FindStreams(ctx, api.StreamQuery{Here: true})
			})
			if err == nil {
				answers[i] = v
			}
		})
	}
	asked.Wait()
	return slices.Concat(answers...)
}

// markViews says which managed streams have windows that run.
func (d *Daemon) markViews(ctx context.Context, views []api.StreamView) {
	var managed []api.StreamState
	var at []int
	for i, v := range views {
		if v.Source == api.SourceManaged {
			managed, at = append(managed, v.StreamState), append(at, i)
		}
	}
	for k, s := range d.markScheduled(ctx, managed) {
		v := &views[at[k]]
		if v.StreamState = s; s.State == api.StreamScheduled {
			v.Guarantee = guaranteeWindows
			for l := range v.Listeners {
				v.Listeners[l].Text, v.Listeners[l].Latency = s.State, s.Latency
			}
		}
	}
}

// What keeps a stream's promise.
const (
	guaranteeWindows = "scheduled windows"
	guaranteeClass   = "bound of its class: admitted bandwidth, shaped by cbs"
	guaranteeNoCBS   = "none: its bandwidth is admitted, but a port has no cbs to shape it"
	guaranteeWaits   = "none yet: admitted, windows come with tsnctl schedule apply"
)

func (d *Daemon) guarantee(class string) string {
	switch {
	case class == "scheduled":
		return guaranteeWaits
	case slices.ContainsFunc(d.kernel.Features(), func(f dataplane.Feature) bool {
		return f.Name == dataplane.FeatureCBS && f.State == dataplane.FeatureMissing
	}):
		return guaranteeNoCBS
	}
	return guaranteeClass
}

// streamsHere are the streams that this bridge knows: those it keeps, those it
// holds for other keepers, and MSRP's.
func (d *Daemon) streamsHere(ctx context.Context) ([]api.StreamView, error) {
	var held []srp.StreamState
	var msrp []srp.MSRPStream
	v := streamViewer{Daemon: d, behind: map[tsn.Port]string{}}
	if err := d.control.call(ctx, func() {
		held, msrp, v.classes = d.machine.SRP.Streams(), d.machine.SRP.MSRPStreams(), d.srClasses()
		if i := d.machine.SPB; i != nil {
			v.names = i.HostNames()
			for _, n := range i.Neighbours() {
				if n.State == "Up" {
					v.behind[n.Port] = nameOr(n.HostName, n.SystemID)
				}
			}
		}
	}); err != nil {
		return nil, err
	}
	for _, p := range d.cfg.Ports {
		for _, s := range p.Stations {
			v.behind[p.Port] = nameOr(s.Name, s.MAC)
		}
	}
	out := []api.StreamView{}
	for _, s := range d.ownStreams(ctx) {
		class := classOf(v.classes, s.Stream.PCP)
		out = append(out, api.StreamView{StreamState: s, Source: api.SourceManaged, Class: class, Rank: 1, Guarantee: d.guarantee(class)})
	}
	for _, s := range held {
		if s.Owner != srp.MSRPOwner {
			out = append(out, v.held(s))
		}
	}
	for _, s := range msrp {
		out = append(out, v.msrp(s))
	}
	for _, m := range d.view.Load().demands {
		out = append(out, api.StreamView{
			StreamState: api.StreamState{Stream: m.Stream, Owner: m.Keeper, Reason: m.Problem}, Source: api.SourceMSRP, Class: m.Class, Rank: m.Rank,
		})
	}
	return out, nil
}

// streamViewer shows streams of one bridge.
type streamViewer struct {
	*Daemon
	classes []srp.SRClass
	names   map[tsn.MAC]string  // of bridges
	behind  map[tsn.Port]string // who is next
}

func (v *streamViewer) port(n tsn.Port) api.StreamPort {
	return api.StreamPort{Port: n, Ifname: ifnameOf(v.cfg, n), Edge: v.atEdge(n), Neighbour: v.behind[n]}
}

// held is a managed stream as one bridge on its path has it.
func (v *streamViewer) held(s srp.StreamState) api.StreamView {
	at := api.StreamAt{Node: v.cfg.Name, System: v.cfg.SystemID}
	for _, n := range s.Ports {
		p := v.port(n)
		p.Reserved = true
		at.Out = append(at.Out, p)
	}
	class := classOf(v.classes, s.Stream.PCP)
	return api.StreamView{
		StreamState: api.StreamState{Stream: s.Stream, Owner: s.Owner, State: api.StreamReserved},
		Source:      api.SourceManaged, Class: class, Rank: 1, Guarantee: v.guarantee(class), Bridges: []api.StreamAt{at},
	}
}

// msrp is a stream of MSRP as this bridge has it.
func (v *streamViewer) msrp(s srp.MSRPStream) api.StreamView {
	at := api.StreamAt{Node: v.cfg.Name, System: v.cfg.SystemID}
	out := api.StreamView{Source: api.SourceMSRP, Class: "none", Rank: 1, StreamState: v.msrpState(s)}
	if s.TalkerPort != tsn.NoPort {
		in := v.talker(s.TalkerPort, s.Talker)
		in.Proxied = s.TalkerProxied
		at.In, out.Rank, out.Class = &in, s.Talker.Rank, classOf(v.classes, s.Talker.DataFramePriority)
		out.Guarantee = v.guarantee(out.Class)
	}
	if s.Answer != mrp.ListenerIgnore {
		at.Answer = mrp.ListenerText(s.Answer)
	}
	for _, o := range s.Ports {
		p := v.port(o.Port)
		if o.TalkerDeclared {
			p = v.talker(o.Port, o.Declared)
		}
		if p.Reserved, p.Proxied = o.Reserved, o.ListenerProxied; o.Listener != mrp.ListenerIgnore {
			p.Listener = mrp.ListenerText(o.Listener)
		} else if o.ListenerProxied {
			p.Listener = proxiedText(o)
		}
		at.Out = append(at.Out, p)
	}
	out.Bridges = []api.StreamAt{at}
	return out
}

// proxiedText is what a proxied listener would say (802.1Q 35.2.4.4.3).
func proxiedText(o srp.MSRPStreamPort) string {
	if !o.TalkerDeclared || o.Declared.Failed {
		return mrp.ListenerText(mrp.ListenerAskingFailed)
	}
	return mrp.ListenerText(mrp.ListenerReady)
}

// msrpState is what a talker asks for.
func (v *streamViewer) msrpState(s srp.MSRPStream) api.StreamState {
	t := s.Talker
	out := api.StreamState{Owner: api.SourceMSRP, Stream: tsn.Stream{
		ID: s.ID, Talker: s.ID.Source(), DestinationAddress: t.DestinationAddress, VID: t.VID, PCP: t.DataFramePriority,
		MaxFrameSize: t.MaxFrameSize, MaxIntervalFrames: t.MaxIntervalFrames, Interval: s.Interval, MaxLatency: int64(s.MaxLatency),
	}}
	return out
}

// talker is a talker's declaration at a port.
func (v *streamViewer) talker(n tsn.Port, t mrp.Talker) api.StreamPort {
	p := v.port(n)
	p.Talker, p.Latency = api.TalkerAdvertise, int64(t.AccumulatedLatency)
	if t.Failed {
		p.Talker, p.Failure, p.Text = api.TalkerFailed, t.FailureCode, t.FailureCode.String()
		p.FailureAt = v.bridgeName(t.BridgeID)
	}
	return p
}

// bridgeName is a bridge of the fabric by name, any other by its id.
func (v *streamViewer) bridgeName(b tsn.BridgeID) string {
	switch name := v.names[b.System()]; {
	case name != "":
		return name
	case b.System() == v.cfg.SystemID:
		return v.cfg.Name
	}
	return b.String()
}
