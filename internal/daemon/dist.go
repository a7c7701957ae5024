package daemon

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"time"

	"tsnswitch"
	"tsnswitch/distlink"
	"tsnswitch/internal/api"
	"tsnswitch/internal/config"
	"tsnswitch/internal/erlnode"
)

// epmdAddr is where Erlang's port mapper answers on every node.
const epmdAddr = "127.0.0.1:4369"

// Dist implements api.Switch: the connections of the daemon's own Erlang node,
// and those of the nodes at their other end, which are asked for them; at an end
// station, the Erlang nodes besides that are registered on this machine and the
// streams that carry their traffic.
func (d *Daemon) Dist(ctx context.Context) (*api.Dist, error) {
	out := &api.Dist{Node: d.cfg.Name, Links: d.ownLinks()}
	told := map[string]bool{}
	if node := d.erlang.Load(); node != nil {
		for _, l := range erlnode.Carriers(ctx, node) {
			name, _, _ := strings.Cut(l.Local, "@")
			told[name] = true
			out.Links = append(out.Links, l)
		}
	}
	if d.cfg.Role != config.RoleEndStation {
		return out, nil
	}
	names, err := epmdNames(ctx)
	if err != nil {
		return out, nil // no port mapper: no Erlang node
	}
	streams, err := d.ListStreams(ctx)
	if err != nil {
		return nil, err
	}
	stations := d.stationNames(ctx)
	for _, name := range names {
		if told[name] {
			continue
		}
		l := api.DistLink{Local: name, State: "registered"}
		for _, s := range streams {
			if s.Stream.Talker == d.cfg.SystemID {
				l.StreamID, l.Peer = s.Stream.ID.String(), nameOr(stations[s.Stream.Listener], s.Stream.Listener)
				l.State = s.State
			}
		}
		out.Links = append(out.Links, l)
	}
	return out, nil
}

// ownLinks are the connections of the daemon as an Erlang node.
func (d *Daemon) ownLinks() []api.DistLink {
	out := []api.DistLink{}
	node := d.erlang.Load()
	if node == nil {
		return out
	}
	for _, c := range node.Connections() {
		l := api.DistLink{
			Local: node.Name(), Peer: c.Peer, State: c.Carrier, Sent: c.Sent, Received: c.Received,
			RTT: c.Link.SmoothedRTT, Retransmits: c.Link.Retransmitted,
		}
		if c.Carrier == "distlink" {
			l.Carrier = &api.DistCarrier{
				Rate: uint64(c.Link.Rate) / 1000, Queued: uint64(c.Link.Queued), InFlight: uint64(c.Link.InFlight),
				Security: securities[c.Link.Security],
			}
		}
		out = append(out, l)
	}
	return out
}

var securities = map[uint8]string{distlink.SecurityNone: "none", distlink.SecurityPSK: "psk", distlink.SecurityCertificate: "certificate"}

// stationNames asks the fabric what its stations are called.
func (d *Daemon) stationNames(ctx context.Context) map[tsn.MAC]string {
	out := map[tsn.MAC]string{}
	nodes, err := d.Nodes(ctx)
	if err != nil {
		return out // addresses will do
	}
	for _, n := range nodes {
		for _, s := range n.Stations {
			out[s.MAC] = s.Name
		}
	}
	return out
}

// epmdNames asks the port mapper for its names (EPMD_NAMES_REQ, 110).
func epmdNames(ctx context.Context) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	c, err := (&net.Dialer{}).DialContext(ctx, "tcp", epmdAddr)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	if t, ok := ctx.Deadline(); ok {
		_ = c.SetDeadline(t)
	}
	if _, err := c.Write([]byte{0, 1, 110}); err != nil {
		return nil, err
	}
	b, err := io.ReadAll(io.LimitReader(c, 64<<10))
	if err != nil {
		return nil, err
	}
	if len(b) < 4 || binary.BigEndian.Uint32(b) != 4369 {
		return nil, fmt.Errorf("epmd at %s answered something else", epmdAddr)
	}
	var names []string
	for line := range strings.Lines(string(b[4:])) {
		if f := strings.Fields(line); len(f) == 5 && f[0] == "name" { // name NODE at port N
			names = append(names, f[1])
		}
	}
	slices.Sort(names)
	return names, nil
}
