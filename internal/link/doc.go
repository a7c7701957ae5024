// Package link is the edge of the switch for frames, link events and clocks.
// It owns every protocol socket and the goroutines that read them; the
// machines behind it see only events.
//
//	        Timing(event)          Control(event)
//	      Received Sent LinkChanged    Received LinkChanged
//	              ▲                        ▲
//	┌─────────────┴──────┐      ┌──────────┴─────────┐
//	│ gptp.go            │      │ control.go         │   one of each per port
//	│ AF_PACKET 0x88F7   │      │ AF_PACKET all +    │
//	│ SO_TIMESTAMPING    │      │ classic BPF        │
//	└──────▲─────────────┘      └──────────▲─────────┘
//	       │        Send(tsn.Send)         │
//	       └──── routed by length/type ────┘
//	watch.go   rtnetlink: carrier, rate, interfaces that go and come back
//	clock.go   kernel stamp -> tsn.LocalTime; virtual, steered, PHC
//	steer.go   makes the system clock or a PHC follow gPTP time
//	waiter.go  how a gPTP port sleeps; realtime.go, alarm.go: threads that must not wait
//	gate.go    gPTP time <-> the clock that gates run on
//
// Clauses: IEEE 802.1AS-2020 8.4.3 (time stamps), 10.1 (LocalClock), 11.3
// (transport of gPTP over full-duplex links); ISO/IEC 10589 and RFC 6329
// section 8 (IS-IS PDUs on 802.3 with LLC FE FE 03).
//
// Guarantees:
//   - a frame in an event belongs to its receiver;
//   - a tagged gPTP Send is answered by exactly one Sent, also when sending fails;
//   - frames are limited in rate and size, and counted, before anything parses them;
//   - no callback runs after Close has returned.
//
// The kernel switches ingress stamps on in the background when the first
// socket of the system asks for them, so the first frames after Open may come
// without one.
//
// A bridge consumes only groups 01-80-C2-00-00-0X, and a socket bound to
// ETH_P_802_2 on an enslaved port sees no IS-IS PDU at all. The control
// socket therefore taps the port (ETH_P_ALL), and the kernel filters: IS-IS,
// EtherType 88-B5 (the switches' own frames) and 89-02 (CFM). Edge ports have one
// too: what is accepted where, the machine decides, and it counts what it drops.
// A tag that the kernel has taken off a frame is put back.
package link
