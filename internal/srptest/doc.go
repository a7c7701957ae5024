// Package srptest puts the switch's SRP beside end stations on real links: a
// scripted Station of its own, PipeWire's AVB module, and the kernel's MVRP.
//
//	namespace           namespace                namespace
//	  Station ──veth── tsnswitchd, or ──veth── pipewire, a VLAN device,
//	                   a bare srp core          or another Station
//
// The rest are tests. One is skipped, with the name of what is missing and the
// package that brings it, where it cannot run.
package srptest
