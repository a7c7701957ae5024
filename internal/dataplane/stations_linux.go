package dataplane

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	tsn "tsnswitch"
)

// Station is an address that the kernel's FDB has on a port that learns.
type Station struct {
	MAC  tsn.MAC
	VID  tsn.VID
	Port tsn.Port
}

// StationConfig says what a StationWatch looks at.
type StationConfig struct {
	Bridge string
	Ports  []PortConfig // those that learn
	// Seen is told of every address that is on one of them, once, and again
	// when it is on another; Gone when it is on none of them any more: it has
	// aged, its port has gone down, or an entry has placed it elsewhere. Both
	// run in Run's goroutine.
	Seen, Gone func(Station)
	Ready      func() // once all that was there at the start has been told; may be nil
	Max        int    // stations that are followed; 0 means 16384
}

// StationWatch follows the FDB of the ports that learn. It tells static
// entries too: the kernel moves one that is not sticky to the port where the
// station shows up, and leaves it static.
//
//	kernel ── RTM_NEWNEIGH, RTM_DELNEIGH ──> table {MAC, VID} -> port ──> Seen, Gone
//	       └─ the whole FDB, at the start and when messages were lost ─┘
type StationWatch struct {
	cfg    StationConfig
	events *netlink.Conn
	c      *conn

	bridge int
	ports  map[int]tsn.Port // by interface index
	other  map[int]bool     // interfaces that are none of them
	table  map[stationKey]tsn.Port

	full, resyncs atomic.Uint64
}

type stationKey struct {
	mac tsn.MAC
	vid tsn.VID
}

// WatchStations subscribes in the network namespace of the calling thread.
func WatchStations(cfg StationConfig) (*StationWatch, error) {
	if cfg.Max == 0 {
		cfg.Max = 16384
	}
	w := &StationWatch{cfg: cfg, table: map[stationKey]tsn.Port{}}
	var err error
	if w.events, err = netlink.Dial(unix.NETLINK_ROUTE, &netlink.Config{Groups: 1 << (unix.RTNLGRP_NEIGH - 1)}); err != nil {
		return nil, fmt.Errorf("subscribing to the FDB: %w", err)
	}
	_ = w.events.SetReadBuffer(batchBuffers) // a batch of ours is told back to us
	if w.c, err = dial(); err != nil {
		return nil, errors.Join(err, w.events.Close())
	}
	return w, nil
}

// Close ends Run and releases the sockets.
func (w *StationWatch) Close() error { return errors.Join(w.events.Close(), w.c.Close()) }

// StationCounters tell what a watch could not follow.
type StationCounters struct {
	TableFull uint64 // addresses not followed, because there are Max others
	Resyncs   uint64 // readings of the whole FDB
}

// Counters returns the counters.
func (w *StationWatch) Counters() StationCounters {
	return StationCounters{TableFull: w.full.Load(), Resyncs: w.resyncs.Load()}
}

// Run tells what there is, then what happens, until ctx ends.
func (w *StationWatch) Run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { _ = w.events.Close() })
	defer stop()
	if err := w.resync(); err != nil {
		return err
	}
	if w.cfg.Ready != nil {
		w.cfg.Ready()
	}
	for {
		ms, err := w.events.Receive()
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, unix.ENOBUFS): // whatever was lost, the FDB has it
			err = w.resync()
		}
		if err != nil {
			return fmt.Errorf("following the FDB: %w", err)
		}
		for _, m := range ms {
			if err := w.message(m); err != nil {
				return err
			}
		}
	}
}

func (w *StationWatch) message(m netlink.Message) error {
	if len(m.Data) < unix.SizeofNdMsg || m.Data[0] != unix.AF_BRIDGE {
		return nil
	}
	n, err := parseNeighbour(m.Data)
	if err != nil {
		return fmt.Errorf("following the FDB: %w", err)
	}
	if n.master == 0 { // the device's own list of addresses
		return nil
	}
	if _, known := w.ports[n.index]; !known && !w.other[n.index] {
		if err := w.resolve(); err != nil {
			return err
		}
	}
	s, ok := w.station(n)
	key := stationKey{n.mac, n.vid}
	old, had := w.table[key]
	switch {
	case m.Header.Type == unix.RTM_NEWNEIGH && ok:
		w.seen(s)
	case n.master != w.bridge:
	case m.Header.Type == unix.RTM_NEWNEIGH && had: // it is elsewhere now
		w.gone(Station{n.mac, n.vid, old})
	case m.Header.Type == unix.RTM_DELNEIGH && had && ok && s.Port == old:
		w.gone(s)
	}
	return nil
}

// station is the entry as a Station, if it is one: the kernel's own entries for
// the addresses of ports are permanent.
func (w *StationWatch) station(n neighbour) (Station, bool) {
	p, ours := w.ports[n.index]
	ok := ours && n.master == w.bridge && n.vid != 0 && n.state&unix.NUD_PERMANENT == 0 && !n.mac.IsGroup()
	return Station{n.mac, n.vid, p}, ok
}

func (w *StationWatch) seen(s Station) {
	key := stationKey{s.MAC, s.VID}
	old, had := w.table[key]
	if had && old == s.Port {
		return
	}
	if !had && len(w.table) >= w.cfg.Max {
		w.full.Add(1)
		return
	}
	w.table[key] = s.Port
	w.cfg.Seen(s)
}

func (w *StationWatch) gone(s Station) {
	delete(w.table, stationKey{s.MAC, s.VID})
	w.cfg.Gone(s)
}

// resolve finds the interfaces of the ports and of the bridge.
func (w *StationWatch) resolve() error {
	ls, err := w.c.links()
	if err != nil {
		return err
	}
	w.ports, w.other, w.bridge = map[int]tsn.Port{}, map[int]bool{}, ls[w.cfg.Bridge].index
	for _, l := range ls {
		w.other[l.index] = true
	}
	for _, p := range w.cfg.Ports {
		if l, ok := ls[p.Ifname]; ok {
			w.ports[l.index] = p.Port
			delete(w.other, l.index)
		}
	}
	return nil
}

// resync reads the whole FDB and tells the differences, in order of address.
func (w *StationWatch) resync() error {
	w.resyncs.Add(1)
	if err := w.resolve(); err != nil {
		return err
	}
	ns, err := w.c.fdb()
	if err != nil {
		return err
	}
	now := map[stationKey]bool{}
	var there []Station
	for _, n := range ns {
		if s, ok := w.station(n); ok {
			now[stationKey{s.MAC, s.VID}] = true
			there = append(there, s)
		}
	}
	var lost []Station
	for key, p := range w.table {
		if !now[key] {
			lost = append(lost, Station{key.mac, key.vid, p})
		}
	}
	for _, list := range [][]Station{lost, there} {
		slices.SortFunc(list, func(a, b Station) int {
			return cmp.Or(cmp.Compare(a.VID, b.VID), cmp.Compare(a.MAC.Uint64(), b.MAC.Uint64()))
		})
	}
	for _, s := range lost {
		w.gone(s)
	}
	for _, s := range there {
		w.seen(s)
	}
	return nil
}

// parseNeighbour reads one message about a neighbour.
func parseNeighbour(m []byte) (neighbour, error) {
	n := neighbour{
		index: int(int32(binary.NativeEndian.Uint32(m[4:]))),
		state: binary.NativeEndian.Uint16(m[8:]),
		flags: m[10],
	}
	err := each(m[unix.SizeofNdMsg:], func(ad *netlink.AttributeDecoder) {
		switch ad.Type() {
		case unix.NDA_LLADDR:
			copy(n.mac[:], ad.Bytes())
		case unix.NDA_VLAN:
			n.vid = tsn.VID(ad.Uint16())
		case unix.NDA_MASTER:
			n.master = int(ad.Uint32())
		}
	})
	return n, err
}
