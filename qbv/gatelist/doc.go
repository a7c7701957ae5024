// Package gatelist turns the placements of a schedule into gate control lists
// (802.1Q 8.6.8.4), by the rules of qbv/schedule.
//
//	placements ──> windows of each link ──> cells of its cycle ──> entries
//	               window.go                cell.go    │ fit.go     list.go
//	                                                   └ only if the exact list
//	                                                     breaks a limit
//
// The exact list opens a scheduled queue in its windows and at no other time,
// and all other queues whenever no window and no guard band forbids it:
//
//	        ┌─window─┐┌─window─┐            scheduled queues
//	──open──┐ guard              ┌──open──  the others, control among them
//
// Where it has too many entries or one that is too short, fit merges and
// stretches entries at the least loss of others' time. A scheduled gate is then
// open longer than its windows, but only while no frame is in its queue.
//
// What the entries do not suffice for, other queues may: see Requeue.
//
// Times are ns, sizes octets on the medium.
package gatelist
