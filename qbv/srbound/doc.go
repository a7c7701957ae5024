// Package srbound bounds the latency of credit-based classes (SR classes A and
// B, IEEE 802.1Q 8.6.8.2, 34 and annex L) through gates (8.6.8.4), by network
// calculus: what may have come, against what the port has sent at least.
//
//	octets
//	  │          ╱ arrivals: Burst + Rate*t
//	  │      ╱          ╱ service: idleSlope*(usable open time - wait)
//	  │  ╱      ┌──────╱
//	  │╱      ╱   gate shut
//	  └─────┴───────────────── t      latency: the longest way from left to right
//
// Usable is the time in which the gate of the class is open, less
//
//   - a maximum frame of the class before it closes: the next one may not fit;
//   - a frame of another class whose gate was open before, when it opens;
//   - what the classes above send then because they had to wait.
//
// wait is what idleSlope takes to pay for one frame of a class below, for the
// credit of the classes above and for a burst of control traffic. Credit
// stands still while the gate is shut, as in the standard; where it grows, as in
// software, frames are not later.
//
// The bound is for one port, from a frame's place in the queue until its last
// octet is sent. Out tells what the next port has to expect.
package srbound
