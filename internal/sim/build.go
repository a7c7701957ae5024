package sim

import (
	"fmt"

	"tsnswitch"
	"tsnswitch/internal/config"
	"tsnswitch/internal/dataplane/fake"
	"tsnswitch/internal/nodeconfig"
)

// Options are what a network file does not say.
type Options struct {
	Seed      uint64
	Loss      float64 // of every link
	Jitter    int64   // of every link, ns
	Board     func(node string) fake.Board
	FreeGates bool
	// MSRP has the bridges take part in it; classes A and B are in the VLAN of streams.
	MSRP bool
}

// Build makes a simulation of a network: every node runs what its daemon would
// run, hosts as end stations, with clocks as the file has them.
func Build(c *config.Network, opt Options) (*Network, error) {
	n := New(opt.Seed)
	for _, x := range c.Nodes {
		dc, err := c.DaemonConfig(x.Name, config.Dirs{})
		if err != nil {
			return nil, fmt.Errorf("sim: %w", err)
		}
		if opt.MSRP && dc.Role == config.RoleBridge {
			dc.SRP.MSRP = true
			dc.SRP.Classes = []config.SRClass{
				{Class: "A", Priority: 3, VID: c.Fabric.StreamVID, Interval: 125e3}, {Class: "B", Priority: 2, VID: c.Fabric.StreamVID, Interval: 250e3},
			}
		}
		cfg := NodeConfig{
			Clock:     Oscillator{Offset: int64(dc.GPTP.Clock.Offset), PPM: dc.GPTP.Clock.PPM},
			GateBound: int64(dc.GPTP.GateOffsetBound), FreeGates: opt.FreeGates,
		}
		if cfg.Node, err = nodeconfig.Of(dc); err != nil {
			return nil, fmt.Errorf("sim: node %s: %w", x.Name, err)
		}
		cfg.Node.GPTP.Seed ^= opt.Seed
		if cfg.Node.SPB != nil {
			cfg.Node.SPB.Seed ^= opt.Seed
		}
		if opt.Board != nil {
			cfg.Board = opt.Board(x.Name)
		}
		if _, err := n.Add(x.Name, cfg); err != nil {
			return nil, err
		}
	}
	for _, l := range c.Links {
		err := n.Connect(LinkConfig{
			A: l.A.Node, APort: l.A.Port, B: l.B.Node, BPort: l.B.Port,
			Rate: tsn.Rate(l.Rate), Delay: int64(l.Prop), Jitter: opt.Jitter, Loss: opt.Loss,
		})
		if err != nil {
			return nil, err
		}
	}
	return n, nil
}
