// Package distbench compares carriers of Erlang distribution on the same
// machine in the same run: stock TCP, TCP with small buffers, distlink. It is a
// benchmark and has no code to import; `make bench-dist` runs it.
package distbench
