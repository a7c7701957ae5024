// Package cqf schedules streams that need only bounds, by cyclic queuing and
// forwarding (IEEE 802.1Q annex T, "Qch"): no frame has a time of its own, each
// has a cycle.
//
//	         cycle 0    1        2        3
//	link 0   ▐██▌    ▐█▌      ▐██▌     ▐█▌        two queues take turns: one
//	link 1            ▐██▌     ▐█▌      ▐██▌      sends what came in the cycle
//	link 2                     ▐██▌     ▐█▌       before, the other collects
//
// Solve chooses the cycle time, the route of each stream, and the cycle of its
// period in which its talker sends (so that the load is spread), all so that
// the frames of any cycle fit the window of each link. What is open and shut
// when is told in qbv/schedule, "Cyclic queuing and forwarding".
//
// A bridge has to put a frame into the queue that collects in the cycle in which
// the frame comes: that takes a stream gate with an internal priority (802.1Q
// 8.6.5.4, annex T.3).
package cqf
