// Package format reads and writes the files of a network-wide schedule: bytes
// <-> qbv/schedule. It opens no file; file names in its arguments are for
// errors only.
//
//	ReadTopology, ReadStreams      tsnkit's pair of CSV files
//	WriteTopology, WriteStreams
//	WriteSolution, ReadSolution    qbv-solution/1, JSON
//
// # The CSV pair
//
//	link,q_num,rate,t_proc,t_prop               one direction of a link
//	"(0, 1)",8,1,2000,0                         rate in bit/ns, times in ns
//	stream,src,dst,size,period,deadline,jitter  octets on the medium, ns
//	0,8,[9],100,400000,400000,400000
//
// A first line names the columns, in any order. What may be left out: q_num
// (8), rate (1), t_proc and t_prop (0); stream (counted from 0), deadline (the
// period), jitter (no limit). The stream column may be called id. Columns that
// are not known are passed over if all known ones are there; else one of
// them may be mistyped, and it is an error.
//
// A node with more than one neighbour forwards. Of several queues all but
// queue 0 are for scheduled streams.
//
// # qbv-solution/1
//
//	{"format":"qbv-solution/1","instance":NAME,"cycle_ns":N,
//	 "streams":[{"id":0,"route":[[u,v],...],"starts":[ns,...],"queues":[q,...]},...],
//	 "gates":[{"link":[u,v],"cycle_ns":N,"entries":[{"mask":M,"interval_ns":T},...]},...]}
//
// starts[h] is when the instance released in [0, period) starts on link h of the
// route; it repeats every period. A stream that is not strictly periodic has, instead of
// starts and queues, "frames":[{"k":0,"starts":[ns,...],"queues":[q,...]},...], one per instance
// k of the hyperperiod, from its start. A route lists a tree's links, parent
// before child. Bit q of mask is queue q. A node that is called by a whole
// number is written as one, any other as a string; where two links go
// the same way, the first end is "node:port", the egress port.
//
// Streams of cyclic queuing and forwarding, if there are such, are in
//
//	"cyclic":{"cycle_ns":T,"windows":[{"link":[u,v],"queues":[q,q],"offset_ns":T,"length_ns":T},...],
//	          "streams":[{"id":0,"route":[[u,v],...],"start":N,"latency_ns":T,"best_ns":T},...]}
//
// where start counts cycles, and in no other place.
//
// Further members are ignored when read. Written are: "status" (complete or
// partial), "of" (number of streams asked for), "seed", "units", "mode", "moved" (running
// streams that are elsewhere now); with each stream "name",
// and if they are known "latency_ns" and "jitter_ns" (worst cases); with gates "base_ns" and "max_sdu"
// (octets for each queue, 0: no limit); and "unscheduled":
// [{"id":7,"link":[u,v],"blocking":[ids],"reason":TEXT,"remedy":TEXT},...].
package format
