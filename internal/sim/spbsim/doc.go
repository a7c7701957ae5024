// Package spbsim puts the SPB core on trial: bridges that run nothing else, in
// virtual time, while links, daemons, power and kernels fail; and a checker that
// looks at the forwarding state of all kernels, as one, after every change.
//
//	Scenario (seed) ──> faults ──> Network: links, daemons (spb.Instance)
//	                                  │ Forwarding          ▲ Applied
//	                                  ▼                     │
//	                    kernels: dataplane.NewTarget, Plan, one step after the other
//	                                  │ every step          │ data frames under way
//	                                  ▼                     ▼
//	                    checker: no loop, no duplicate    probes: none twice
//	                    at the end: oracle                 (brute force, own code)
//
// What is real: the core, its frames, the order in which the data plane writes
// (dataplane.Plan), what a board refuses (fake.Board). What is modelled: a
// VLAN-aware Linux bridge (VLAN membership, locked, static FDB, L2 MDB, flood
// flags), netlink that takes time for every step and fails in the middle, the
// daemon's applier and its restart beside a kernel in use, and of internal/node
// the composition of streams. internal/sim runs whole switches instead; this
// package runs thousands of fabrics.
//
// # Faults
//
// Links are cut, mended, and flap within milliseconds; one or both directions go
// silent with the carrier up. Cables join edge ports. Control frames are lost, duplicated and overtaken.
// Daemons are killed in the middle of a kernel write and start again beside the
// kernel they left; bridges lose power. Kernel steps fail. Overload comes and goes,
// stations move, services change. Up to a dozen of these meet within milliseconds or seconds.
//
// # What is checked
//
// After every step of every kernel and every change of a link, for broadcast,
// unregistered groups, the group of each {source, I-SID} and each stream: the
// graph of {bridge, ingress port} has no cycle, not even one that no frame can
// enter at present, and a frame sent now reaches no edge port twice. In the
// strict mode the same for unicast; otherwise it is counted for how long a unicast
// frame could have circled, and how many data frames did.
//
// Data frames are sent all the time, more of them at every change, and travel
// while tables change: none may be delivered twice, or come to a bridge twice.
//
// [Settle] after the last fault: neighbours hold identical databases; every
// unicast frame takes the way that the oracle finds by comparing all paths
// (metric, hops, sorted masked BridgeIDs; parallel links); broadcast reaches
// each edge port once; services and streams reach their receivers once, and
// nobody else.
//
// # Limits
//
// What nobody promises does not happen here: the daemon of a bridge does not die
// while one of its edge ports is cabled to another, since its kernel forwards on
// and nobody is there to answer the edge guard's probes. Such cables lose no frames.
//
// # Replay
//
// Everything random comes from the seed. A failing seed prints the command that
// plays it again, with every event, and the digest of all that happened, which is
// the same on every machine.
package spbsim
