// Package pathplan schedules streams on the paths that they are reserved on:
// what a network of daemons knows on one side, qbv/schedule on the other.
//
//	links, streams with paths ──> New ──> Net ──> Planner ──> synth ──┐
//	Running: what is to stay ─────────────┘ │                         ▼
//	                                        └─ Prove <── schedule.Solution, anybody's
//	                                             │ verify, framesim
//	                                             ▼
//	              Plan: gate lists and windows by port, latencies, Running
//
// No schedule becomes a Plan that the independent verifier faults or of which
// a frame is late when it is played.
//
// Times are ns, sizes octets on the medium.
package pathplan
