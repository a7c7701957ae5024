package config

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"os"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"

	"tsnswitch"
)

// Roles of a daemon.
const (
	RoleBridge     = "bridge"
	RoleEndStation = "end-station"
	RoleClock      = "clock" // gPTP on plain interfaces, and nothing else
)

// APIPort and MetricsPort are the TCP ports used when none is given.
const (
	APIPort     = 9465
	MetricsPort = 9464
)

// Daemon is what one tsnswitchd runs with. ParseDaemon returns it complete:
// defaults that depend on other keys are filled in.
type Daemon struct {
	Role string `yaml:"role"` // RoleBridge, RoleEndStation, RoleClock
	Name string `yaml:"name"`
	// SystemID may be zero in RoleClock and without SPB: the address of the first
	// interface.
	SystemID   tsn.MAC    `yaml:"systemId"`
	Bridge     Bridge     `yaml:"bridge,omitempty"` // of RoleBridge
	StateDir   string     `yaml:"stateDir"`
	API        API        `yaml:"api"`
	Metrics    Metrics    `yaml:"metrics"`
	Log        Log        `yaml:"log"`
	Management Management `yaml:"management,omitempty"`
	Ports      []Port     `yaml:"ports"`
	SPB        SPB        `yaml:"spb"`
	GPTP       GPTP       `yaml:"gptp"`
	QBV        QBV        `yaml:"qbv"`
	SRP        SRP        `yaml:"srp"`
	EndStation EndStation `yaml:"endStation,omitempty"` // of RoleEndStation
	Erlang     Erlang     `yaml:"erlang,omitempty"`
}

// Bridge is the kernel's bridge device.
type Bridge struct {
	Name   string `yaml:"name,omitempty"`
	Create bool   `yaml:"create,omitempty"` // make it if it is missing
	// AssumeMissing are features that ports are taken to lack: what a lesser
	// switch chip leads to can be tried on any.
	AssumeMissing []string `yaml:"assumeMissing,omitempty,flow"`
}

// API says where calls are taken. Listen is for other daemons and needs TLS.
type API struct {
	Socket string   `yaml:"socket"`
	Listen AddrPort `yaml:"listen,omitempty"`
	TLS    TLS      `yaml:"tls,omitempty"`
}

// TLS names PEM files; all three or none.
type TLS struct {
	Cert string `yaml:"cert,omitempty"`
	Key  string `yaml:"key,omitempty"`
	CA   string `yaml:"ca,omitempty"`
}

// Metrics is where Prometheus reads.
type Metrics struct {
	Listen AddrPort `yaml:"listen,omitempty"`
}

// Log is what is logged, to standard error.
type Log struct {
	Level  string `yaml:"level"`  // debug, info, warn, error
	Format string `yaml:"format"` // text, json
}

// Management is how the node is reached in-band: Address on VLAN VID.
type Management struct {
	VID     tsn.VID `yaml:"vid,omitempty"`
	Address Prefix  `yaml:"address,omitempty"`
	Device  string  `yaml:"device,omitempty"` // the VLAN device to make
}

// Port is a port of the bridge, or the end station's only one.
type Port struct {
	Port   tsn.Port `yaml:"port"`
	Ifname string   `yaml:"ifname"`
	Role   string   `yaml:"role"`           // fabric, edge, end-station, clock
	Rate   Rate     `yaml:"rate,omitempty"` // 0: what the link says
	Metric uint32   `yaml:"metric"`
	// Queues is how many transmit queues the interface must have; 0: one for each
	// traffic class.
	Queues int `yaml:"queues,omitempty"`
	// GateLimit is how many entries a gate control list may have.
	GateLimit int `yaml:"gateLimit"`
	// Offload is who runs the gates; "": as QBV says. See OffloadOf.
	Offload string `yaml:"offload,omitempty"`
	// LaunchDelta is how long before its launch time a frame leaves the kernel's
	// queue under txtime-assist; 0: 500 us.
	LaunchDelta Duration `yaml:"launchDelta,omitempty"`
	// Launch is nil where frames leave as they come.
	Launch *Launch `yaml:"launch,omitempty"`
	// MaxSDU is, from class 0 on, the largest frame in octets behind its Ethernet
	// header; 0: any.
	MaxSDU []Size `yaml:"maxSdu,omitempty,flow"`
	// Preemption is nil where the device is left as it is.
	Preemption *Preemption `yaml:"preemption,omitempty"`
	// PVID is the VLAN of untagged frames (0: they are dropped); Untagged
	// says that its frames leave without tag. Tagged are further VLANs of an
	// edge port, nil for every Base VID; fabric ports carry them all.
	PVID     tsn.VID   `yaml:"pvid,omitempty"`
	Untagged bool      `yaml:"untagged,omitempty"`
	Tagged   []tsn.VID `yaml:"tagged,omitempty,flow"`
	// Locked is the ingress check; nil means yes on fabric ports.
	Locked                  *bool    `yaml:"locked,omitempty"`
	NeighborPropDelayThresh Duration `yaml:"neighborPropDelayThresh"` // 0: see GPTP
	GPTP                    PortGPTP `yaml:"gptp"`
	Echo                    Echo     `yaml:"echo,omitempty"`
	// Learn makes stations behind an edge port known to the fabric by the frames
	// they send; nil means yes where none is configured and the port is not locked.
	Learn *bool `yaml:"learn,omitempty"`
	// Guard looks for a loop behind an edge port; nil means yes.
	Guard    *bool     `yaml:"guard,omitempty"`
	MVRP     PortMVRP  `yaml:"mvrp,omitempty"`
	MMRP     PortMMRP  `yaml:"mmrp,omitempty"`
	Stations []Station `yaml:"stations,omitempty"`
}

// Echo is fast echo on a fabric port; see spb.EchoConfig.
type Echo struct {
	Interval   Duration `yaml:"interval"`             // 0: none
	Multiplier uint8    `yaml:"multiplier,omitempty"` // 0: 3
}

// PortRole returns the vocabulary's value.
func (p Port) PortRole() tsn.PortRole {
	switch p.Role {
	case "fabric":
		return tsn.RoleFabric
	case RoleEndStation:
		return tsn.RoleEndStation
	}
	return tsn.RoleEdge
}

// IsLocked reports whether the ingress check is wanted.
func (p Port) IsLocked() bool {
	if p.Locked == nil {
		return p.Role == "fabric"
	}
	return *p.Locked
}

// Learns reports whether stations are found by the frames they send.
func (p Port) Learns() bool {
	if p.Learn == nil {
		return p.Role == "edge" && len(p.Stations) == 0 && !p.IsLocked()
	}
	return *p.Learn
}

// IsGuarded reports whether a loop behind the port is looked for.
func (p Port) IsGuarded() bool { return p.Guard == nil || *p.Guard }

func (p *Port) setDefaults() {
	p.Metric, p.GateLimit = 100, 256
	p.GPTP.Enabled = true
}

// Station is an end station behind an edge port; Address is where its own
// daemon answers, if it has one.
type Station struct {
	MAC     tsn.MAC `yaml:"mac"`
	Name    string  `yaml:"name,omitempty"`
	Address Addr    `yaml:"address,omitempty"`
}

// SPB is IS-IS-SPB (802.1aq).
type SPB struct {
	// Enabled false: the bridge forwards as the kernel's own settings say, or
	// there is none.
	Enabled         bool      `yaml:"enabled"`
	Priority        uint16    `yaml:"priority"`       // bridge priority; lower wins ties
	Area            string    `yaml:"area,omitempty"` // see AreaAddresses
	Areas           []string  `yaml:"areas,omitempty,flow"`
	BaseVIDs        []BaseVID `yaml:"baseVids,omitempty"`
	HelloInterval   Duration  `yaml:"helloInterval"`
	HelloMultiplier int       `yaml:"helloMultiplier"`
	MaxNodes        int       `yaml:"maxNodes"`
	// Strict says whether unicast entries wait for the neighbours' agreement, as
	// group entries do: auto, on, off.
	Strict string `yaml:"strict"`
	// NeighbourProxy answers hosts' ARP and neighbour solicitations for stations
	// elsewhere: off, on, or auto, where a fabric port has no ingress check and
	// broadcast therefore does not cross it.
	NeighbourProxy string `yaml:"neighbourProxy"`
	// Overload keeps others from sending through this bridge.
	Overload        bool     `yaml:"overload"`
	OverloadReason  string   `yaml:"overloadReason,omitempty"`
	OverloadOnStart Duration `yaml:"overloadOnStart"`
	// SuppressOnStart is how long at most neighbours hold the links of a bridge
	// back that starts from nothing, until it knows the fabric; 0: not at all.
	SuppressOnStart Duration `yaml:"suppressOnStart"`
	// RestartTime is how long neighbours keep the links of a daemon that was
	// stopped, so that it can start again unnoticed; 0: the holding time.
	RestartTime Duration `yaml:"restartTime"`
	// HelloPadding fills hellos up to the largest frame until the neighbour is
	// up: a link with a smaller MTU does not come up.
	HelloPadding bool `yaml:"helloPadding"`
	// CompatIPv4 forms adjacencies with neighbours that speak IS-IS for IP only,
	// to look at them; such a link carries nothing.
	CompatIPv4 bool       `yaml:"compatIPv4"`
	SPSourceID SPSourceID `yaml:"spSourceId"` // 0: automatic
	Services   []Service  `yaml:"services,omitempty"`
	EdgeGuard  EdgeGuard  `yaml:"edgeGuard"`
	Auth       Auth       `yaml:"auth,omitempty"`
}

// Service attaches the bridge to a backbone service; see spb.Service.
type Service struct {
	ISID     uint32     `yaml:"isid"`
	VID      tsn.VID    `yaml:"vid"`
	Transmit bool       `yaml:"transmit"`
	Receive  bool       `yaml:"receive"`
	Ports    []tsn.Port `yaml:"ports,omitempty,flow"`
}

func (s *Service) setDefaults() { s.Transmit, s.Receive = true, true }

// EdgeGuard finds edge ports that share a LAN; see spb.EdgeGuardConfig.
type EdgeGuard struct {
	Interval      Duration `yaml:"interval"`
	FastInterval  Duration `yaml:"fastInterval"`
	ListenProbes  int      `yaml:"listenProbes"`
	HoldIntervals int      `yaml:"holdIntervals"`
	FabricID      uint32   `yaml:"fabricId"`
}

// AreaAddresses returns the octets of Area and Areas; none means the default,
// the 13 zero octets of an IS-IS that serves SPB alone (RFC 6329 section 9).
func (s SPB) AreaAddresses() [][]byte {
	var out [][]byte
	for _, a := range append([]string{s.Area}, s.Areas...) {
		if b, err := hex.DecodeString(strings.ReplaceAll(a, ".", "")); err == nil && len(b) > 0 {
			out = append(out, b)
		}
	}
	return out
}

// BaseVID is a VLAN and the ECT algorithm (00-80-C2-<ect>) of its trees: 1 to
// 16, or 0 for one spanning tree. Left out it is 1.
type BaseVID struct {
	VID tsn.VID `yaml:"vid"`
	ECT uint8   `yaml:"ect"`
}

func (b *BaseVID) setDefaults() { b.ECT = 1 }

// QBV is gates and their planning.
type QBV struct {
	// Classes is how many traffic classes ports have: 5, or 4, of which one is both
	// SR classes'.
	Classes     int      `yaml:"classes"`
	GuardOctets Size     `yaml:"guardOctets"` // of the largest frame kept out of windows
	Jitter      Duration `yaml:"jitter"`      // added to both ends of each window
	MinInterval Duration `yaml:"minInterval"` // of a gate entry; 0: one minimum frame
	MaxCycle    Duration `yaml:"maxCycle"`
	Offload     string   `yaml:"offload"`  // none, txtime-assist, full: of ports that do not say
	LeadTime    Duration `yaml:"leadTime"` // from stage to base time
	// Filters is what edge ports keep of streams that come in: see FilterOff.
	Filters string `yaml:"filters,omitempty"` // "": see FilterMode
	// FilterBurst is what a talker may save up of its reservation.
	FilterBurst Duration `yaml:"filterBurst"`
	// FilterMargin is by how much a stream's window is wider for the gate it
	// comes in by, at both ends.
	FilterMargin Duration `yaml:"filterMargin"`
}

// Shares are percents of a port's rate that streams may reserve.
type Shares struct {
	SR        int `yaml:"sr"`            // deltaBandwidth of SR class A (802.1Q 34.3.1)
	SRB       int `yaml:"srB,omitempty"` // of class B, beside what A leaves
	Scheduled int `yaml:"scheduled"`
	Total     int `yaml:"total"`
}

// EndStation is what only an end station needs: the daemons it may call.
type EndStation struct {
	Peers []NamedAddr `yaml:"peers,omitempty"`
}

// NamedAddr is a node and its management address.
type NamedAddr struct {
	Name    string `yaml:"name"`
	Address Addr   `yaml:"address"`
}

// DefaultDaemon is a daemon of which only the required keys are missing.
func DefaultDaemon() Daemon {
	return Daemon{
		StateDir: "/var/lib/tsnswitchd",
		API:      API{Socket: "/run/tsnswitchd/tsnswitchd.sock"},
		Metrics:  Metrics{AddrPort{netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), MetricsPort)}},
		Log:      Log{Level: "info", Format: "text"},
		SPB: SPB{
			Enabled: true, Priority: 0x8000, HelloInterval: 1e9, HelloMultiplier: 3, MaxNodes: 1024, Strict: "auto", NeighbourProxy: "auto",
			EdgeGuard: EdgeGuard{Interval: 1e9, FastInterval: 50e6, ListenProbes: 3, HoldIntervals: 3},
		},
		GPTP: GPTP{
			Enabled: true, Priority1: 246, Priority2: 248, ClockClass: 248, ClockAccuracy: 0xfe, TimeSource: 0xa0,
			SyncInterval: 125e6, AnnounceInterval: 1e9, PdelayInterval: 1e9,
			SyncReceiptTimeout: 3, AnnounceReceiptTimeout: 3, AllowedLostResponses: 9, AllowedFaults: 9,
			Clock: Clock{Kind: "virtual"}, GateOffsetBound: 1e6,
		},
		QBV: QBV{GuardOctets: 1542, MaxCycle: 1e9, Classes: tsn.NumClasses, Offload: "none", LeadTime: 2e9, FilterBurst: 2e6, FilterMargin: 250e3},
		SRP: SRP{Timers: MRPTimers{Profile: "standard"}, MaxStreams: 512, MaxGroups: 512, MaxOwners: 64, MaxVLANs: 64, MaxMMRPGroups: 256, Shares: Shares{SR: 75, Scheduled: 75, Total: 75}},
	}
}

// LoadDaemon reads and checks a file and the secrets it names; the error is
// Errors unless the file cannot be read.
func LoadDaemon(file string) (*Daemon, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	return parseDaemon(file, data, true)
}

// ParseDaemon checks a document; file is its name in errors. It opens no file:
// secrets in files stay there.
func ParseDaemon(file string, data []byte) (*Daemon, error) { return parseDaemon(file, data, false) }

func parseDaemon(file string, data []byte, secrets bool) (*Daemon, error) {
	c := DefaultDaemon()
	d, ok := decode(file, data, &c)
	if ok {
		c.resolve()
		c.check(d)
		if secrets {
			c.SPB.Auth.readSecrets(d)
			c.Erlang.readSecrets(d)
		}
	}
	if err := d.err(); err != nil {
		return nil, err
	}
	return &c, nil
}

// HasFabric reports whether the daemon runs a bridge under SPB.
func (c *Daemon) HasFabric() bool { return c.Role == RoleBridge && c.SPB.Enabled }

// Marshal returns YAML that ParseDaemon reads back to the same value.
func (c *Daemon) Marshal() ([]byte, error) { return yaml.Marshal(c) }

// resolve fills defaults that depend on other keys.
func (c *Daemon) resolve() {
	if c.Role == RoleBridge && c.Bridge.Name == "" && c.SPB.Enabled {
		c.Bridge.Name = "br0"
	}
	if m := &c.Management; m.Device == "" && m.VID != 0 {
		base := c.Bridge.Name
		if c.Role == RoleEndStation && len(c.Ports) > 0 {
			base = c.Ports[0].Ifname
		}
		m.Device = fmt.Sprintf("%s.%d", base, m.VID)
	}
	if a := c.Management.Address; !c.API.Listen.IsValid() && a.IsValid() && c.API.TLS != (TLS{}) {
		c.API.Listen = AddrPort{netip.AddrPortFrom(a.Addr(), APIPort)}
	}
	for i := range c.Ports {
		p := &c.Ports[i]
		switch {
		case p.Role != "":
		case c.Role == RoleClock:
			p.Role = RoleClock
		case c.Role == RoleBridge && !c.SPB.Enabled:
			p.Role = "edge"
		}
		if p.NeighborPropDelayThresh == 0 {
			p.NeighborPropDelayThresh = c.GPTP.NeighborPropDelayThresh
		}
	}
}

var (
	nameForm   = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$`)
	ifnameForm = regexp.MustCompile(`^[^\s/:]{1,15}$`)
	areaForm   = regexp.MustCompile(`^$|^[0-9a-fA-F]{2}(\.?[0-9a-fA-F]{2}){0,12}$`)
)
