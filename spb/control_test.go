package spb

import (
	"bytes"
	"encoding/binary"
	"testing"

	tsn "tsnswitch"
	"tsnswitch/spb/ctlframe"
	"tsnswitch/spb/isispdu"
)

// controlConfig has echo, the edge guard and learning on.
func controlConfig() Config {
	cfg := peerConfig()
	cfg.EdgeGuard = EdgeGuardConfig{}
	cfg.Ports[0].Echo.Interval = echoInterval
	cfg.Ports = append(cfg.Ports, PortConfig{Port: emptyPort, PVID: 7})
	for n := range cfg.Ports[2:] {
		cfg.Ports[2+n].Learn = true
	}
	cfg.Caps.MaxLearned = 8
	return cfg
}

// FuzzControl gives an instance frames of its own EtherType and of CFM, tagged
// or not, and the events around them: nothing panics, the deadline is never
// stuck in the past, tables keep their caps, what is sent decodes.
func FuzzControl(f *testing.F) {
	add := func(frame []byte) []byte { return append([]byte{2, byte(len(frame))}, frame...) }
	probe := &ctlframe.Probe{State: ctlframe.ProbeListening, Left: 3, Port: 1, Interval: 1000}
	echo := &ctlframe.Echo{State: ctlframe.EchoInit, Multiplier: 3, Port: 2, HeardID: nodeMAC(0), HeardPort: 1, Interval: 10_000}
	lbm := &ctlframe.Loopback{OpCode: ctlframe.OpLBM, TLVs: ctlframe.DataTLVs(3)}
	soup := []byte{0, 0, 0, 2, 0, 3}
	for _, frame := range [][]byte{
		probe.Append(nil, nodeMAC(1), vidA), echo.Append(nil, nodeMAC(1)), lbm.Append(nil, ctlframe.Header{Dst: nodeMAC(0), Src: nodeMAC(1)}, 6),
	} {
		soup = append(append(soup, add(frame)...), 1, 9)
	}
	f.Add(soup)
	f.Add([]byte{0, 0, 0, 2, 4, 1, 4, 2, 5, 1, 1, 30, 6, 3, 7, 0, 1, 200, 8, 1, 9, 3})
	f.Fuzz(func(t *testing.T, in []byte) {
		inst, err := New(controlConfig())
		if err != nil {
			t.Fatal(err)
		}
		var now tsn.Instant
		step := func(ev tsn.Event) {
			for _, e := range inst.Step(now, ev) {
				if s, ok := e.(tsn.Send); ok {
					checkSent(t, s.Frame)
				}
			}
			if d := inst.Deadline(); d <= now {
				t.Fatalf("deadline %d at %d after %#v", d, now, ev)
			}
		}
		ports := []tsn.Port{1, 2, edgePort, emptyPort, 9}
		for len(in) >= 2 {
			op, arg := in[0], in[1]
			in = in[2:]
			port := ports[int(arg)%len(ports)]
			mac := tsn.MAC{2, 0, 0, 0, 0, arg & 15}
			switch op % 10 {
			case 0:
				step(tsn.LinkChanged{Port: port, Up: arg < 128})
			case 1:
				now = now.Add(int64(arg) * int64(arg) * millisecond / 4)
				step(tsn.Timeout{})
			case 2, 3:
				n := min(int(arg), len(in))
				step(tsn.Received{Port: ports[int(op/10)%len(ports)], Frame: bytes.Clone(in[:n])})
				in = in[n:]
			case 4:
				step(StationSeen{MAC: mac, VID: []tsn.VID{vidA, 9}[arg/128], Port: port})
			case 5:
				step(StationGone{MAC: mac, VID: vidA, Port: port})
			case 6:
				step(Ping{RequestID: uint64(arg), To: mac, Count: int(arg) - 3, Size: int(arg) * 8})
			case 7:
				step(Trace{RequestID: uint64(arg), To: mac, Tries: int(arg) - 3})
			case 8:
				step(CancelPing{uint64(arg)})
			case 9:
				if arg > 250 {
					step(PauseEcho{})
				}
				iih := mustAppendTest(t, inst.makeIIH(inst.ports[0]))
				step(tsn.Received{Port: port, Frame: isispdu.AppendFrame(nil, isispdu.AllISs, mac, iih)})
			}
		}
		inst.EdgePorts()
		inst.Neighbours()
		if n := len(inst.LearnedStations()); n > 2*inst.cfg.Caps.MaxLearned || len(inst.ctl.loop.jobs) > maxPingJobs {
			t.Fatalf("%d stations, %d requests", n, len(inst.ctl.loop.jobs))
		}
	})
}

func mustAppendTest(t *testing.T, p isispdu.PDU) []byte {
	b, err := p.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// checkSent fails unless a frame is IS-IS or a control frame that decodes.
func checkSent(t *testing.T, frame []byte) {
	t.Helper()
	if binary.BigEndian.Uint16(frame[12:]) <= 1500 {
		_, _, b, err := isispdu.ParseFrame(frame)
		if err == nil {
			_, err = isispdu.Parse(b)
		}
		if err != nil {
			t.Fatal(err)
		}
		return
	}
	_, _, err := ctlframe.Parse(frame)
	if _, _, cfm := ctlframe.ParseLoopback(frame); err != nil && cfm != nil {
		t.Fatalf("%x: %v, %v", frame, err, cfm)
	}
}
