// Package txtime gives frames a launch time: the moment, in CLOCK_TAI, at which
// each leaves (SO_TXTIME). The kernel's etf keeps them until then, where the
// port has one for the class (tsn.LaunchTime); nothing else in the kernel does,
// so QueueOf looks first. What etf could not send in time comes back by the
// socket's error queue (Reports).
//
//	queue, err := txtime.QueueOf("p1", 6)   // err: why there is none
//	err = txtime.Enable(fd, queue.Deadline)
//	unix.Sendmsg(fd, frame, txtime.Control(at), nil, 0)
//	reports, err := txtime.Reports(fd)
//
// A software etf hands the frame to the device delta before its launch time; a
// device that launches frames itself then waits for it. Under taprio the launch
// time must lie in a window of the frame's class, or the frame is dropped
// without a report.
//
// Slots lays launch times into windows. It is pure; all else talks to the kernel.
package txtime
