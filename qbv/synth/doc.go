// Package synth finds schedules: routes, transmission times, queues and gate
// control lists for the streams of a schedule.Problem (IEEE 802.1Q clauses
// 8.6.8.4 and 8.6.9).
//
//	New ──> construct ──> search ──> repair ──> Solution
//	        routes.go     search.go   lists.go   spread.go, explain.go
//	        place.go      eject.go       │
//	        wait.go       instances.go   └──> construct, with limits to some links
//	Resume ──> Add, Remove: incremental.go
//
// # What is free
//
// A stream repeats with its period, so two of them meet on a link modulo the
// greatest common divisor g of their periods. For each link, and each queue in
// which frames can be while its gate is shut, there is for each period that
// asks, and each g, the sorted busy time modulo g (gaps.go). A place is found
// by going from one busy time's end to the next; that does not cost more the
// more streams there are, only the more scattered they are.
//
// # Construction
//
// Streams are placed one by one, in a few orders: at the first start at which
// nothing waits, on the cheapest tree under the load and then on others; with
// waiting where that fails. Waiting is searched hop by hop: a free time of the
// link and one of a queue leave an interval for the start, and all intervals so
// far bound the latency (wait.go).
//
// # Search
//
// A stream without a place takes that of the lightest others, which are placed
// anew; each such move makes a stream heavier. In between streams swap, are put
// anywhere, and the best schedule is shaken. Only when that has failed for
// long is each period of a stream placed for itself, and, last of all, is the
// deadline held without the ProcessingDelay of the last link. Of
// two schedules the better one leaves out fewer streams, of higher ranks first;
// then it has fewer that are late in that sense; then fewer that are not strictly
// periodic.
//
// # Units
//
// Work is counted in units, comparisons and steps, of some ns each. No clock is
// read, and the only randomness is that of Options.Seed: the same problem,
// options and units give the same schedule.
//
// With InOrder, too, streams are kept apart in queues as with IsolateFrames,
// which is one way to be in order.
package synth
