// Package verify checks a schedule against its problem (IEEE 802.1Q clauses
// 8.6.8.4 and 8.6.9), whoever made it. It shares the types of qbv/schedule with
// schedulers and no code: it writes out every transmission of the hyperperiod
// and looks at what the frames and the gates do.
//
//	Problem, Solution ──> placement.go  bursts: who sends what, where, when
//	                        │  cyclic.go   the windows that cyclic streams share
//	                        │  windows.go  overlap, isolation, order of arrival
//	                        │  lists.go    each list alone: shape, limits, control
//	                        │  gates.go    lists against windows, guard bands
//	                        │  early.go    frames that may leave before their window
//	                        └─> Report     faults, warnings, bounds of each stream
//
// # What is proven
//
// A clock is wrong by at most SyncError against any other; a talker hands a
// frame to its port no earlier than its window opens and no later than Jitter
// after its planned start, by its own clock; a bridge holds a frame back no longer
// than Jitter after its planned start there, by its own clock; a talker may be
// silent, or send some of its frames only. Then, if there
// is no fault, every frame leaves each port within its window or, where
// only frames of the same queue are ahead of it (InOrder), before; it is at each
// listener within the reported bound; and frames of one queue never pass each other.
//
// # Faults and warnings
//
// A fault is a promise that does not hold:
//
//   - stream: a stream is unknown, there twice, or neither placed nor listed as unplaced
//   - cycle: the cycle holds no whole number of a stream's periods, or is too long
//   - route: no tree from the talker to exactly the listeners, or none of Stream.Routes
//   - placement: starts or queues are not parallel to the route, instances are
//     not 0, 1, 2 ..., a time is out of range
//   - queue: not one of Link.Scheduled
//   - release: the first start is outside the release window or the period
//   - causality: a frame leaves before it is there
//   - deadline, jitter: Stream.Deadline or Stream.Jitter, for the worst case
//   - overlap: two windows on a link
//   - isolation: two streams in one queue at a time (IsolateFrames)
//   - order: frames of one queue arrive in an order that is not that of their windows
//   - gates: a window without its gate; a queue of other traffic open in a
//     window; a gate that lets a waiting frame go; a frame longer than its queue's max-SDU
//   - guard: a queue of other traffic open within its guard before a window
//   - control: no room for the control frame
//   - list: a gate control list that its port cannot execute; two lists, or
//     none at a bridge although other ports have one; what Software forbids
//   - size: more transmissions or gate entries than are looked at
//
// Cyclic streams keep the rules of the same names: causality is that frames come
// in the cycle in which they were sent, overlap that a window holds what its fullest cycle
// sends, deadline also that no bound is claimed that is too low.
//
// A warning breaks no promise: no gates at all (starts alone are checked, as
// if every port sent by them), no list at an end station, another scheduled
// queue open in a window while nothing is in it, a cycle that is a multiple of
// the hyperperiod, frames that may leave before their window behind others of
// their queue. Gates that are open longer than they need are neither, unless a
// frame or other traffic makes use of it.
package verify
