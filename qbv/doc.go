// Package qbv opens and closes the gates: the gate control model of IEEE
// 802.1Q (clauses 8.6.8.4 and 8.6.9, "Qbv"), the administrative state machine
// of each port, and one system's part in a change of all of them. Schedules
// of a network are found in qbv/synth and checked in qbv/verify; what comes
// here is gate control lists.
//
//	Stage, Commit, Abort, ┐                  ┌─> GatesChanged{port, whole list}
//	Restore, Clock (gPTP) ┤  Instance        ├─> VerifyGates{port}: read the kernel back
//	Applied, ReadBack ────┤  (tsn.Machine)   ├─> Result{request id, typed error}
//	tsn.LinkChanged ──────┘                  └─> tsn.Notice
//	                        Status(): Admin, Oper, ConfigPending, ConfigChangeTime ...
//
//	model.go    what a port can execute, and the check of a list against it
//	kernel.go   how software taprio differs from the standard, and the remedy
//	request.go  events, effects and refusals of the Instance
//	admin.go    the Instance: stage, commit, abort; listconfig.go each port's way
//	            from Admin to Oper, confirmed by reading the kernel back
//	trial.go    one system's part in a change of the whole network: two votes,
//	            and how everybody comes to the same end
package qbv
