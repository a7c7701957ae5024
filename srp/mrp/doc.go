// Package mrp is the Multiple Registration Protocol of IEEE 802.1Q clause 10:
// the MRPDU, and the state machines with which the systems on one LAN tell each
// other what they declare. MMRP, MVRP and MSRP are three sets of attributes on
// the same machines.
//
//	Join, Leave, New ──┐                ┌─> Indication{Join|New|Leave, Value, Param}
//	Receive(PDU) ──────┤  Participant   ├─> PDU, when Tick finds an opportunity
//	Tick(now) ─────────┘ (one per port  └─> Deadline()
//	                     and application)
//
//	application.go  what the three applications differ in: attribute types, lengths, group address
//	values.go       what the attributes say: talkers, listeners, domains, VLANs, addresses
//	enhanced.go     the Talker and Listener Enhanced of MSRP version 1 (802.1Qcc)
//	frame.go        the Ethernet frame around a PDU
//	event.go        attribute events and how three or four of them share an octet (10.8.2.10)
//	pdu.go          the MRPDU (10.8.1), reader and writer
//	applicant.go    Applicant state machine (table 10-3)
//	registrar.go    Registrar state machine (table 10-4)
//	leaveall.go     LeaveAll state machine (table 10-5)
//	periodic.go     PeriodicTransmission state machine (table 10-6)
//	participant.go  a port's part: timers, requests, indications
//	table.go        its attributes, and which of them have something to do
//	transmit.go     one transmit opportunity: which events, packed how, in how many PDUs
//	timers.go       presets: the standard's, Avnu ProAV's
//
// Not to be mistaken for the Media Redundancy Protocol (IEC 62439-2), which is
// what a Linux kernel calls MRP.
package mrp
