// Package srp decides which streams may use a port, and what that costs: the
// reservation table and admission control of IEEE 802.1Q clause 35.2.4 (MSRP
// attribute propagation's bandwidth checks) and 34.3, 34.4 (bandwidth per
// class, which is the idle slope of its shaper; its credits are tsn.NewShaper's).
//
//	PutReservations{owner, generation, whole set} ─┐              ┌─> Result{request id, *Refusal}
//	tsn.LinkChanged{port, up, rate} ───────────────┤   Instance   ├─> Reserved{idle slopes, group entries}
//	                                               │ (tsn.Machine)├─> tsn.Notice
//	                                               └──────────────┘
//	                        Streams(), Ports(), Counters(): what is held, what is left
//
//	instance.go   the machine: links, requests, desired state
//	table.go      streams by owner, keys, the whole-set replacement
//	admission.go  the checks, in the standard's order, and the refusal they give
//
// An owner (a management client, a talker's edge bridge, distlink) sends all
// its reservations at this system at once. The set is taken whole or refused
// whole; a refusal leaves the previous set in force.
//
// Streams to a unicast destination get no filtering entry: the bridge already
// forwards the listener's address. Streams to a group get one {group, VID}
// entry each.
//
// Not here yet: MSRP, MVRP and MMRP on the wire, stream rank and pre-emption,
// latency accounting, domain boundaries.
package srp
