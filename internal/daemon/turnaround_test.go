package daemon

import (
	"context"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"testing"
	"time"

	"tsnswitch"
	"tsnswitch/gptp"
	"tsnswitch/gptp/ptpmsg"
	"tsnswitch/internal/kerneltest"
	"tsnswitch/internal/link"
)

// BenchmarkPdelayTurnaround measures how long a Pdelay_Req waits for its
// Pdelay_Resp, by the responder's own stamps (t3-t2, 802.1AS-2020 B.2: 10 ms),
// while the control machine of the same process computes on all processors, as
// in an SPF of a large fabric, or does not:
//
//	go test -run - -bench PdelayTurnaround -benchtime 1000x ./internal/daemon
//
// "queued" is the ordinary loop, which the timing machine once ran in; "direct"
// is what it runs in; "realtime" is gptp.realtime. The p50, p99 and max are ns.
func BenchmarkPdelayTurnaround(b *testing.B) {
	if os.Geteuid() != 0 {
		b.Skip("network namespaces need root")
	}
	for _, way := range []string{"queued", "direct", "realtime"} {
		for _, load := range []string{"idle", "busy"} {
			b.Run(way+"/"+load, func(b *testing.B) { benchmarkTurnaround(b, way, load == "busy") })
		}
	}
}

func benchmarkTurnaround(b *testing.B, way string, busy bool) {
	here, there := kerneltest.NewNetNS(b), kerneltest.NewNetNS(b)
	kerneltest.VethPair(b, 1, kerneltest.End{NS: here, Name: "eth0"}, kerneltest.End{NS: there, Name: "eth0"})
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	realtime := 0
	if way == "realtime" {
		realtime = 10
		defer ordinary(runtime.GOMAXPROCS(0), debug.SetGCPercent(100))
		makePlaces()
		if err := link.RaiseThreads(realtimeNice); err != nil {
			b.Logf("not real-time: %v", err)
		}
	}
	stop := responder(b, ctx, here, way, realtime)
	defer stop()
	if busy {
		go compute(ctx)
	}
	turnarounds := ask(b, there, b.N)
	cancel()
	slices.Sort(turnarounds)
	at := func(q float64) float64 { return float64(turnarounds[int(q*float64(len(turnarounds)-1))]) }
	b.ReportMetric(at(0.5), "p50-ns")
	b.ReportMetric(at(0.99), "p99-ns")
	b.ReportMetric(at(1), "max-ns")
	b.ReportMetric(0, "ns/op")
}

// ordinary ends what makePlaces and RaiseThreads began.
func ordinary(places, gc int) {
	runtime.GOMAXPROCS(places)
	debug.SetGCPercent(gc)
	_ = link.RaiseThreads(0)
}

// responder answers Pdelay_Req as the daemon does.
func responder(b *testing.B, ctx context.Context, ns *kerneltest.NetNS, way string, realtime int) (stop func()) {
	clock, err := link.NewVirtual(0, 0, 0)
	if err != nil {
		b.Fatal(err)
	}
	mac := tsn.MAC{2, 0, 0, 0, 0, 1}
	machine, err := gptp.New(gptp.DefaultConfig(mac, 1))
	if err != nil {
		b.Fatal(err)
	}
	var ports *link.Ports
	var l *loop
	do := func(e tsn.Effect) {
		s, ok := e.(tsn.Send)
		if !ok {
			return
		}
		_ = ports.Send(s) // counted there
		if l.direct != nil {
			for _, sent := range ports.Collect(s.Port, nil) {
				l.direct.after = append(l.direct.after, sent)
			}
		}
	}
	if way == "queued" {
		l = newLoop("timing", machine, link.Now, do)
	} else {
		l = newDirectLoop("timing", machine, link.Now, do, realtime)
	}
	cfg := link.Config{
		Clock: clock, Timing: l.post, Realtime: realtime, Collects: l.direct != nil,
		Ports: []link.PortConfig{{Port: 1, Ifname: "eth0", GPTP: true}},
	}
	ns.Do(func() { ports, err = link.Open(cfg) })
	if err != nil {
		b.Fatal(err)
	}
	go l.run(ctx)
	return func() {
		<-l.done
		ports.Close()
		if err := ports.Starved(); err != nil {
			b.Logf("not real-time: %v", err)
		}
	}
}

// compute is a control machine that never has enough time: paths on all
// processors, with allocations.
func compute(ctx context.Context) {
	for ctx.Err() == nil {
		onAllCores(processors, func(k int) {
			dist := map[int]int{}
			for n := range 200_000 {
				dist[n%5000] += k ^ n
			}
		})
	}
}

// ask sends Pdelay_Req one after the other, and returns the turnaround that each
// answer claims.
func ask(b *testing.B, ns *kerneltest.NetNS, n int) []int64 {
	clock, err := link.NewVirtual(0, 0, 0)
	if err != nil {
		b.Fatal(err)
	}
	got := make(chan tsn.Received, 64)
	cfg := link.Config{
		Clock: clock, Ports: []link.PortConfig{{Port: 1, Ifname: "eth0", GPTP: true}},
		Timing: func(ev tsn.Event) {
			if r, ok := ev.(tsn.Received); ok {
				select {
				case got <- r:
				default:
				}
			}
		},
	}
	var ports *link.Ports
	ns.Do(func() { ports, err = link.Open(cfg) })
	if err != nil {
		b.Fatal(err)
	}
	defer ports.Close()
	mac := tsn.MAC{2, 0, 0, 0, 0, 2}
	var out []int64
	for seq := uint16(0); len(out) < n; seq++ {
		m := &ptpmsg.PdelayReq{Header: ptpmsg.Header{
			MajorSdoID: ptpmsg.MajorSdoID, SequenceID: seq, Control: 5,
			Source: ptpmsg.PortIdentity{Clock: ptpmsg.ClockIdentityFromMAC(mac), Port: 1},
		}}
		if err := ports.Send(tsn.Send{Port: 1, Frame: ptpmsg.AppendFrame(nil, mac, m), Priority: 7}); err != nil {
			b.Fatal(err)
		}
		if ns, ok := answer(got, seq); ok {
			out = append(out, ns)
		}
		time.Sleep(5 * time.Millisecond) // the responder answers no more often
	}
	return out
}

// answer waits for both parts of an answer; false if one is missing.
func answer(got <-chan tsn.Received, seq uint16) (turnaround int64, ok bool) {
	var d ptpmsg.Decoder
	var t2 int64
	limit := time.After(time.Second)
	for {
		select {
		case <-limit:
			return 0, false
		case r := <-got:
			_, payload, err := ptpmsg.ParseFrame(r.Frame)
			if err != nil {
				continue
			}
			m, err := d.Decode(payload)
			if err != nil || m.Head().SequenceID != seq {
				continue
			}
			switch m := m.(type) {
			case *ptpmsg.PdelayResp:
				t2, _ = m.RequestReceipt.NS()
			case *ptpmsg.PdelayRespFollowUp:
				t3, _ := m.ResponseOrigin.NS()
				return t3 - t2, t2 != 0
			}
		}
	}
}
