// Package gptptest puts tsnswitchd beside other implementations of IEEE
// 802.1AS on real links: linuxptp's ptp4l and pmc, and tshark's dissector. It
// is tests and benchmarks only; it has no code to import.
//
//	namespace      namespace       namespace
//	  ptp4l ──veth── tsnswitchd ──veth── ptp4l      processes as they are installed
//	    │      │          │         │      │
//	   pmc   capture     API     capture  pmc       what the tests read
//
// All namespaces share the clock of the kernel, and ptp4l runs without the
// right to touch it: the true offset of two nodes is 0, or the difference of
// the affine maps of their virtual clocks. Whatever else a node finds is its
// error.
//
// A test is skipped, with the name of what is missing, without root, ptp4l,
// pmc or tshark.
package gptptest
