package gptp

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	tsn "tsnswitch"
	"tsnswitch/gptp/ptpmsg"
)

// Exchanges of a node with ptp4l, captured on the wire, replay through the
// machine. The peer's frames come when they came, with the stamps of the
// capture; what the machine sends gets the egress stamp of the frame that the
// captured node sent in its place, and answers to that one are readdressed.
//
//	testdata/NAME.1.pcap, NAME.2.pcap ... (one per port) ──> machine ──> testdata/NAME.trace
//
// internal/gptptest makes the captures: its flag -captures.

// capturedMAC is the node in the captures.
var capturedMAC = tsn.MAC{2, 0, 0, 0, 0, 1}

// pcapFrame is a frame of a capture.
type pcapFrame struct {
	port  tsn.Port
	ns    int64
	own   bool
	frame []byte
	msg   ptpmsg.Message
	req   *pcapFrame // own Pdelay_Req that this answers
}

// readPcap reads a capture in little endian with stamps in ns.
func readPcap(t *testing.T, path string, port tsn.Port) (frames []*pcapFrame) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	le := binary.LittleEndian
	if len(b) < 24 || le.Uint32(b) != 0xa1b23c4d {
		t.Fatalf("%s is no capture with nanoseconds", path)
	}
	for b = b[24:]; len(b) >= 16; {
		n := int(le.Uint32(b[8:]))
		f := &pcapFrame{port: port, ns: int64(le.Uint32(b))*second + int64(le.Uint32(b[4:])), frame: b[16 : 16+n]}
		_, payload, err := ptpmsg.ParseFrame(f.frame)
		if err == nil {
			f.msg, err = new(ptpmsg.Decoder).Decode(payload)
		}
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		f.own = bytes.Equal(f.frame[6:12], capturedMAC[:])
		f.req = requestOf(f.msg, frames)
		frames = append(frames, f)
		b = b[16+n:]
	}
	return frames
}

// requestOf is the Pdelay_Req of the captured node that m answers, or nil.
func requestOf(m ptpmsg.Message, before []*pcapFrame) *pcapFrame {
	var to ptpmsg.PortIdentity
	switch m := m.(type) {
	case *ptpmsg.PdelayResp:
		to = m.Requesting
	case *ptpmsg.PdelayRespFollowUp:
		to = m.Requesting
	}
	for _, f := range slices.Backward(before) {
		if h := f.msg.Head(); f.own && f.msg.Type() == ptpmsg.TypePdelayReq && h.Source == to && h.SequenceID == m.Head().SequenceID {
			return f
		}
	}
	return nil
}

// replay is a machine in the place of the captured node.
type replay struct {
	sys    *System
	now    int64
	frames []*pcapFrame // ascending time
	next   int          // of frames
	due    []replayEvent
	stood  map[*pcapFrame]uint16       // own Pdelay_Req -> sequenceId of the one in its place
	early  map[*pcapFrame][]*pcapFrame // answers to it, before the machine has sent its own
	trace  strings.Builder
}

type replayEvent struct {
	at int64
	ev tsn.Event
}

// run replays everything, from the time the captured node was started.
func (r *replay) run() {
	first := slices.IndexFunc(r.frames, func(f *pcapFrame) bool { return f.own })
	r.frames = r.frames[first:]
	r.now = r.frames[0].ns
	for _, p := range r.sys.cfg.Ports {
		r.step(tsn.LinkChanged{Port: p.Port, Up: true, Rate: 10 * tsn.Gbps})
	}
	for r.next < len(r.frames) {
		at, deadline := r.frames[r.next].ns, int64(r.sys.Deadline())
		switch {
		case len(r.due) > 0 && r.due[0].at <= min(at, deadline):
			e := r.due[0]
			r.due = r.due[1:]
			r.now = max(r.now, e.at)
			r.step(e.ev)
		case deadline <= at:
			r.now = max(r.now, deadline)
			r.step(tsn.Timeout{})
		default:
			r.now = max(r.now, at)
			r.next++
			r.deliver(r.frames[r.next-1])
		}
	}
}

func (r *replay) step(ev tsn.Event) {
	for _, e := range r.sys.Step(tsn.Instant(r.now), ev) {
		switch e := e.(type) {
		case tsn.Send:
			r.send(e)
		case tsn.Notice:
			r.log("! %s port %d %s", e.Kind, e.Port, e.Detail)
		case RelationChanged:
			r.log("relation rate %+.3f ppm offset %d synced %v", e.Relation.RatePPB/1000, e.OffsetNS, e.Synced)
		}
	}
}

func (r *replay) log(format string, a ...any) {
	fmt.Fprintf(&r.trace, "%10.6f %s\n", float64(r.now-r.frames[0].ns)*1e-9, fmt.Sprintf(format, a...))
}

// send gives a frame of the machine its egress stamp.
func (r *replay) send(s tsn.Send) {
	_, payload, _ := ptpmsg.ParseFrame(s.Frame)
	m, err := new(ptpmsg.Decoder).Decode(payload)
	if err != nil {
		r.log("sent on port %d: %v", s.Port, err)
		return
	}
	if t := m.Type(); t == ptpmsg.TypeAnnounce || t == ptpmsg.TypeFollowUp || t == ptpmsg.TypeSignaling {
		r.log("-> port %d %s", s.Port, describe(s.Frame))
	}
	if s.Tag == 0 {
		return
	}
	egress := r.now + 20*microsecond
	f := r.counterpart(s.Port, m)
	if f != nil {
		egress = f.ns
	}
	r.due = append(r.due, replayEvent{r.now + 100*microsecond, tsn.Sent{Port: s.Port, Tag: s.Tag, Egress: tsn.LocalTime(egress), Stamped: true}})
	if f != nil && m.Type() == ptpmsg.TypePdelayReq {
		r.stood[f] = m.Head().SequenceID
		for _, answer := range r.early[f] {
			r.due = append(r.due, replayEvent{r.now + 200*microsecond, r.received(answer)})
		}
	}
}

// counterpart is the captured frame that m stands for: the answer to the same
// request, or the request of about that time. Nil if the captured node sent none.
func (r *replay) counterpart(port tsn.Port, m ptpmsg.Message) *pcapFrame {
	const about = 50 * millisecond
	for _, f := range r.frames {
		if !f.own || f.port != port || f.msg.Type() != m.Type() || f.msg.Head().MajorSdoID != m.Head().MajorSdoID ||
			f.ns < r.now-about || f.ns > r.now+about {
			continue
		}
		switch _, taken := r.stood[f]; {
		case m.Type() == ptpmsg.TypePdelayReq && !taken, m.Type() == ptpmsg.TypePdelayResp && f.msg.Head().SequenceID == m.Head().SequenceID:
			return f
		}
	}
	return nil
}

// deliver gives the machine a frame of the peer's, or keeps it until the machine
// has sent what it answers.
func (r *replay) deliver(f *pcapFrame) {
	if f.own {
		return
	}
	if _, sent := r.stood[f.req]; f.req != nil && !sent {
		r.early[f.req] = append(r.early[f.req], f)
		return
	}
	r.step(r.received(f))
}

// received is a captured frame as an event; an answer is made one to the
// machine's own request.
func (r *replay) received(f *pcapFrame) tsn.Event {
	if f.req != nil {
		f.msg.Head().SequenceID = r.stood[f.req]
	}
	return tsn.Received{
		Port: f.port, Frame: ptpmsg.AppendFrame(nil, tsn.MAC(f.frame[6:]), f.msg), Ingress: tsn.LocalTime(f.ns), Stamped: true,
	}
}

// newReplay is a machine with the captures testdata/NAME.1.pcap and so on.
func newReplay(t *testing.T, name string, change func(*Config)) *replay {
	t.Helper()
	cfg := DefaultConfig(capturedMAC)
	paths, err := filepath.Glob(filepath.Join("testdata", name+".*.pcap"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no captures %s: %v", name, err)
	}
	r := &replay{stood: map[*pcapFrame]uint16{}, early: map[*pcapFrame][]*pcapFrame{}}
	for i, path := range paths {
		port := tsn.Port(i + 1)
		cfg.Ports = append(cfg.Ports, DefaultPort(port))
		r.frames = append(r.frames, readPcap(t, path, port)...)
	}
	slices.SortStableFunc(r.frames, func(a, b *pcapFrame) int { return cmp.Compare(a.ns, b.ns) })
	softThreshold(0, &cfg)
	change(&cfg)
	if r.sys, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	return r
}

// What the machine makes of each captured exchange: testdata/ptp4l-*.trace.
func TestCapturedExchanges(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*Config)
		state  []PortState
		steps  uint16
	}{
		{"ptp4l-master", func(*Config) {}, []PortState{SlavePort}, 1},
		{"ptp4l-slave", func(c *Config) { c.Domains[0].Priority1 = 100 }, []PortState{MasterPort}, 0},
		{"ptp4l-both", func(*Config) {}, []PortState{SlavePort, MasterPort}, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newReplay(t, c.name, c.change)
			r.run()
			golden(t, c.name+".trace", r.trace.String())
			s := r.sys.Status().Target()
			if s.StepsRemoved != c.steps || !s.Synced || s.IsGM != (c.steps == 0) {
				t.Errorf("%+v", s)
			}
			for i, p := range s.Ports {
				if p.State != c.state[i] || !p.AsCapable || p.Counters.Malformed+p.Counters.NotGPTP+p.Counters.MultipleResponses > 0 {
					t.Errorf("port %d: %+v", p.Port, p)
				}
			}
		})
	}
}
