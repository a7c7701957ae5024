package config

import (
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"tsnswitch"
)

// Kinds of nodes.
const (
	KindBridge = "bridge"
	KindHost   = "host"
)

// Network is a whole network. ParseNetwork returns it complete: every port
// number, identifier and address that the document left out is filled in, the
// same way every time.
type Network struct {
	Name    string       `yaml:"name,omitempty"`
	Nodes   []Node       `yaml:"nodes"`
	Links   []Link       `yaml:"links"`
	Fabric  Fabric       `yaml:"fabric"`
	Streams []StreamSpec `yaml:"streams,omitempty"`
	GPTP    NetworkGPTP  `yaml:"gptp"`
	QBV     NetworkQBV   `yaml:"qbv"`
	Lab     Lab          `yaml:"lab,omitempty"`
}

// Node is a bridge or a host. Defaults count bridges and hosts apart, from 1:
// the n-th bridge is 02:00:00:00:hh:ll, the n-th host 02:00:00:01:hh:ll.
type Node struct {
	Name      string   `yaml:"name"`
	Kind      string   `yaml:"kind"`
	SystemID  tsn.MAC  `yaml:"systemId,omitempty"` // of a host: its station address
	Priority  uint16   `yaml:"priority"`           // bridge priority
	Proc      Duration `yaml:"proc"`               // time from receipt to queue
	Queues    int      `yaml:"queues"`
	GateLimit int      `yaml:"gateLimit"`
	// Management is the node's address in the management network; Data and
	// Stream are a host's in the data and the stream VLAN.
	Management Addr `yaml:"management,omitempty"`
	Data       Addr `yaml:"data,omitempty"`
	Stream     Addr `yaml:"stream,omitempty"`
}

func (n *Node) setDefaults() {
	n.Kind, n.Priority, n.Proc, n.Queues, n.GateLimit = KindBridge, 0x8000, 5000, 8, 256
}

// Link joins two ports.
type Link struct {
	A      End      `yaml:"a"`
	B      End      `yaml:"b"`
	Rate   Rate     `yaml:"rate"`
	Prop   Duration `yaml:"prop"` // propagation time
	Metric uint32   `yaml:"metric"`
	// Of both ports, where they differ from the network's qbv.
	Queues    int   `yaml:"queues,omitempty"`
	Scheduled []int `yaml:"scheduled,omitempty,flow"`
	Guard     *Size `yaml:"guard,omitempty"`
}

func (l *Link) setDefaults() { l.Rate, l.Prop, l.Metric = Rate(tsn.Gbps), 100, 100 }

// String names the link by its ends: b1:1-b2:2.
func (l Link) String() string { return l.A.String() + "-" + l.B.String() }

// End is a port of a node, written b1:2; b1 alone takes the lowest free port.
type End struct {
	Node string
	Port tsn.Port
}

func (e End) String() string {
	if e.Port == tsn.NoPort {
		return e.Node
	}
	return e.Node + ":" + strconv.Itoa(int(e.Port))
}

// MarshalText writes what UnmarshalText reads.
func (e End) MarshalText() ([]byte, error) { return []byte(e.String()), nil }

// UnmarshalText parses node or node:port.
func (e *End) UnmarshalText(b []byte) error {
	node, port, has := strings.Cut(string(b), ":")
	*e = End{Node: node}
	if has {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n < 1 || n > 4095 {
			return fmt.Errorf("%q is not the end of a link: write node or node:port, with a port in 1..4095", b)
		}
		e.Port = tsn.Port(n)
	}
	return nil
}

// Fabric is what all bridges have in common.
type Fabric struct {
	Area          string    `yaml:"area,omitempty"`
	BaseVIDs      []BaseVID `yaml:"baseVids"` // default: the three below
	DataVID       tsn.VID   `yaml:"dataVid"`  // hosts' untagged frames
	StreamVID     tsn.VID   `yaml:"streamVid"`
	ManagementVID tsn.VID   `yaml:"managementVid"`
	// The networks addresses are taken from: the n-th bridge has the n-th
	// address, the n-th host the one n after the middle (management) or the
	// n-th (data, stream).
	DataNet       Prefix   `yaml:"dataNet"`
	StreamNet     Prefix   `yaml:"streamNet"`
	ManagementNet Prefix   `yaml:"managementNet"`
	HelloInterval Duration `yaml:"helloInterval"`
	Auth          Auth     `yaml:"auth,omitempty"` // spb.auth of every bridge
}

// Listeners are one host, written as a word, or several, written as a list.
type Listeners []string

// UnmarshalText takes one.
func (l *Listeners) UnmarshalText(b []byte) error {
	*l = Listeners{string(b)}
	return nil
}

func (l Listeners) String() string { return strings.Join(l, ",") }

// StreamSpec is a stream between hosts.
type StreamSpec struct {
	Name        string       `yaml:"name"`
	From        string       `yaml:"from"`
	To          Listeners    `yaml:"to,flow"`
	Every       Duration     `yaml:"every"`
	Size        Size         `yaml:"size"` // MSDU octets
	Frames      uint16       `yaml:"frames"`
	Within      Duration     `yaml:"within"` // default: every
	PCP         tsn.PCP      `yaml:"pcp"`
	VLAN        tsn.VID      `yaml:"vlan"`                  // default: fabric.streamVid
	Destination tsn.MAC      `yaml:"destination,omitempty"` // default: the listener, or of several a group
	ID          tsn.StreamID `yaml:"id,omitempty"`          // default: counted per talker, from 1
	// For plans.
	MinSize Size       `yaml:"minSize,omitempty"`      // of the shortest frame; default: size
	Jitter  Duration   `yaml:"jitter,omitempty"`       // by how much latency may vary; default: as within allows
	Release []Duration `yaml:"release,omitempty,flow"` // first and last time of the interval to start at
	Rank    int        `yaml:"rank,omitempty"`         // the higher number yields
}

func (s *StreamSpec) setDefaults() { s.Frames, s.PCP = 1, 6 }

// NetworkGPTP sets one grand master, and clocks that differ from it.
type NetworkGPTP struct {
	GrandMaster             string                `yaml:"grandMaster,omitempty"` // default: the first bridge
	NeighborPropDelayThresh Duration              `yaml:"neighborPropDelayThresh"`
	GateOffsetBound         Duration              `yaml:"gateOffsetBound"`
	SyncReceiptTimeout      int                   `yaml:"syncReceiptTimeout"`
	Clocks                  map[string]ClockError `yaml:"clocks,omitempty"`
}

// NetworkQBV is how schedules are planned, the same on every node.
type NetworkQBV struct {
	Jitter   Duration `yaml:"jitter"`   // added to both ends of each window
	LeadTime Duration `yaml:"leadTime"` // from stage to base time
	// Of plans only; a daemon has its own.
	SyncError   Duration       `yaml:"syncError"`      // largest difference of two clocks; added too
	Guard       Size           `yaml:"guard"`          // longest frame in the way of a window, on the medium
	Preemption  bool           `yaml:"preemption"`     // only what cannot be cut of it, but all of a control frame
	MaxSDU      []Size         `yaml:"maxSdu,flow"`    // longest frame of each queue of other traffic behind its Ethernet header; 0: any
	Isolation   string         `yaml:"isolation"`      // of streams in one queue: frame, order
	Software    bool           `yaml:"software"`       // ports run software taprio
	MinInterval Duration       `yaml:"minInterval"`    // of a gate entry; 0: one minimum frame
	MaxCycle    Duration       `yaml:"maxCycle"`       // of the network's cycle
	Queues      int            `yaml:"queues"`         // of each port
	Scheduled   []int          `yaml:"scheduled,flow"` // the queues that scheduled streams may use
	Control     NetworkControl `yaml:"control"`
}

// NetworkControl is a queue that has to be able to send a frame in every
// cycle.
type NetworkControl struct {
	Queue int  `yaml:"queue"`
	Size  Size `yaml:"size"` // on the medium; 0: there is none
}

// ClockError is how a node's clock starts.
type ClockError struct {
	Offset Duration `yaml:"offset"`
	PPM    float64  `yaml:"ppm"`
}

// Lab is for scenarios that run the network.
type Lab struct {
	LowerRate Rate   `yaml:"lowerRate,omitempty"` // to repeat a CPU-bound measurement at
	Cut       string `yaml:"cut,omitempty"`       // link to cut, by its nodes: b1-b2
}

// SyncError is what daemons plan with: a schedule that is planned from a file
// without another value holds for them.
const SyncError = 1000 // ns

func defaultNetwork() Network {
	net := func(s string) Prefix { return Prefix{netip.MustParsePrefix(s)} }
	return Network{
		Fabric: Fabric{
			DataVID: 100, StreamVID: 101, ManagementVID: 4001, HelloInterval: 1e9,
			DataNet: net("10.0.0.0/16"), StreamNet: net("10.1.0.0/16"), ManagementNet: net("10.255.0.0/16"),
		},
		GPTP: NetworkGPTP{GateOffsetBound: 1e6, SyncReceiptTimeout: 3},
		QBV: NetworkQBV{
			LeadTime: 2e9, SyncError: SyncError, Guard: tsn.MaxFrameOctets, Isolation: IsolateFrames, Software: true, MaxCycle: 1e9,
			Queues: tsn.NumClasses, Scheduled: []int{int(tsn.ClassScheduled)},
			Control: NetworkControl{Queue: int(tsn.ClassControl), Size: tsn.MaxFrameOctets},
		},
	}
}

// LoadNetwork reads and checks a file; the error is Errors unless the file
// cannot be read.
func LoadNetwork(file string) (*Network, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("network: %w", err)
	}
	return ParseNetwork(file, data)
}

// ParseNetwork checks a document; file is its name in errors.
func ParseNetwork(file string, data []byte) (*Network, error) {
	n := defaultNetwork()
	d, ok := decode(file, data, &n)
	if len(d.errs) == 0 { // filling in needs a document that makes sense
		n.resolve()
	}
	if ok {
		n.check(d)
	}
	if err := d.err(); err != nil {
		return nil, err
	}
	return &n, nil
}

// Validate checks a network that was made or changed by a program.
func (n *Network) Validate() error {
	d := &document{file: "network", lines: map[string]int{}}
	n.check(d)
	return d.err()
}

// Marshal returns YAML that ParseNetwork reads back to the same value.
func (n *Network) Marshal() ([]byte, error) { return yaml.Marshal(n) }

// Node returns the node of that name, or nil.
func (n *Network) Node(name string) *Node {
	for i := range n.Nodes {
		if n.Nodes[i].Name == name {
			return &n.Nodes[i]
		}
	}
	return nil
}

// CutLink returns the index in Links of lab.cut, -1 if there is none.
func (n *Network) CutLink() int {
	for i, l := range n.Links {
		if c := n.Lab.Cut; c != "" && (c == l.A.Node+"-"+l.B.Node || c == l.B.Node+"-"+l.A.Node || c == l.String()) {
			return i
		}
	}
	return -1
}

// TSNStreams returns the streams in the vocabulary's terms, which have one
// listener: of several the first.
func (n *Network) TSNStreams() []tsn.Stream {
	var out []tsn.Stream
	for _, s := range n.Streams {
		out = append(out, n.tsnStream(s))
	}
	return out
}

func (n *Network) tsnStream(s StreamSpec) tsn.Stream {
	t := tsn.Stream{
		ID: s.ID, Name: s.Name, DestinationAddress: s.Destination, VID: s.VLAN, PCP: s.PCP,
		Interval: int64(s.Every), MaxFrameSize: uint16(min(s.Size, 65535)), MaxIntervalFrames: s.Frames, MaxLatency: int64(s.Within),
	}
	if from := n.Node(s.From); from != nil {
		t.Talker = from.SystemID
	}
	if len(s.To) > 0 {
		if to := n.Node(s.To[0]); to != nil {
			t.Listener = to.SystemID
		}
	}
	return t
}
