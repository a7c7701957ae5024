package spbsim

import (
	"fmt"
	"io"
	"slices"

	"tsnswitch"
	"tsnswitch/internal/dataplane/fake"
	"tsnswitch/spb"
)

// Scenario is what a seed makes: a network, and what happens to it.
type Scenario struct {
	*Network
	Seed    uint64
	Boards  string
	Promise Promise
	Calm    tsn.Instant // when the last fault is over
	ageing  bool        // LSPs live for seconds only
}

// Boards of the scenarios; "mixed" draws one for each bridge.
var boards = map[string][]fake.Board{
	"software":  {fake.Software},
	"felix":     {fake.Felix},
	"lan966x":   {fake.LAN966x},
	"mv88e6xxx": {fake.MV88E6xxx},
	"mixed":     {fake.Software, fake.Felix, fake.LAN966x, fake.MV88E6xxx},
}

// Settle is the stated time: so long after the last fault all databases are
// identical and every connected pair delivers.
const Settle = 20 * second

// NewScenario draws a network of up to size bridges on a kind of boards.
func NewScenario(seed uint64, kind string, size int, trace io.Writer) *Scenario {
	vids := []tsn.VID{100, 200}
	s := &Scenario{Network: NewNetwork(seed, vids), Seed: seed, Boards: kind}
	s.Trace = trace
	nodes := 3 + s.rng.IntN(size-2)
	algorithms := s.rng.Perm(16)
	equal := s.rng.IntN(3) > 0  // ties are what the tie-break is for
	alike := s.rng.IntN(4) == 0 // all begin with one SPSourceID
	strict := s.rng.IntN(2) == 0
	s.ageing = s.rng.IntN(8) == 0
	timers := s.rng.IntN(4)
	for k := range nodes {
		cfg := spb.Config{
			SystemID: tsn.MAC{2, 0, 0, byte(s.rng.IntN(256)), byte(s.rng.IntN(256)), byte(k + 1)},
			Priority: uint16(s.rng.IntN(4)) << 14, HostName: fmt.Sprintf("b%d", k+1), Seed: s.rng.Uint64(),
			Ports:       []spb.PortConfig{{Port: stationPort}, {Port: emptyPort}},
			EndStations: []spb.EndStation{{MAC: tsn.MAC{2, 0xee, 0, 0, 0, byte(k + 1)}, Port: stationPort}},
			Overload:    s.rng.IntN(12) == 0,
		}
		if alike {
			cfg.SystemID = tsn.MAC{2, 0, byte(k + 1), 0x10, 0x20, 0x30}
		}
		if strict {
			cfg.Strict = spb.StrictOn
		}
		if s.ageing {
			cfg.MaxAge, cfg.RefreshInterval, cfg.ZeroAgeLifetime = 20*second, 8*second, 5*second
		}
		switch timers { // each way to repair a loss has to do it alone, too
		case 0:
			cfg.CSNPInterval = 3600 * second
		case 1:
			cfg.RetransmitInterval = 3600 * second
		}
		for n, v := range vids {
			cfg.BaseVIDs = append(cfg.BaseVIDs, spb.BaseVID{VID: v, Algorithm: uint8(algorithms[n] + 1)})
		}
		b := boards[kind][s.rng.IntN(len(boards[kind]))]
		s.AddNode(cfg, b)
		// Where a port refuses `locked`, the strict mode is the default.
		s.Promise.Unicast = s.Promise.Unicast || strict || b.NoLocked
	}
	s.drawLinks(nodes, equal)
	if s.rng.IntN(8) == 0 { // fast echo, slower than in life: it is most of the frames
		for _, d := range s.Nodes {
			for k := range d.cfg.Ports {
				if d.cfg.Ports[k].Role == tsn.RoleFabric {
					d.cfg.Ports[k].Echo.Interval = 50 * millisecond
				}
			}
		}
	}
	s.drawServices()
	return s
}

// drawServices attaches bridges to a few services, and reserves a stream.
func (s *Scenario) drawServices() {
	for _, v := range s.vids {
		for isid := range uint32(2) {
			for _, d := range s.Nodes {
				if k := s.rng.IntN(6); k < 3 {
					sv := spb.Service{ISID: 0x1000 + isid, VID: v, Transmit: k != 1, Receive: k != 2}
					if sv.Receive && s.rng.IntN(2) == 0 {
						sv.Ports = []tsn.Port{emptyPort}
					}
					d.services = append(d.services, sv)
				}
			}
		}
		talker := s.Nodes[s.rng.IntN(len(s.Nodes))]
		st := Stream{VID: v, Group: tsn.MAC{0x91, 0xe0, 0xf0, 0, 0, byte(v)}, Talker: talker.stations[0].MAC}
		for _, d := range s.Nodes {
			if d != talker && s.rng.IntN(2) == 0 {
				st.Listeners = append(st.Listeners, d.id)
			}
		}
		s.AddStream(st)
	}
}

func (s *Scenario) drawLinks(nodes int, equal bool) {
	metric := func() uint32 {
		if equal {
			return 10
		}
		return uint32(10 * (1 + s.rng.IntN(3)))
	}
	connect := func(a, b int) {
		delay := 10*microsecond + s.jitter(500*microsecond)
		s.Connect(s.Nodes[a], s.Nodes[b], delay, metric(), metric())
	}
	for k := 1; k < nodes; k++ { // a random tree, or a line
		if equal && s.rng.IntN(2) == 0 {
			connect(k-1, k)
		} else {
			connect(s.rng.IntN(k), k)
		}
	}
	if s.rng.IntN(2) == 0 {
		connect(nodes-1, 0)
	}
	for range s.rng.IntN(nodes + 1) {
		if a, b := s.rng.IntN(nodes), s.rng.IntN(nodes); a != b {
			connect(a, b)
		}
	}
	if a := s.rng.IntN(nodes); s.rng.IntN(3) == 0 { // what should not be
		s.Cable(s.Nodes[a], s.Nodes[(a+1)%nodes], 10*microsecond)
	}
}

// Play boots the network, lets faults happen, and waits until Settle after
// the last one.
func (s *Scenario) Play() {
	s.Watch(s.Promise)
	s.SendProbes(20 * millisecond)
	for _, d := range s.Nodes {
		s.At(tsn.Instant(s.jitter(2*second)), func() { s.PowerOn(d) })
	}
	for _, l := range s.Links {
		s.At(tsn.Instant(2*second+s.jitter(second)), func() { s.SetLink(l, true) })
	}
	s.At(tsn.Instant(2*second), s.wild)
	at := tsn.Instant(3 * second)
	for range 3 + s.rng.IntN(10) {
		if s.rng.IntN(3) > 0 { // often several at once
			at = at.Add(s.jitter(2 * second))
		} else {
			at = at.Add(s.jitter(10 * millisecond))
		}
		s.At(at, s.fault)
	}
	s.Calm = at.Add(8 * second)
	s.At(s.Calm, s.calm)
	s.Run(s.Calm.Add(Settle))
	if s.ageing {
		s.Run(s.Calm.Add(forget))
	}
}

// forget is after how long bridges that are gone are in no database, if LSPs
// live for seconds only: MaxAge, ZeroAgeLifetime, and a lifetime that began anew
// where the LSP was flooded late (RFC 7987).
const forget = 60 * second

// Settled is Network.Settled, and that nobody remembers who is gone.
func (s *Scenario) Settled() error {
	err := s.Network.Settled()
	for try := 0; err != nil && s.ageing && try < 3; try++ {
		s.Run(s.now.Add(100 * millisecond)) // a refresh may be on its way
		err = s.Network.Settled()
	}
	if err != nil || !s.ageing {
		return err
	}
	for _, d := range s.Nodes {
		if !d.Alive {
			continue
		}
		for _, l := range d.Inst.Database() {
			k := slices.IndexFunc(s.Nodes, func(x *Node) bool { return x.cfg.SystemID == l.ID.System() })
			if !s.Nodes[k].Alive {
				return fmt.Errorf("%s still has LSP %s", d.Name, l.ID)
			}
		}
	}
	return nil
}

func (s *Scenario) wild() {
	s.Wild = true
	t := &s.Times
	if s.rng.IntN(2) == 0 {
		t.LossPerMille = s.rng.IntN(200)
	}
	if s.rng.IntN(3) == 0 {
		t.DuplicatePerMille = s.rng.IntN(100)
	}
	if s.rng.IntN(3) == 0 {
		t.ReorderPerMille = s.rng.IntN(100)
	}
	if s.rng.IntN(4) == 0 {
		t.WriteFailurePerMill = s.rng.IntN(50)
	}
}

// calm ends all faults but links that are cut and bridges without power.
func (s *Scenario) calm() {
	s.Wild = false
	s.Say(-1, "calm", "")
	for _, l := range s.Links {
		if l.Silent != [2]bool{} {
			s.Silence(l, false, false)
		}
	}
	for _, d := range s.Nodes {
		if d.Power && s.rng.IntN(10) > 0 {
			s.Start(d)
		}
	}
	if d := s.Nodes[s.rng.IntN(len(s.Nodes))]; (s.ageing || s.rng.IntN(4) == 0) && d.links[emptyPort] == nil {
		s.Kill(d) // for good
	}
}

// fault does one thing to the network.
func (s *Scenario) fault() {
	l := s.Links[s.rng.IntN(len(s.Links))]
	d := s.Nodes[s.rng.IntN(len(s.Nodes))]
	switch s.rng.IntN(17) {
	case 0, 1, 2:
		s.SetLink(l, !l.Up)
	case 3:
		s.flap(l)
	case 4:
		if l.Edge {
			break
		}
		k := 1 + s.rng.IntN(3)
		s.Silence(l, k&1 != 0, k&2 != 0)
		s.later(6*second, func() { s.Silence(l, false, false) })
	case 5, 6:
		if d.links[emptyPort] != nil {
			break // see the package's limits
		}
		s.Kill(d)
		s.later(8*second, func() { s.Start(d) })
	case 7:
		s.PowerOff(d)
		s.later(3*second, func() { s.PowerOn(d); s.plug(d) })
	case 8:
		d.overload = !d.overload
		s.step(d, spb.SetOverload{On: d.overload})
	case 9:
		s.change(d)
	case 13:
		s.grave(d)
	case 10, 11, 12:
		s.move(d, s.Nodes[s.rng.IntN(len(s.Nodes))])
	default:
		for _, l := range s.Links {
			if !l.Up && s.rng.IntN(2) == 0 {
				s.SetLink(l, true)
			}
		}
	}
}

func (s *Scenario) later(within int64, do func()) { s.At(s.now.Add(s.jitter(within)), do) }

// grave lets a daemon be dead for so long that its neighbours have given it
// up. The fabric changes meanwhile; then it comes back to its old kernel.
func (s *Scenario) grave(d *Node) {
	if d.links[emptyPort] != nil {
		return
	}
	s.Kill(d)
	for _, l := range s.Links {
		if l.A.Node != d.id && l.B.Node != d.id && s.rng.IntN(3) == 0 {
			s.later(3*second, func() { s.SetLink(l, !l.Up) })
		}
	}
	s.At(s.now.Add(5*second+s.jitter(2*second)), func() {
		s.Start(d)
		s.chatter(100 * millisecond)
	})
}

// chatter lets all talkers of streams send every 100 us for a while.
func (s *Scenario) chatter(ns int64) {
	for k := int64(0); k < ns; k += 100 * microsecond {
		s.At(s.now.Add(k), func() {
			for _, st := range s.streams {
				s.frames.send(flow{vid: indexOf(s.vids, st.VID), src: s.index[st.Talker], dst: -1, group: st.Group})
			}
		})
	}
}

// plug brings up the links of a bridge.
func (s *Scenario) plug(d *Node) {
	for _, l := range s.Links {
		if l.A.Node == d.id || l.B.Node == d.id {
			s.SetLink(l, true)
		}
	}
}

func (s *Scenario) flap(l *Link) {
	for k := range 2 + 2*s.rng.IntN(3) {
		s.At(s.now.Add(int64(k)*s.jitter(20*millisecond)), func() { s.SetLink(l, !l.Up) })
	}
}

// change gives a bridge other services.
func (s *Scenario) change(d *Node) {
	d.services = slices.Clone(d.services)
	if len(d.services) > 0 && s.rng.IntN(2) == 0 {
		d.services = slices.Delete(d.services, 0, 1)
	}
	for k := range d.services {
		if s.rng.IntN(2) == 0 {
			d.services[k].Transmit = !d.services[k].Transmit
		}
	}
	s.step(d, spb.SetServices{Services: d.services})
}

// move takes a station to another bridge.
func (s *Scenario) move(from, to *Node) {
	if from == to || len(from.stations) == 0 {
		return
	}
	st := from.stations[0]
	from.stations = slices.Clone(from.stations[1:])
	to.stations = append(slices.Clone(to.stations), st)
	s.Say(from.id, "move", fmt.Sprintf("%s to %s", st.MAC, to.Name))
	for k := range int64(100) { // it talks while the fabric follows it
		s.At(s.now.Add(k*200*microsecond), func() { s.talk(st.MAC) })
	}
	s.step(from, spb.SetEndStations{Stations: from.stations})
	s.step(to, spb.SetEndStations{Stations: to.stations})
}
