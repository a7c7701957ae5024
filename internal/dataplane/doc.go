// Package dataplane makes the Linux kernel equal to a tsn.DesiredState: the
// bridge's ports, VLANs, FDB and MDB (802.1Q 8.8), and on each egress port the
// class of every frame, its gates (8.6.8.4) and credit-based shapers (8.6.8.2).
//
//	tsn.DesiredState ──> NewTarget ──> Plan(have, target) ──> ops ──> kernel
//	                     (validated)      ^                              │
//	                                      └───────── State <── Read ─────┘
//
// It reconciles: read, diff, apply in a loop-safe order, read back, compare.
// There is no journal. A static FDB or permanent MDB entry is ours exactly if
// its VID is in BridgeState.OwnedVIDs; every other one is left alone. A state
// that is already right is adopted without one modifying request.
//
// Entries, VLANs and flags travel in batches: one system call for all steps of
// one kind, 4,000 FDB entries included (15 times faster than one by one in a
// guest). Control frames are kept back in every VLAN, see control.go, and those
// of MRP applications on every port, see keepback.go.
//
// Plan and the ops are pure and shared with package fake, an in-memory kernel.
//
// What comes in is filtered by stream: see filter.go. The queues of SR classes
// are for reserved streams alone: see rules.go.
//
// What the kernel does differently from what one would think, each measured:
//
//   - Software taprio serves the lowest queue first before kernel 6.3 and the
//     highest traffic class first later. Order says which; Open probes it.
//   - It changes schedules at the start of the old entry that ends at or after
//     the new base time. The one all-open entry used without gates is 10 ms
//     long, so gates may begin up to 10 ms early, before anything relies on
//     them. Lists of the scheduler end in a short guard entry.
//   - At every request about a schedule, also one for next week, all gates are
//     open until the running entry ends (its timer next expires). A request
//     for what runs, to begin within microseconds, therefore goes before in the
//     same system call: the timer is set to that moment, and nothing leaves
//     that should not. How long the kernel needs for the two is rehearsed first.
//   - A schedule that waits can be replaced as long as another one runs: the
//     next begins at its own base time. If none runs yet it would begin at that
//     of the first: such a change is refused with PendingError.
//   - A schedule that waits cannot be removed. It is taken back by one in its
//     place with a base time in the year 2116, which tc shows and Read does not.
//   - Since 6.3 it tells a max-SDU lowered to what the class's longest window
//     takes, and that of the running list while another waits.
//   - With full offload a list is told as running from when the driver took it,
//     and the one before is forgotten. What waits is known by the device's clock.
//   - Under txtime-assist the first frame after its base time takes a new list
//     over; if another list comes before that, the kernel forgets it and goes on
//     with the one before, for which the root is made anew. Where the kernel
//     launches, etf lets frames go early by its delta, and the base time sent
//     makes up for that; a frame that it is late for it drops.
//   - The devices of igb and igc serve their lowest queue first, in hardware.
//   - Grafting a child qdisc into a live taprio, or taking the interface down,
//     may stop its timer: gates stay as they are. The schedule is therefore
//     sent again after each. The all-open mask sent is all ones, for which
//     taprio never looks at its timer.
//   - Naming the handle of an existing child together with its parent grafts
//     it again and ignores the new parameters: a cbs is changed by handle only.
//   - taprio keeps one frame for ever in a cbs that is its direct child, so a
//     prio of one band stands between them.
//   - An FDB entry can neither be made nor removed while its port is outside
//     the entry's VLAN.
//   - A port with learning takes over the entry of a station that it receives
//     frames from, wherever the entry was. A static entry moves and stays
//     static; only a sticky one stays where it is. Both are told as a change of
//     the FDB, which is how a station that has moved is found (StationWatch).
//   - A learned entry can be replaced by a static one and the other way round.
//   - Groups of 01-80-C2-00-00-0X apart, the bridge forwards every group, IS-IS
//     included; an entry with the bridge as its only member ends that, also in
//     a VLAN that the bridge itself is not in.
//   - A group that loses a port loses the bridge itself too, which is then
//     added again.
//   - cbs rounds its credit down to an octet at every look at the queues: a
//     class stays below its idle slope by half a percent at 5 Mbit/s, by one
//     where 100,000 other frames leave in a second. It counts no preamble, FCS
//     or gap, which slopes reckon with, so streams still get what they reserved.
//   - In a frame that a packet socket sends with its tag already in it, newer
//     kernels make the classifier look for the tag four octets too far: such
//     frames leave in the wrong class. Let a VLAN device add the tag.
//   - On ingress police compares a frame with its mtu with the header of 14 octets
//     (without the tag), and takes from its bucket what follows the header.
//   - taprio looks at launch times too: a frame whose time is in no window of its
//     class is dropped without a report. A software etf then lets it go as the
//     window opens, or delta before its time, whichever is later.
//   - A stream gate has no pending list: until its base time it lets everything
//     pass, also when it replaces one that runs. The meter behind it goes on.
//   - The credit of cbs goes on rising while the class's gate is shut, up to
//     hiCredit; by the standard, and in devices, it stands still. So the idle
//     slope of a gated class is adminIdleSlope * cycle / open time in devices, and
//     in software with as much added to the open time, after each closing, as the
//     credit needs to rise to hiCredit. Measured at 100 Mbit/s, 10 of them
//     reserved, open for a fifth of the cycle: with the plain idle slope 10.0
//     Mbit/s pass at a cycle of 125 us, 8.0 at 1 ms and 2.4 at 10 ms; with that
//     of the standard 24 (all that came), 24 and 10.7; with that of here 10.0, 11.2
//     (a credit below zero rises further) and 10.1. Until a schedule begins,
//     the greater slope of the two lists holds.
//   - cbs computes with the link speed that ethtool tells (10 Gbit/s on veth),
//     whatever rate the switch was configured with.
package dataplane
