// Package spb is the IS-IS-SPB core: it finds the fabric and decides how
// frames travel through it (IEEE 802.1aq, RFC 6329 over ISO/IEC 10589).
//
//	LinkChanged ─┐                                    ┌─> Send           hellos, LSPs, SNPs
//	Received ────┤  adjacency ─> own LSP ─> flooding ─┼─> Forwarding     the whole wanted bridge state
//	SetEndStations  (RFC 5303)      │     (link-state ├─> TopologyChanged  paths may differ
//	PublishRecord ...               │       database) ├─> RecordsChanged   of other cores (geninfo.go)
//	Timeout ─────┘                  │                 └─> tsn.Notice
//	                                └──> SPF ─> ECT tie-break ─> trees, FDB
//	queries (Neighbours, Database, Nodes, Path, Tree, Why ...) read between Steps
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
// A fabric port whose adjacency is not Up carries no broadcast at all.
//
// Choices where the texts leave room:
//   - Parallel links: the cheapest counts; among equals the one with the lowest
//     port number at the bridge with the lower BridgeID. Ends are matched by
//     link identifiers (RFC 5307), otherwise in order of metric and port.
//   - An address claimed by several nodes belongs to the lowest BridgeID;
//     a bridge's own address beats any claim.
//   - A neighbour with another set of {Base VID, ECT} or another MCID stays
//     adjacent with metric 2^24-1: visible, unused.
//   - A daemon may restart without anybody noticing (RFC 8706): its neighbours
//     keep the adjacency, and it repeats its old LSP once it knows the fabric
//     again (StartupHold is T2). A neighbour that restarts without saying so
//     keeps its link in use for RestartGrace. Planned restarts (PR) are not
//     asked for and not answered.
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
//   - SPSourceID is the low 20 bits of the system identifier. No clash handling.
//
// Not here yet: agreement digest and its loop prevention. While two bridges
// have not heard of the same change, next hops may form a cycle, and frames in
// it circle and are copied to edge ports until the later of the two has
// programmed its bridge. Also not here: I-SID groups and services, SPBV,
// level 2 and multi topology.
package spb
