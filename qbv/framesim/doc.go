// Package framesim plays a schedule frame by frame: store-and-forward bridges
// with the gates as listed (IEEE 802.1Q clause 8.6.8.4), against talkers,
// clocks and other traffic that do their worst within what the problem allows.
//
//	Problem, Solution ──> model.go    streams, ports; what cannot be simulated
//	                        │  gates.go    a list as openings of each gate
//	                        │  adverse.go  one round's clocks, talkers and sizes
//	                        │  run.go      events: a frame is in a queue, a port looks again
//	                        │  port.go     which frame goes, what is in its way
//	                        └─> Result     worst latencies, late and lost frames, fill of queues
//
// A port sends the first frame of the highest queue whose gate is open and
// stays open until the frame has ended (a Software port: until the end of the gate
// entry). A frame is in the next queue when it has been received, has crossed
// the medium and has been processed. A port without a list sends each frame
// when its window opens, or later if it is not there.
//
// Every queue outside Link.Scheduled of a port with a list always has frames.
// They are not events: when a scheduled frame is about to go, the port
// finds the worst frame that could have begun before. Where there is a guard
// band that frame is as long as its queue's guard and does not care whether its gate closes;
// and there, too, frames of maximum size go if they end before their gate closes.
//
// In each round the clock of every node is wrong by 0..SyncError; the first rounds are the
// corners at which latencies and arrivals are extreme. A talker hands over a
// frame between the opening of its window and Jitter after its planned
// start. A bridge may hold a frame back until Jitter after its planned start
// there. Frames have MinSize..Size octets. In some rounds some talkers are silent for a period.
package framesim
