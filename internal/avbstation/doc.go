// Package avbstation is an AVB end station on a Linux interface: it declares what
// it is told to by MSRP, MVRP and MMRP, and knows what others declare. It is a
// peer for tests and labs, on the participants of srp/mrp.
//
//	Talk, Listen, JoinVLAN ... ──┐             ┌─> MRPDUs
//	MRPDUs ──────────────────────┤   Station   ├─> Seen, Until
//	                             └─────────────┘
//
//	station.go  MSRP, MVRP and MMRP on one interface
//	flow.go     frames of a stream: who sends, who counts what arrives
package avbstation
