// Package distlink is the core of a transport for the Erlang distribution on
// reserved streams: reliable messages on many ordered streams over datagrams,
// paced at a fixed rate. PROTOCOL.md beside this file is the wire format and
// the one place where it is defined.
//
//	 Datagram  Write  Read  Close  tsn.Timeout
//	    |        |     |      |        |
//	    v        v     v      v        v
//	+-----------------------------------------+
//	| Conn: packet numbers, ACK ranges, RTT,  |
//	| probes, streams, fences, credit, rate   |
//	+-----------------------------------------+
//	    |          |          |          |
//	    v          v          v          v
//	Transmit   Established  Deliver    Closed
//
// Conn is one end of one connection and Listener the stateless door before
// it. Both are pure machines (tsn.Machine): sockets and clocks live in udplink.
//
//	packet.go    packets      conn.go      events, effects, set-up, closing
//	frame.go     frames       send.go      streams to packets, credit, pacing
//	ranges.go    number sets  recv.go      packets to messages, fences
//	listener.go  set-up door  recovery.go  RTT, loss, probes, liveness
//
// Missing in this version: congestion control (a connection sends at its
// configured rate, limited by the peer's window), encryption, moving a
// connection to another address, path MTU discovery (the datagram size is
// configured), priorities between streams (they take turns).
package distlink
