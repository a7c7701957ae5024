// Package schedule is the vocabulary of a network-wide schedule (IEEE 802.1Q
// clauses 8.6.8.4, 8.6.9 and annex S): a Problem, and a Solution of it. It
// holds data and what makes data well-formed, and no algorithm: whoever finds
// a Solution and whoever checks one have nothing but these types in common.
//
//	Problem ──> qbv/synth ──> placements ──> qbv/gatelist ──> Solution
//	   │                                                        │
//	   └────────────> qbv/verify, qbv/framesim <────────────────┘
//	qbv/format: Problem and Solution as files
//
// Times are ns from the schedule's common base, sizes octets on the medium
// (preamble, FCS and gap included where there is a medium).
//
// # What happens to a frame
//
// On a link a frame takes tx = ceil(8*size/rate). A frame that starts at t may
// start on the next link at t + tx + PropagationDelay + ProcessingDelay, which
// is when it is in that port's queue. The ProcessingDelay of the last link
// does not count towards the latency, which is
//
//	start + tx + PropagationDelay on the last link - start on the first
//
// The frames of one period follow each other: frame i starts on a link at
// Start + i*pace, where pace is the longest tx on the way up to and including
// that link.
//
// # Margins
//
// margin = SyncError + Jitter. The gate window of a transmission planned for
// start..end is start-margin .. end+margin, because a port's clock may be
// wrong by SyncError and its transmission late or early by Jitter. So a frame
// is in the next queue up to
//
//	early = margin + SyncError + (tx of Size - tx of MinSize, summed from the talker on)
//
// before its planned time there. Deadlines hold for the worst case: 2*margin
// is added to the latency.
//
// # Rules
//
//   - Windows on one link do not overlap, whatever their queues.
//   - A frame resides in its queue from its earliest arrival (on the first link:
//     from when its window opens) until its window closes, or, without margins, until the last frame
//     of its period begins to leave. With IsolateFrames the residences of
//     two streams in one queue do not overlap; with InOrder they may, but then the frames
//     leave in the order of arrival, whatever the margins do.
//   - In a window only the gate of its queue is open; gates outside
//     Link.Scheduled are closed already for the time of their Guard before it.
//   - The gate of a queue is closed while a frame waits in it for a later window.
//
// # Cyclic queuing and forwarding
//
// Streams that need only bounds may share windows (802.1Q annex T, "Qch").
// Cycle n lasts from n*CycleTime to (n+1)*CycleTime. Each link has a pair of
// queues and one window a cycle; in cycle n it sends from Queues[n%2] what came
// in cycle n-1, and what comes in cycle n goes to the other. A window keeps
//
//	Offset >= SyncError - PropagationDelay            nothing comes a cycle early
//	Offset + Length + PropagationDelay + ProcessingDelay + SyncError <= CycleTime
//	Length >= 2*margin + tx of all frames that its link sends in any one cycle
//
// and is a window like any other: none overlaps it, only its gate is open in it,
// with a guard band before. With d links before the last, a latency is within
// (d-1)*CycleTime and (d+1)*CycleTime; the windows tell more exactly:
//
//	worst  d*CycleTime + end of the last window + PropagationDelay + SyncError - Offset of the first
//	best   d*CycleTime + Offset of the last + PropagationDelay - SyncError - end of the first
//	       + tx of the frames on the last link and on the first
package schedule
