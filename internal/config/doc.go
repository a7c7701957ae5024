// Package config turns two kinds of YAML document into checked Go values.
//
//	daemon.yaml ── ParseDaemon ──> Daemon     what one tsnswitchd runs with
//	lab.yaml ──── ParseNetwork ──> Network    what a whole network is: for the lab
//	                                  │       and for planning without daemons
//	                                  └── DaemonConfig(node) ──> Daemon, for each node
//
// The reader is strict: an unknown key, a value out of range, a key twice is an
// error with file, line, key and what is allowed; all of them are reported
// together. Absent means default, and every cap has one. Daemon and Network
// marshal to YAML that parses to the same value.
//
//	decode.go   YAML node -> Go value, by the yaml tags of the struct
//	units.go    20ms, 100M, 128B
//	daemon.go   the daemon's document; reference.yaml shows every key
//	gptp.go     its gptp section
//	network.go  the network's document; generate.go makes daemons of it
package config
