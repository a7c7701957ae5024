// Package gptplog remembers what gPTP did, for people who look later: the
// offset of each domain over time, and the events beside it.
//
//	timing loop ── RelationChanged, each Sync ──> Log ──> History ──> tsnctl gptp plot
//	            ── Status, each second ─────────>     ──> Watch ────> tsnctl gptp watch
//	            ── Notice, as events ───────────>
//	trace of the timing machine ── Replay ──> Log
//
// For each domain it keeps the last 2400 Syncs (five minutes at 8 a second) and
// an hour of one sample a second, whose offset is the one farthest from zero
// within that second, so that no peak is lost. That is at most 240 kB for each
// domain. Of events it keeps the last 512, apart from those of other protocols.
//
// Samples are dated by the monotonic clock. When they are read, the wall clock
// of that moment is their reference: a step of the wall clock, which gPTP itself
// may cause, leaves no gap.
package gptplog
