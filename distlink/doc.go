// Package distlink is the core of a transport for the Erlang distribution on
// reserved streams: reliable messages on many ordered streams over datagrams,
// paced at a reserved rate or under congestion control, and sealed where there
// is a key. PROTOCOL.md beside this file is the wire format and the one place
// where it is defined; distlink.lua shows it in Wireshark.
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
//	packet.go    packets      conn.go       events, effects, set-up, closing
//	frame.go     frames       send.go       streams to packets, classes, credit, rate
//	ranges.go    number sets  recv.go       packets to messages, fences
//	listener.go  set-up door  recovery.go   RTT, loss, probes, liveness
//	keys.go      sealing      congestion.go the window where no rate is reserved
//	path.go      moving peers mtu.go        how long datagrams may be
//	lane.go      classes with a socket of their own
//	auth.go      certificates
package distlink
