// Package record writes the events of a machine to a file and steps a machine
// through such a file again. Machines read no clock and draw no random number
// of their own, so a machine built from the same configuration does the same
// again, effect by effect: the file is a bug report.
//
//	daemon loop ── Record(now, event) ──> bounded queue ──> trace, trace.1, trace.2 ...
//	trace ──> Replay ──> machine.Step(at, event) ──> func(at, event, effects)
//
// A trace is JSON lines. The first says what it is, every other is one event:
//
//	{"trace":1,"machine":"timing","part":0}
//	{"at":1000000,"event":"LinkChanged","data":{"Port":1,"Up":true,"Rate":1000000}}
//	{"at":1000250,"event":"Received","data":{"Port":1,"Frame":"0180c200000e...","Ingress":77,"Stamped":true}}
//
// Frames are in hexadecimal. Octet strings in events of the cores are as
// encoding/json has them, in base64.
//
// Recording never holds up or ends its caller. Events that find the queue
// full are counted and leave a gap line; a disk that fails ends the recording
// with one log line. Replay refuses to go over a gap, because what follows it
// would not be what happened.
package record
