package link

import (
	"sync/atomic"

	"tsnswitch"
)

// Protocol is a family of frames with its own socket on every port.
type Protocol uint8

// The protocols.
const (
	Control    Protocol = iota // IS-IS over LLC, frames of these switches' own, CFM
	GPTP                       // IEEE 802.1AS
	Neighbours                 // ARP and IPv6 neighbour discovery
	MRP                        // MSRP, MVRP, MMRP (IEEE 802.1Q clause 10)
)

func (p Protocol) String() string {
	switch p {
	case Control:
		return "control"
	case GPTP:
		return "gptp"
	case Neighbours:
		return "neighbours"
	case MRP:
		return "mrp"
	}
	return "unknown"
}

// Counters tells what one protocol's socket on one port has done since Open.
type Counters struct {
	Port     tsn.Port
	Protocol Protocol

	Received uint64 // frames handed to the machine
	Sent     uint64 // frames the kernel took

	DroppedQueue uint64 // the socket's queue was full: this process is too slow
	DroppedRate  uint64 // received above the rate limit
	DroppedOwn   uint64 // received with our own source address
	DroppedSize  uint64 // received shorter or longer than the protocol allows
	SendFailed   uint64 // frames the kernel refused
	ReadErrors   uint64 // reads that failed, such as "network is down"
	Opens        uint64 // sockets opened: 1, and 1 for every later replacement
	StampMissing uint64 // tagged frames without an egress stamp in time
	StampLate    uint64 // egress stamps that nobody waited for any more
}

// counters is the live form of Counters.
type counters struct {
	received, sent                                     atomic.Uint64
	droppedQueue, droppedRate, droppedOwn, droppedSize atomic.Uint64
	sendFailed, readErrors, opens                      atomic.Uint64
	stampMissing, stampLate                            atomic.Uint64
}

func (c *counters) snapshot(port tsn.Port, proto Protocol) Counters {
	return Counters{
		Port:         port,
		Protocol:     proto,
		Received:     c.received.Load(),
		Sent:         c.sent.Load(),
		DroppedQueue: c.droppedQueue.Load(),
		DroppedRate:  c.droppedRate.Load(),
		DroppedOwn:   c.droppedOwn.Load(),
		DroppedSize:  c.droppedSize.Load(),
		SendFailed:   c.sendFailed.Load(),
		ReadErrors:   c.readErrors.Load(),
		Opens:        c.opens.Load(),
		StampMissing: c.stampMissing.Load(),
		StampLate:    c.stampLate.Load(),
	}
}
