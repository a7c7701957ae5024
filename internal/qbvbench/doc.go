// Package qbvbench measures the scheduler: alone, against a plain no-wait first
// fit, and against those methods of tsnkit that need no licence, on the same
// problems (qbv/instances), all output checked by qbv/verify.
//
//	make bench-qbv [TSNKIT=dir] [BUDGET=150s] [SETS=A,B,C,X] [ONLY=B-ring-9-40-1,...] [PEERS=dt,ls,ls_tb,smt_wa,smt_pr]
//
// TSNKIT is a checkout with tsnkit/ in it; its methods want python3 with
// networkx, pandas, numpy and z3. BUDGET is CPU time for each method and
// problem; a method is not asked about problems beyond the size at which it is
// known to be hopeless.
//
// A schedule counts as found if it is valid: with the deadline as qbv/schedule
// has it, or, in the second figure, counting the last link's processing too.
// Not counted as found, but told, is what is right but for isolation ("loose"):
// tsnkit's methods that let frames wait take a queue as free when a frame
// begins to leave it.
//
// Times are CPU, without loading the problem and without making gate control
// lists; ours have the choice of routes in them, which theirs, but for ls, do not.
// What our lists take is told in a line of its own.
package qbvbench
