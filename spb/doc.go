// Package spb is the IS-IS-SPB core: it finds the fabric and decides how
// frames travel through it (IEEE 802.1aq, RFC 6329 over ISO/IEC 10589).
//
//	LinkChanged ─┐                                    ┌─> Send           hellos, LSPs, SNPs
//	Received ────┤  adjacency ─> own LSP ─> flooding ─┼─> Forwarding     the whole wanted bridge state
//	SetEndStations  (RFC 5303)      │     (link-state ├─> TopologyChanged  paths may differ
//	SetServices ...                 │       database) ├─> RecordsChanged   of other cores (geninfo.go)
//	StationSeen, Ping, Trace ...    │                 ├─> PingReply, TraceHop ...
//	Timeout ─────┘                  │                 └─> tsn.Notice
//	                                └──> SPF ─> ECT tie-break ─> trees ─> places ─> FDB, groups
//	Applied ──> agreement (digests in hellos, both ways) ──────────────────^
//	queries (Neighbours, Database, Nodes, Path, Tree, Why, EdgePorts ...) read between Steps
//
// The data plane is SPBM on a VLAN-aware bridge without encapsulation: the
// B-MACs are the bridges' own addresses and those of attached end stations,
// which RFC 6329 s16.1 lets a node advertise as reachable through it. This is
// not 802.1ah.
//
// Forwarding rules, and why a broadcast reaches every edge port exactly once.
// On fabric ports a frame is taken only if its source address is reached
// through that port (Locked, the ingress check of 802.1aq), and broadcast and
// unregistered groups leave by all ports. A bridge therefore accepts the copy
// of its next hop towards the source and no other; next hops towards one
// source form a tree, because the distance falls at every hop, so each bridge
// accepts one copy. Links outside the tree carry one excess copy in each
// direction, which the far end drops: 2*(links-(bridges-1)) for a broadcast.
// A fabric port whose link is not in the graph carries no broadcast at all.
//
// What is promised while the fabric changes (agreement.go says why it holds):
//   - Group frames (broadcast, services, streams): at no instant is there a
//     cycle that a frame can follow, nor a second way to an edge port, whatever
//     is lost, late or dead. Entries that change are withdrawn, the kernel
//     confirms that, and new ones come when the neighbours' digests agree. The
//     price: the groups of a source whose tree changed, and all broadcast at a
//     bridge whose own place in any tree changed, stop for about one round trip
//     with the neighbours and two changes of the kernel.
//   - Unicast, by default where every bridge has the ingress check: it follows
//     the new graph at once. Next hops may form a cycle until the slower
//     bridge has followed; the ingress check discards most frames in it.
//   - Unicast in the strict mode (Config.Strict, and by default as soon as one
//     bridge of the fabric has no ingress check): it waits as groups do, and
//     there is no cycle either.
//   - A station that moves waits for agreement in every mode.
//   - What is not promised: a copy that has been in some queue for longer than
//     withdrawal and agreement took may still arrive, and then be a second one;
//     a hello forged or damaged so that it still parses may lie about a digest
//     (authentication prevents that); a neighbour of another make has no digest
//     of ours, and AgreementHold stands for it.
//
// Beside IS-IS, in frames of package ctlframe (control.go):
//   - The edge guard (edgeguard.go) extends the promise to LANs behind edge
//     ports: of edge ports that share one, one forwards. It says what remains.
//   - Fast echo (echo.go) finds a fabric link that loses frames with its
//     carrier up, in Multiplier times Interval: 30 ms with 10 ms and 3.
//   - Stations may be learned (stations.go): the bridge that sees one last has it.
//   - Loopback messages (loopback.go) test the way of data: Ping, Trace.
//
// Nothing authenticates these frames. Who can send on an edge port can have it
// blocked, and claim addresses of stations that are learned; who can send on a
// fabric port can keep a link with echo in use or out of it.
//
// Groups. {source, I-SID} has state only on the way from a source with T to
// bridges with R (groups.go); a source without T gets the list of receivers
// (Services: head-end replication). Streams of other cores are placed on
// trees by SetStreamRoots; Forwarding says where their frames may leave.
// SPSourceIDs settle among the bridges (sourceid.go).
//
// Choices where the texts leave room:
//   - Parallel links: the cheapest counts; among equals the one with the lowest
//     port number at the bridge with the lower BridgeID. Ends are matched by
//     link identifiers (RFC 5307), otherwise in order of metric and port.
//   - Algorithm 0 (00-80-C2-00) is one spanning tree for all sources, as
//     802.1Q clause 13 would choose it; an overloaded bridge is a leaf of it.
//   - Masks with the top bit set (ECT 2, 3, 7, 8, 13 to 16) turn the bridge
//     priority round too: there a low value attracts less.
//   - SPF repairs the trees of other sources, and its outcome never depends on
//     what was computed before (repair.go).
//   - Two trees of a stream need not be disjoint; Disjoint says what they share.
//   - An address claimed by several nodes belongs to the best claim: configured
//     before learned, then the newest, then the lowest BridgeID; a bridge's own
//     address beats any claim, and bridges out of reach claim nothing.
//   - A neighbour with another set of {Base VID, ECT} or another MCID stays
//     adjacent with metric 2^24-1: visible, unused.
//   - A daemon may restart without anybody noticing (RFC 8706): its neighbours
//     keep the adjacency, and it repeats its old LSP once it knows the fabric
//     again (StartupHold is T2). A neighbour that restarts without saying so
//     keeps its link in use for RestartGrace. A planned restart (PrepareRestart)
//     may take longer than the holding time, but not across a change of the
//     fabric.
//   - The own LSP may change at once after a quiet time, then ever more slowly
//     (LSPHoldDown to LSPMaxHoldDown); what is in a fragment stays in it.
//   - An LSP that does not fit the database sets the overload bit for a minute
//     (ISO/IEC 10589 7.3.19).
//   - Authentication (RFC 5304, RFC 5310): exactly one TLV 10; a secret longer
//     than the digest is hashed first, as RFC 5310 s3.3 says and plain HMAC does
//     not; the last key never expires for sending. A purge names its originator
//     (RFC 6232) and its body is gone (RFC 6233); purges of others pass as they
//     are. An LSP is verified when it arrives, not again when keys change.
//     Replayed PDUs are recognised by sequence numbers alone, hellos not at all,
//     and nothing is secret. Frames that are not IS-IS are not covered.
//   - The agreement digest sums ports, overload, SPSourceIDs and stations besides
//     what the standard's convention does, and has a convention number of its
//     own: this switch's trees depend on them.
//   - A configured SPSourceID that is taken does not shut its bridge out of the
//     region: it sends to no group, and its copies are made at the head end.
//
// Not here: the MAC-in-MAC edge (a Service is the place for it), SPBV, level 2
// and multi topology.
package spb
