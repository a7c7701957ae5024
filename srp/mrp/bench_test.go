package mrp

import (
	"runtime"
	"testing"

	tsn "tsnswitch"
)

// streams are n talkers, and the PDUs that declare them.
func streams(b *testing.B, n int) (values []Value, pdus [][]byte) {
	values = spread(n)
	p := NewParticipant(MSRP(), Config{PointToPoint: true})
	p.Start(0)
	for _, v := range values {
		p.Join(0, v, 0, false)
	}
	for p.Deadline() <= 0 {
		pdu, _ := p.Tick(0)
		pdus = append(pdus, pdu)
	}
	b.ReportMetric(float64(n)/float64(len(pdus)), "streams/PDU")
	return values, pdus
}

// A PDU about streams that are all known, on a port that knows 1,000.
func BenchmarkReceiveKnown(b *testing.B) {
	_, pdus := streams(b, 1000)
	p := NewParticipant(MSRP(), Config{PointToPoint: true, MaxAttributes: 2000})
	p.Start(0)
	for _, pdu := range pdus {
		p.Receive(0, pdu)
	}
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		p.Receive(0, pdus[1+i%(len(pdus)-1)])
	}
}

// One stream that comes and goes, on a port that knows 1,000: a Join, its PDU, a Leave, its PDU.
func BenchmarkOneOfMany(b *testing.B) {
	values, pdus := streams(b, 1000)
	p := NewParticipant(MSRP(), Config{PointToPoint: true, MaxAttributes: 2000, Timers: Timers{LeaveAll: 1 << 60}})
	p.Start(0)
	for _, pdu := range pdus[1:] {
		p.Receive(0, pdu)
	}
	now := tsn.Instant(0)
	settle := func() {
		for p.Deadline() < 1<<60 {
			now = max(now, p.Deadline())
			p.Tick(now)
		}
	}
	settle()
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		p.Join(now, values[0], 0, false)
		settle()
		p.Leave(now, values[0])
		settle()
	}
}

// A LeaveAll on a port that declares 1,000 streams, until all are declared again.
func BenchmarkLeaveAll(b *testing.B) {
	values, _ := streams(b, 1000)
	p := NewParticipant(MSRP(), Config{PointToPoint: true, Timers: Timers{LeaveAll: 1 << 60}})
	p.Start(0)
	for _, v := range values {
		p.Join(0, v, 0, false)
	}
	w := newWriter(MSRP())
	w.vector(&Vector{Type: TypeTalkerAdvertise, LeaveAll: true})
	leaveAll := w.finish()
	now := tsn.Instant(0)
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		p.Receive(now, leaveAll)
		for p.Deadline() < 1<<60 {
			now = max(now, p.Deadline())
			p.Tick(now)
		}
	}
}

// What a port remembers of a stream.
func BenchmarkMemory(b *testing.B) {
	_, pdus := streams(b, 1000)
	var before, after runtime.MemStats
	var keep []*Participant
	runtime.GC()
	runtime.ReadMemStats(&before)
	for range b.N {
		p := NewParticipant(MSRP(), Config{PointToPoint: true, MaxAttributes: 2000})
		p.Start(0)
		for _, pdu := range pdus {
			p.Receive(0, pdu)
		}
		keep = append(keep, p)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/float64(b.N)/1000, "octets/stream")
	runtime.KeepAlive(keep)
}
