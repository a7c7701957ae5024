package tsn

// Machine is a protocol core: a state machine that reads no clock, opens no
// socket, starts no goroutine and logs nothing. The daemon drives it with
// real time, the simulator with virtual time, a fuzzer with nonsense.
//
// Rules that make a run repeat byte for byte:
//   - every state change happens inside Step;
//   - now never goes backwards;
//   - randomness comes from a seed given at construction;
//   - no map order reaches an effect;
//   - frames given to Step belong to the machine, frames in effects to the driver.
type Machine interface {
	// Step handles one event. The returned slice is valid until the next
	// Step. An event of a type the machine does not know is ignored.
	Step(now Instant, ev Event) []Effect
	// Deadline says when to Step(Timeout{}); Never if nothing is waited for.
	// A call before the deadline is harmless, a late one is only late.
	Deadline() Instant
}

// Event is an input of a Machine. The types here are common to all cores;
// each core adds its own, documented beside its Step.
type Event any

// Effect is an output of a Machine.
type Effect any

// Timeout tells a machine that its deadline may have passed.
type Timeout struct{}

// Received is a whole Ethernet frame (from destination address, without FCS)
// that arrived on a port. Ingress is meaningful only if Stamped.
type Received struct {
	Port    Port
	Frame   []byte
	Ingress LocalTime
	Stamped bool
}

// Sent answers a Send that had a Tag: the frame left at Egress, or, if not
// Stamped, it left (or was dropped) and no time stamp will come.
type Sent struct {
	Port    Port
	Tag     uint64
	Egress  LocalTime
	Stamped bool
}

// LinkChanged tells the carrier state and rate of a port. Machines start with
// every port down.
type LinkChanged struct {
	Port Port
	Up   bool
	Rate Rate
}

// Send asks the driver to transmit Frame on Port with the given priority. A
// non-zero Tag asks for a Sent event with the egress time; tags of one
// machine are unique.
type Send struct {
	Port     Port
	Frame    []byte
	Priority PCP
	Tag      uint64
}

// Notice is an occurrence worth a log line and a counter: nothing a machine
// depends on. Kind is a closed set per core, in kebab-case; Port may be NoPort.
// Domain is that of a gPTP occurrence.
type Notice struct {
	Kind   string
	Port   Port
	Detail string
	Domain uint8
}
