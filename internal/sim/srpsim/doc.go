// Package srpsim puts MSRP on trial: bridges that run nothing else and end
// stations, hundreds of them, in virtual time, while links, bridges and stations
// misbehave; and a judge that knows what there is to find.
//
//	Config (seed, topology) ──> Network: links, bridges (srp.Instance), stations (mrp.Participant)
//	                                │ frames, lost and doubled        ▲ trees or blocked ports,
//	faults ────────────────────────>│                                 │ some milliseconds late
//	                                ▼
//	        at every step of a bridge: what is reserved on a port is within its limit
//	        once all is quiet: CheckSettled, from the stations' wishes and the topology alone
//
//	topology.go  rings, grids, trees and random networks; links
//	network.go   the event loop, frames, steps of nodes
//	station.go   an end station: talks, listens, babbles
//	paths.go     which way declarations go: shortest path trees, or one spanning tree
//	faults.go    what goes wrong
//	limits.go    the check at every step
//	settled.go   the check at the end
//
// What is real: the MSRP bridge and its frames. What is modelled: SPB's or a
// spanning tree protocol's answer to a topology, which reaches each bridge at a
// time of its own, and end stations, whose MRP is this project's.
//
// # What is checked
//
// After every step: no port has reserved more than it may, and none that is down
// has anything; what is told as idle slopes is the sum of the streams' bandwidths.
//
// CheckSettled: each listener of a stream that is talked about, and that the
// topology lets it reach, either hears it advertised, says Ready and has it
// reserved on each port of the one path, or hears it failed with a code and a bridge
// of the path, for which the judge finds the reason itself: a stream that would
// fit beside those that are held has not failed for want of bandwidth. Nothing is
// reserved or declared anywhere else, and each talker is answered by what all
// listeners together come to.
//
// The same seed gives the same frames at the same times: Hash.
package srpsim
