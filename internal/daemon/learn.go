package daemon

import (
	"context"

	"tsnswitch/internal/dataplane"
	"tsnswitch/spb"
)

// watchStations subscribes to the FDB of the ports that learn, and returns what
// follows it. The control loop is told which stations are where; what it makes
// of that is SPB's decision.
func (d *Daemon) watchStations() (follow func(context.Context) error, err error) {
	c := dataplane.StationConfig{
		Bridge: d.cfg.Bridge.Name,
		Ready:  func() { d.told.Do(func() { close(d.ready) }) },
		Seen: func(s dataplane.Station) {
			d.control.post(spb.StationSeen{MAC: s.MAC, VID: s.VID, Port: s.Port, Address: d.neighbours.addressOf(s.MAC)})
			if r := d.neighbours.recordOf(s.MAC); r != nil {
				d.control.post(r)
			}
		},
		Gone: func(s dataplane.Station) {
			d.neighbours.forget(s.MAC)
			d.control.post(spb.WithdrawRecord{Application: applicationAddresses, Type: recordAddresses, Key: s.MAC[:]})
			d.control.post(spb.StationGone{MAC: s.MAC, VID: s.VID, Port: s.Port})
		},
	}
	for _, p := range d.kernel.all.Ports {
		if d.learns(p) {
			c.Ports = append(c.Ports, p)
		}
	}
	if !d.cfg.HasFabric() || len(c.Ports) == 0 {
		c.Ready()
		return func(context.Context) error { return nil }, nil
	}
	if d.stations, err = dataplane.WatchStations(c); err != nil {
		return nil, err
	}
	return func(ctx context.Context) error {
		defer c.Ready() // in any case, or nobody would hear of the links
		defer d.stations.Close()
		return d.stations.Run(ctx)
	}, nil
}

func (d *Daemon) learns(p dataplane.PortConfig) bool {
	for _, c := range d.cfg.Ports {
		if c.Port == p.Port {
			return c.Learns()
		}
	}
	return false
}
