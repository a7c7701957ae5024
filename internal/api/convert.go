package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"

	"tsnswitch"
	pb "tsnswitch/internal/api/tsnswitchv1"
)

// Conversion between messages and plain types, in one place. The direction
// out of a message can fail: a decoder keeps every error with the field it is
// about, and the caller asks once, at the end.

type decoder struct{ errs []error }

// err returns what was wrong as CodeBadRequest, or nil.
func (d *decoder) err() error {
	if len(d.errs) == 0 {
		return nil
	}
	return Errorf(CodeBadRequest, "%w", errors.Join(d.errs...))
}

func (d *decoder) bad(field string, err error) {
	d.errs = append(d.errs, fmt.Errorf("%s: %w", field, err))
}

// mac parses an address; an empty text is the zero address.
func (d *decoder) mac(field, s string) tsn.MAC {
	if s == "" {
		return tsn.MAC{}
	}
	m, err := tsn.ParseMAC(s)
	if err != nil {
		d.bad(field, err)
	}
	return m
}

func (d *decoder) streamID(field, s string) tsn.StreamID {
	if s == "" {
		return tsn.StreamID{}
	}
	id, err := tsn.ParseStreamID(s)
	if err != nil {
		d.bad(field, err)
	}
	return id
}

func (d *decoder) uint(field string, v uint32, limit uint32) uint32 {
	if v > limit {
		d.bad(field, fmt.Errorf("%d is above %d", v, limit))
		return 0
	}
	return v
}

func (d *decoder) port(field string, v uint32) tsn.Port { return tsn.Port(d.uint(field, v, 4095)) }

func (d *decoder) vid(field string, v uint32) tsn.VID { return tsn.VID(d.uint(field, v, 4094)) }

func (d *decoder) ptp(p *pb.PTPTime) tsn.PTPTime {
	return tsn.PTPTime{NS: p.GetNs(), Domain: uint8(d.uint("domain", p.GetDomain(), 255))}
}

func (d *decoder) stream(p *pb.Stream) tsn.Stream {
	s := d.streamSpec(p)
	s.Talker, s.Listener = d.mac("talker", p.GetTalker()), d.mac("listener", p.GetListener())
	return s
}

// streamSpec is stream without the stations, which a request may name.
func (d *decoder) streamSpec(p *pb.Stream) tsn.Stream {
	return tsn.Stream{
		ID: d.streamID("id", p.GetId()), Name: p.GetName(),
		DestinationAddress: d.mac("destination", p.GetDestination()),
		VID:                d.vid("vlan", p.GetVlan()),
		PCP:                tsn.PCP(d.uint("pcp", p.GetPcp(), 7)),
		Interval:           p.GetIntervalNs(),
		MaxFrameSize:       uint16(d.uint("size", p.GetMaxFrameSize(), math.MaxUint16)),
		MaxIntervalFrames:  uint16(d.uint("frames", p.GetMaxIntervalFrames(), math.MaxUint16)),
		MaxLatency:         p.GetMaxLatencyNs(),
	}
}

func (d *decoder) hop(p *pb.Hop) PathHop {
	return PathHop{
		Hop:  tsn.Hop{System: d.mac("system", p.GetSystem()), Port: d.port("port", p.GetPort())},
		Node: p.GetNode(), Ifname: p.GetIfname(),
	}
}

func (d *decoder) reservation(p *pb.Reservation) tsn.Reservation {
	ports := mapSlice(p.GetPorts(), func(v uint32) tsn.Port { return d.port("ports", v) })
	return tsn.Reservation{Stream: d.stream(p.GetStream()), Ports: ports}
}

func (d *decoder) streamState(p *pb.StreamState) StreamState {
	return StreamState{
		Stream: d.stream(p.GetStream()), Owner: p.GetOwner(), State: p.GetState(), Reason: p.GetReason(),
		Failure: tsn.FailureCode(d.uint("failure_code", p.GetFailureCode(), 255)),
		Path:    mapSlice(p.GetPath(), d.hop), Latency: p.GetLatencyNs(),
	}
}

// gates returns nil for an absent list.
func (d *decoder) gates(p *pb.GateControlList) *tsn.GateControlList {
	if p == nil {
		return nil
	}
	return &tsn.GateControlList{
		BaseTime: d.ptp(p.BaseTime), CycleTime: p.CycleTimeNs, CycleTimeExtension: p.CycleTimeExtensionNs,
		Entries: mapSlice(p.Entries, func(e *pb.GateEntry) tsn.GateEntry {
			return tsn.GateEntry{Gates: tsn.GateMask(d.uint("gates", e.GetGates(), 255)), Interval: e.GetIntervalNs()}
		}),
	}
}

func (d *decoder) portGates(p *pb.PortGates) PortGates {
	g := PortGates{Port: d.port("port", p.GetPort()), Gates: d.gates(p.GetGates())}
	if len(p.GetArrivals()) > 0 {
		g.Arrivals = mapSlice(p.GetArrivals(), d.window)
	}
	return g
}

func (d *decoder) window(w *pb.Window) Window {
	return Window{Stream: d.streamID("stream_id", w.GetStreamId()), Start: w.GetStartNs(), End: w.GetEndNs(), FrameStart: w.GetFrameStartNs(), FrameEnd: w.GetFrameEndNs(), Period: w.GetPeriodNs()}
}

func windowToPB(w Window) *pb.Window {
	return &pb.Window{StreamId: idText(w.Stream), StartNs: w.Start, EndNs: w.End, FrameStartNs: w.FrameStart, FrameEndNs: w.FrameEnd, PeriodNs: w.Period}
}

func (d *decoder) portSchedule(p *pb.PortSchedule) PortSchedule {
	return PortSchedule{
		PathHop: d.hop(p.GetHop()), Admin: d.gates(p.GetAdmin()), Oper: d.gates(p.GetOper()),
		ConfigPending: p.GetConfigPending(), Reason: p.GetReason(),
		Windows: mapSlice(p.GetWindows(), d.window),
	}
}

func (d *decoder) schedule(p *pb.Schedule) Schedule {
	return Schedule{
		ID: p.GetId(), State: p.GetState(), Base: d.ptp(p.GetBaseTime()), CycleTime: p.GetCycleTimeNs(),
		Ports: mapSlice(p.GetPorts(), d.portSchedule), Trial: d.trial(p.GetTrial()),
		Warnings: warningsOf(d, p.GetWarnings()), Silent: p.GetSilent(),
		Streams: mapSlice(p.GetStreams(), func(s *pb.ScheduledStream) ScheduledStream {
			return ScheduledStream{
				ID: d.streamID("stream_id", s.GetStreamId()), Name: s.GetName(), Scheduled: s.GetScheduled(),
				Latency: s.GetLatencyNs(), MaxLatency: s.GetMaxLatencyNs(), Reason: s.GetReason(),
			}
		}),
	}
}

func (d *decoder) scheduleState(p *pb.ScheduleStateResponse) ScheduleState {
	return ScheduleState{
		StagedID: p.GetStagedId(), RunningID: p.GetRunningId(), State: p.GetState(),
		Base: d.ptp(p.GetBaseTime()), Ports: mapSlice(p.GetPorts(), d.portSchedule),
		Clock: d.clockState(p.GetClock()), Trial: d.trial(p.GetTrial()),
	}
}

func (d *decoder) clockState(p *pb.ClockState) ClockState {
	return ClockState{
		Domain: uint8(d.uint("domain", p.GetDomain(), 255)), GrandMaster: p.GetGrandMaster(), Now: p.GetNowNs(),
		OffsetBound: p.GetOffsetBoundNs(), Trouble: p.GetTrouble(),
	}
}

func (d *decoder) trial(p *pb.Trial) *Trial {
	if p == nil {
		return nil
	}
	return &Trial{
		ID: p.GetId(), Phase: p.GetPhase(), RevertAt: d.ptp(p.GetRevertAt()), RevertIn: p.GetRevertInNs(), Text: p.GetText(),
		Final: p.GetFinal(), Doubt: p.GetDoubt(), Systems: mapSlice(p.GetSystems(), func(s string) tsn.MAC { return d.mac("systems", s) }),
	}
}

// warningsOf keeps nil for none: a running schedule has no warnings at all.
func warningsOf(d *decoder, in []*pb.Warning) []Warning {
	if len(in) == 0 {
		return nil
	}
	return mapSlice(in, func(w *pb.Warning) Warning {
		return Warning{
			Stream: d.streamID("stream_id", w.GetStreamId()), Name: w.GetName(), Kind: w.GetKind(),
			Before: w.GetBefore(), After: w.GetAfter(), Text: w.GetText(),
		}
	})
}

func (d *decoder) stageRequest(p *pb.StageScheduleRequest) StageRequest {
	r := StageRequest{
		ID: p.GetId(), Systems: mapSlice(p.GetSystems(), func(s string) tsn.MAC { return d.mac("systems", s) }),
		StartBy: d.ptp(p.GetStartBy()), Base: d.ptp(p.GetBaseTime()), KeepBy: d.ptp(p.GetKeepBy()), RevertAt: d.ptp(p.GetRevertAt()),
		Ports: mapSlice(p.GetPorts(), d.portGates), OldID: p.GetOldId(), Old: mapSlice(p.GetOldPorts(), d.portGates),
	}
	if r.Base.NS <= 0 {
		d.bad("base_time", errEmpty)
	}
	return r
}

func (d *decoder) neighbour(p *pb.Neighbour) Neighbour {
	return Neighbour{
		Port: d.port("port", p.GetPort()), Ifname: p.GetIfname(), System: d.mac("system", p.GetSystem()),
		Name: p.GetName(), State: p.GetState(), RemotePort: d.port("remote_port", p.GetRemotePort()),
		Metric: p.GetMetric(), Hold: p.GetHoldNs(), Up: p.GetUpNs(), Mismatch: p.GetMismatch(), Restart: p.GetRestart(),
		Echo: p.GetEcho(), EchoFault: p.GetEchoFault(), EchoDetect: p.GetEchoDetectNs(), EchoLosses: p.GetEchoLosses(),
	}
}

func (d *decoder) path(p *pb.Path) Path {
	return Path{
		VLAN: d.vid("vlan", p.GetVlan()), ECT: p.GetEct(), From: p.GetFrom(), To: p.GetTo(),
		Cost: p.GetCost(), Hops: mapSlice(p.GetHops(), d.hop),
	}
}

func macText(m tsn.MAC) string {
	if m.IsZero() {
		return ""
	}
	return m.String()
}

func idText(id tsn.StreamID) string {
	if id == (tsn.StreamID{}) {
		return ""
	}
	return id.String()
}

func ptpToPB(p tsn.PTPTime) *pb.PTPTime { return &pb.PTPTime{Ns: p.NS, Domain: uint32(p.Domain)} }

func streamToPB(s tsn.Stream) *pb.Stream {
	return &pb.Stream{
		Id: idText(s.ID), Name: s.Name, Talker: macText(s.Talker), Listener: macText(s.Listener),
		Destination: macText(s.DestinationAddress), Vlan: uint32(s.VID), Pcp: uint32(s.PCP),
		IntervalNs: s.Interval, MaxFrameSize: uint32(s.MaxFrameSize),
		MaxIntervalFrames: uint32(s.MaxIntervalFrames), MaxLatencyNs: s.MaxLatency,
	}
}

func hopToPB(h PathHop) *pb.Hop {
	return &pb.Hop{System: macText(h.System), Port: uint32(h.Port), Node: h.Node, Ifname: h.Ifname}
}

func reservationToPB(r tsn.Reservation) *pb.Reservation {
	return &pb.Reservation{
		Stream: streamToPB(r.Stream),
		Ports:  mapSlice(r.Ports, func(p tsn.Port) uint32 { return uint32(p) }),
	}
}

func streamStateToPB(s StreamState) *pb.StreamState {
	return &pb.StreamState{
		Stream: streamToPB(s.Stream), Owner: s.Owner, State: s.State, Reason: s.Reason,
		FailureCode: uint32(s.Failure), Path: mapSlice(s.Path, hopToPB), LatencyNs: s.Latency,
	}
}

func gatesToPB(l *tsn.GateControlList) *pb.GateControlList {
	if l == nil {
		return nil
	}
	return &pb.GateControlList{
		BaseTime: ptpToPB(l.BaseTime), CycleTimeNs: l.CycleTime, CycleTimeExtensionNs: l.CycleTimeExtension,
		Entries: mapSlice(l.Entries, func(e tsn.GateEntry) *pb.GateEntry {
			return &pb.GateEntry{Gates: uint32(e.Gates), IntervalNs: e.Interval}
		}),
	}
}

func portGatesToPB(p PortGates) *pb.PortGates {
	return &pb.PortGates{Port: uint32(p.Port), Gates: gatesToPB(p.Gates), Arrivals: mapSlice(p.Arrivals, windowToPB)}
}

func portScheduleToPB(p PortSchedule) *pb.PortSchedule {
	return &pb.PortSchedule{
		Hop: hopToPB(p.PathHop), Admin: gatesToPB(p.Admin), Oper: gatesToPB(p.Oper),
		ConfigPending: p.ConfigPending, Reason: p.Reason,
		Windows: mapSlice(p.Windows, windowToPB),
	}
}

func scheduleToPB(s Schedule) *pb.Schedule {
	return &pb.Schedule{
		Id: s.ID, State: s.State, BaseTime: ptpToPB(s.Base), CycleTimeNs: s.CycleTime,
		Ports: mapSlice(s.Ports, portScheduleToPB), Trial: trialToPB(s.Trial), Silent: s.Silent,
		Warnings: mapSlice(s.Warnings, func(w Warning) *pb.Warning {
			return &pb.Warning{StreamId: idText(w.Stream), Name: w.Name, Kind: w.Kind, Before: w.Before, After: w.After, Text: w.Text}
		}),
		Streams: mapSlice(s.Streams, func(t ScheduledStream) *pb.ScheduledStream {
			return &pb.ScheduledStream{
				StreamId: idText(t.ID), Name: t.Name, Scheduled: t.Scheduled,
				LatencyNs: t.Latency, MaxLatencyNs: t.MaxLatency, Reason: t.Reason,
			}
		}),
	}
}

func scheduleStateToPB(s ScheduleState) *pb.ScheduleStateResponse {
	return &pb.ScheduleStateResponse{
		StagedId: s.StagedID, RunningId: s.RunningID, State: s.State,
		BaseTime: ptpToPB(s.Base), Ports: mapSlice(s.Ports, portScheduleToPB), Trial: trialToPB(s.Trial),
		Clock: &pb.ClockState{
			Domain: uint32(s.Clock.Domain), GrandMaster: s.Clock.GrandMaster, NowNs: s.Clock.Now,
			OffsetBoundNs: s.Clock.OffsetBound, Trouble: s.Clock.Trouble,
		},
	}
}

func trialToPB(t *Trial) *pb.Trial {
	if t == nil {
		return nil
	}
	return &pb.Trial{
		Id: t.ID, Phase: t.Phase, RevertAt: ptpToPB(t.RevertAt), RevertInNs: t.RevertIn, Text: t.Text,
		Final: t.Final, Doubt: t.Doubt, Systems: mapSlice(t.Systems, macText),
	}
}

func stageRequestToPB(r StageRequest) *pb.StageScheduleRequest {
	return &pb.StageScheduleRequest{
		Id: r.ID, Systems: mapSlice(r.Systems, macText), StartBy: ptpToPB(r.StartBy), BaseTime: ptpToPB(r.Base), KeepBy: ptpToPB(r.KeepBy),
		RevertAt: ptpToPB(r.RevertAt), Ports: mapSlice(r.Ports, portGatesToPB), OldId: r.OldID, OldPorts: mapSlice(r.Old, portGatesToPB),
	}
}

func neighbourToPB(n Neighbour) *pb.Neighbour {
	return &pb.Neighbour{
		Port: uint32(n.Port), Ifname: n.Ifname, System: macText(n.System), Name: n.Name, State: n.State,
		RemotePort: uint32(n.RemotePort), Metric: n.Metric, HoldNs: n.Hold, UpNs: n.Up,
		Mismatch: n.Mismatch, Restart: n.Restart, Echo: n.Echo, EchoFault: n.EchoFault, EchoDetectNs: n.EchoDetect, EchoLosses: n.EchoLosses,
	}
}

func pathToPB(p Path) *pb.Path {
	return &pb.Path{
		Vlan: uint32(p.VLAN), Ect: p.ECT, From: p.From, To: p.To, Cost: p.Cost, Hops: mapSlice(p.Hops, hopToPB),
	}
}

func progressToPB(p Progress) *pb.Progress {
	return &pb.Progress{Node: p.Node, Step: p.Step, Text: p.Text, ElapsedNs: p.Elapsed}
}

func progressFromPB(p *pb.Progress) Progress {
	return Progress{Node: p.GetNode(), Step: p.GetStep(), Text: p.GetText(), Elapsed: p.GetElapsedNs()}
}

func eventToPB(e Event) *pb.Event {
	return &pb.Event{Seq: e.Seq, TimeUnixNs: e.Time, Node: e.Node, Kind: e.Kind, Port: uint32(e.Port), Detail: e.Detail, Domain: uint32(e.Domain)}
}

func (d *decoder) event(p *pb.Event) Event {
	return Event{
		Seq: p.GetSeq(), Time: p.GetTimeUnixNs(), Node: p.GetNode(), Kind: p.GetKind(),
		Port: d.port("port", p.GetPort()), Detail: p.GetDetail(), Domain: uint8(d.uint("domain", p.GetDomain(), 255)),
	}
}

// requestToPB puts a station's name or address where the message has one text.
func requestToPB(r StreamRequest, node string) *pb.AddStreamRequest {
	spec := streamToPB(r.Spec)
	if r.Talker != "" {
		spec.Talker = r.Talker
	}
	if r.Listener != "" {
		spec.Listener = r.Listener
	}
	return &pb.AddStreamRequest{Node: node, Spec: spec, DryRun: r.DryRun}
}

// request fills Spec.Talker and Spec.Listener when the texts are addresses.
func (d *decoder) request(p *pb.AddStreamRequest) StreamRequest {
	r := StreamRequest{
		Talker: p.GetSpec().GetTalker(), Listener: p.GetSpec().GetListener(),
		Spec: d.streamSpec(p.GetSpec()), DryRun: p.GetDryRun(),
	}
	if m, err := tsn.ParseMAC(r.Talker); err == nil {
		r.Spec.Talker = m
	}
	if m, err := tsn.ParseMAC(r.Listener); err == nil {
		r.Spec.Listener = m
	}
	return r
}

func viewToPB(v any) (*pb.View, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encode %T: %w", v, err)
	}
	return &pb.View{Json: string(b)}, nil
}

func viewFromPB[T any](p *pb.View) (T, error) {
	var v T
	if err := json.Unmarshal([]byte(p.GetJson()), &v); err != nil {
		return v, Errorf(CodeInternal, "the daemon's %T is not understood (is tsnctl older than tsnswitchd?): %w", v, err)
	}
	return v, nil
}

// mapSlice returns an empty slice for nil: JSON then prints [].
func mapSlice[A, B any](in []A, f func(A) B) []B {
	out := make([]B, len(in))
	for i, a := range in {
		out[i] = f(a)
	}
	return out
}

var errEmpty = errors.New("is missing")

func isCanceled(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}
