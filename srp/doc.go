// Package srp decides which streams may use a port, and what that costs: the
// reservation table and admission control of IEEE 802.1Q clause 35.2.4 (MSRP
// attribute propagation's bandwidth checks) and 34.3, 34.4 (bandwidth per
// class, which is the idle slope of its shaper; its credits are tsn.NewShaper's).
// With Config.MSRP it is also an MSRP bridge: end stations ask for streams
// themselves, and bridges pass on what they ask (802.1Q clause 35).
//
//	PutReservations{owner, generation, whole set} ─┐              ┌─> Result{request id, *Refusal}
//	tsn.LinkChanged{port, up, rate} ───────────────┤   Instance   ├─> Reserved{idle slopes, group entries}
//	                                               │ (tsn.Machine)├─> tsn.Notice
//	                                               └──────────────┘
//	                        Streams(), Ports(), Counters(): what is held, what is left
//
//	tsn.Received{MSRPDU}, tsn.Timeout ─────────────┐              ┌─> tsn.Send{MSRPDU}
//	SetASCapable, SetBlocked, SetTrees ────────────┤   its MSRP   ├─> TreesWanted{VLAN, talker}
//	SetRegistrations, PutProxies ──────────────────┘              └─> Result, Reserved, as above
//	                        MSRPStreams(), MSRPPorts(): what is declared where, and why not
//
//	instance.go   the machine: links, requests, desired state
//	table.go      streams by owner, keys, the whole-set replacement
//	admission.go  the checks, in the standard's order, and the refusal they give
//
//	msrp.go       MSRP: its events, its ports' participants, rounds until nothing changes
//	propagate.go  MAP (35.2.4): which talker counts, where it is declared, what it is answered
//	reserve.go    the checks of a talker at a port, failure codes, pre-emption
//	publish.go    what is held, as the owner's set and as desired state
//	merge.go      how listeners' declarations merge
//	domain.go     SR classes, domain boundary ports
//	proxy.go      stations that speak no MSRP, for which a central configuration speaks
//	registrations.go  VLANs and groups on ports: talker pruning
//	codes.go      all failure codes, and what each means here
//	notice.go     what is told of as it happens
//	view.go       MSRP as people are shown it
//	enhanced.go   MSRP version 1 (802.1Qcc) beside version 0
//	explain.go    why a stream is not reserved, and what would make it fit
//	restart.go    what a bridge remembers over a restart
//
//	mvrp.go       MVRP, a machine of its own: VLANs that stations register
//	mmrp.go       MMRP, another: groups and service requirements, by VLAN
//	map.go        what is registered on one port is declared on the others
//
// An owner (a management client, a talker's edge bridge, distlink) sends all
// its reservations at this system at once. The set is taken whole or refused
// whole; a refusal leaves the previous set in force.
//
// Streams to a unicast destination get no filtering entry: the bridge already
// forwards the listener's address. Streams to a group get one {group, VID}
// entry each.
//
// MSRP's reservations are one more owner's set in the same table, MSRPOwner's:
// there is one account of each port, and no other owner's stream is ever pushed
// aside. An emergency stream (rank 0) pushes aside others of MSRP, youngest first.
//
// With MSRPConfig.Trees declarations of a talker go along the tree {VLAN of the
// stream, edge bridge of the talker}, which the driver looks up for each key of
// TreesWanted and gives by SetTrees; when a tree changes, the stream is given up
// where it no longer goes and admitted anew where it does. Without it they go to
// all other ports, whose active topology must be free of loops.
package srp
