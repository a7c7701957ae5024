// Package daemon wires one switch together: the two machines of package node,
// the sockets and clocks of package link, the kernel of package dataplane, and
// the management interface of package api.
//
//	            tsnctl, other daemons
//	                    │ api.Backend (backend_*.go)
//	   keeper ──────────┤ streams of the network      (streams.go)
//	   conductor ───────┤ schedules of the network    (conductor.go)
//	                    ▼
//	link ──> loop{Timing} ──RelationChanged──> clockwork ──Clock──┐
//	  ▲  ──> loop{Control} <──────────────────────────────────────┘
//	  └─Send──┘   │ Desired
//	              ▼
//	           applier ──> dataplane ──> kernel
//
// The daemon holds no protocol knowledge: what is decided is decided in a
// core, or in the keeper and the conductor, which know other daemons only as
// api.Peer.
//
// # A change of all gates
//
// A conductor changes the gates of all systems at once, or of none (change.go);
// trial.go is each system's part. T is when all go back to what they ran before.
//
//	conductor                 each system                         kernel
//	   │ stage: what runs, what shall, T   │                          │
//	   ├──────────────────────────────────>│ checks; record on disk   │
//	   │ its clock, or a refusal           │                          │
//	   │<──────────────────────────────────┤                          │
//	   │   all agree on domain, grand master and time, or abort       │
//	   │ commit                            │                          │
//	   ├──────────────────────────────────>│ vote on disk ───────────>│ waits for base
//	   │   all have, or abort              │                          │
//	   │ started ─────────────────────────>│                          │
//	   ·                                   ·        base time         · runs
//	   │ prepare (at once, or when a person confirms)                 │
//	   ├──────────────────────────────────>│ vote on disk             │
//	   │   all have, or withdraw           │                          │
//	   │ confirmed ───────────────────────>│ for good                 │
//	   ·                                   ·  T, if not all have      ·
//	                                       │ old lists ──────────────>│ runs what ran before
//
// The votes and who may tell their outcome are in qbv.Trial: the conductor is
// one that asks all and tells all, no more. If it ends between any two arrows
// the systems come to one end without it: what not all have committed starts
// nowhere, and what not all have voted to keep runs nowhere after T.
package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"tsnswitch"
	"tsnswitch/distlink/hidden"
	"tsnswitch/internal/api"
	"tsnswitch/internal/config"
	"tsnswitch/internal/dataplane"
	"tsnswitch/internal/gptplog"
	"tsnswitch/internal/link"
	"tsnswitch/internal/node"
	"tsnswitch/internal/record"
	"tsnswitch/qbv"
	"tsnswitch/spb"
	"tsnswitch/srp"
)

// Version is set at build time.
var Version = "devel"

// holdLimit is how long a restarted daemon leaves the kernel as it found it
// while it learns the network again.
const holdLimit = 15 * time.Second

// changeAfter is how long a restarted daemon that knows the network waits for
// the last difference to the kernel to go away by itself.
const changeAfter = time.Second

// Options are what is not configuration.
type Options struct {
	Log *slog.Logger
	// Record is a directory for traces of both machines, "" for none.
	Record string
	// Reload brings the configuration read again; nil: never. See keepKeys.
	Reload <-chan *config.Daemon
	// Ready is called once the daemon answers calls.
	Ready func()
}

// Daemon is a running switch. It implements api.Backend.
type Daemon struct {
	cfg     *config.Daemon
	log     *slog.Logger
	started time.Time

	clock       *clockwork
	kernel      *kernel
	ports       *link.Ports
	timing      *loop
	timingNews  chan timingNews
	gptp        *node.Timing
	control     *loop
	machine     *node.Control
	applier     *applier
	flusher     *flusher
	convergence *convergence
	events      *events
	noticeLimit noticeLimit
	gptpLog     *gptplog.Log
	capable     capable
	fabric      *fabric

	// answers are the requests to machines that wait for their Result.
	answersMu sync.Mutex
	answers   map[uint64]chan error
	requests  uint64
	inboxes   map[uint64]*inbox // those that get several

	heldMu    sync.Mutex
	held      heldMemory
	heldStore store[heldMemory]
	trialNews chan struct{} // held.Change is another

	drainMu    sync.Mutex
	drainStore store[drainMemory]

	ops       chan struct{} // the operations lock: one change of the network at a time
	own       ownMemory
	view      atomic.Pointer[ownView]
	keeper    *keeper
	demands   demands
	conductor *conductor
	changed   chan struct{} // the topology, or something else that moves streams

	keys       keyring
	stations   *dataplane.StationWatch // nil: no port learns
	neighbours neighbours
	addresses  store[addressMemory]
	msrpStore  store[msrpMemory]
	told       sync.Once     // closes ready
	ready      chan struct{} // the control loop has been told what was learned before

	adopted adopted // what the kernel did when this run began

	erlang atomic.Pointer[hidden.Node] // nil: it is none

	unlocked error // why memory is not locked although it should be

	linkMu sync.Mutex
	links  map[tsn.Port]tsn.LinkChanged
}

// Run runs a switch until ctx ends. The kernel keeps forwarding afterwards as
// it did before: nothing is taken down.
func Run(ctx context.Context, cfg *config.Daemon, opt Options) error {
	d, err := build(cfg, opt)
	if err != nil {
		return err
	}
	defer d.close()
	return d.run(ctx, opt)
}

// build opens everything and changes nothing.
func build(cfg *config.Daemon, opt Options) (_ *Daemon, err error) {
	identify(cfg)
	d := &Daemon{
		cfg: cfg, log: opt.Log, started: time.Now(), events: newEvents(cfg.Name), gptpLog: gptplog.New(gptplog.Limits{}), answers: map[uint64]chan error{},
		neighbours: neighbours{changed: make(chan struct{}, 1)}, ready: make(chan struct{}),
		timingNews: make(chan timingNews, timingNewsQueue),
		trialNews:  make(chan struct{}, 1),
		capable:    capable{told: map[tsn.Port]srp.SetASCapable{}},
		ops:        make(chan struct{}, 1), changed: make(chan struct{}, 1), links: map[tsn.Port]tsn.LinkChanged{},
	}
	defer func() {
		if err != nil {
			d.close()
		}
	}()
	if cfg.Role != config.RoleClock { // which promises nothing to anybody
		if err := os.MkdirAll(cfg.StateDir, 0o755); err != nil {
			return nil, fmt.Errorf("state directory: %w", err)
		}
	}
	d.heldStore = store[heldMemory]{filepath.Join(cfg.StateDir, "held.json")}
	if d.held, err = d.heldStore.load(); err != nil {
		return nil, err
	}
	d.held.forgetStage()
	own := store[ownMemory]{filepath.Join(cfg.StateDir, "own.json")}
	if d.own, err = own.load(); err != nil {
		return nil, err
	}
	d.msrpStore = store[msrpMemory]{filepath.Join(cfg.StateDir, "msrp.json")}
	d.addresses = store[addressMemory]{filepath.Join(cfg.StateDir, "addresses.json")}
	if m, err := d.addresses.load(); err != nil {
		d.log.Warn("stations must say their addresses again", "err", err)
	} else {
		d.neighbours.load(m)
	}
	d.own.Generation = firstGeneration(d.own.Generation, time.Now())
	if d.clock, err = openClock(cfg); err != nil {
		return nil, fmt.Errorf("clock: %w", err)
	}
	dc := dataplaneConfig(cfg, d.clock)
	dc.Progress = func(p dataplane.Progress) {
		d.log.Info("the kernel is still being set", "progress", p.String())
		d.events.add("kernel-progress", tsn.NoPort, p.String())
	}
	if d.kernel, err = openKernel(dc); err != nil {
		return nil, fmt.Errorf("kernel data plane: %w", err)
	}
	if err := mayForward(cfg, d.kernel.Features()); err != nil {
		return nil, err
	}
	if d.adopted, err = d.kernelInUse(); err != nil {
		return nil, err
	}
	nc, err := nodeConfig(cfg, d.adopted.bridge)
	if err != nil {
		return nil, err
	}
	fitFilters(&nc, d.kernel.Features())
	fitEgress(&nc, cfg, d.kernel.Features())
	if err := d.clock.tell(&nc.GPTP, cfg); err != nil {
		return nil, fmt.Errorf("clock: %w", err)
	}
	d.drainStore = store[drainMemory]{filepath.Join(cfg.StateDir, "drain.json")}
	drained, err := d.drainStore.load()
	if err != nil {
		return nil, err
	}
	if nc.SPB != nil {
		drained.apply(nc.SPB)
	}
	if d.gptp, d.machine, err = node.New(nc); err != nil {
		return nil, err
	}
	d.applier = newApplier(d.kernel, d.log, d.clock.now, d.applied)
	d.flusher = newFlusher(d.kernel.FlushLearned)
	d.timing = newDirectLoop("timing", d.gptp, link.Now, d.timingEffect, cfg.GPTP.Realtime)
	d.control = newLoop("control", d.machine, link.Now, d.effect)
	d.convergence, d.control.after = newConvergence(), d.converged
	var keys *api.Keys
	if t := cfg.API.TLS; t.Cert != "" {
		if keys, err = api.LoadKeys(t.Cert, t.Key, t.CA); err != nil {
			return nil, err
		}
	}
	d.fabric = &fabric{
		cfg: cfg, control: d.control, machine: d.machine, keys: keys, self: d,
		clients: map[string]*api.Client{}, egress: map[tsn.MAC]tsn.Port{},
	}
	saveOwn := func() error {
		err := own.save(d.own)
		if err == nil { // what could not be kept may be taken back; see lock
			d.publish()
		}
		return err
	}
	d.demands = demands{name: cfg.Name, peers: d.fabric, store: store[demandMemory]{filepath.Join(cfg.StateDir, "demands.json")}, told: map[tsn.MAC]toldProxies{}}
	if d.demands.mem, err = d.demands.store.load(); err != nil {
		return nil, err
	}
	d.demands.generation = firstGeneration(0, time.Now())
	d.publish()
	d.keeper = &keeper{name: cfg.Name, topo: d.fabric, peers: d.fabric, mem: &d.own, save: saveOwn}
	d.conductor = &conductor{
		name: cfg.Name, topo: d.fabric, peers: d.fabric, mem: &d.own, save: saveOwn,
		now: d.scheduleTime, patience: clockPatience, streams: d.reservedStreams, plan: planConfig(cfg), links: d.fabricLinks,
	}
	for _, b := range cfg.SPB.BaseVIDs {
		d.conductor.vids = append(d.conductor.vids, b.VID)
	}
	return d, nil
}

// firstGeneration is above whatever an earlier run may have sent: the number
// on disk is that of its last save, and the clock may have gone back since.
func firstGeneration(saved uint64, now time.Time) uint64 {
	return max(saved+1<<20, uint64(max(now.UnixNano(), 0)))
}

// mayForward refuses to run a bridge on a kernel that would let every frame
// into every VLAN. All else that can be missing costs a function, not safety:
// it is in status and `tsnctl doctor`.
func mayForward(c *config.Daemon, features []dataplane.Feature) error {
	for _, f := range features {
		if c.HasFabric() && f.Name == dataplane.FeatureVLANFiltering && f.State == dataplane.FeatureMissing {
			return fmt.Errorf("this kernel cannot be a switch: %w", &dataplane.UnsupportedError{Feature: f.Name, Why: f.Why})
		}
	}
	return nil
}

func (d *Daemon) close() {
	if d.fabric != nil {
		d.fabric.close()
	}
	if d.kernel != nil {
		if err := d.kernel.Close(); err != nil {
			d.log.Warn("close the kernel data plane", "err", err)
		}
	}
}

// run starts every task, and returns when ctx has ended or one has failed.
func (d *Daemon) run(ctx context.Context, opt Options) error {
	ownership, err := dataplane.Lock(owned(d.cfg, d.kernel.all))
	if err != nil {
		return err
	}
	defer ownership.Release()
	local, err := api.ListenUnix(d.cfg.API.Socket)
	if err != nil {
		return err
	}
	if err := d.startRecording(opt.Record); err != nil {
		local.Close()
		return err
	}
	defer d.stopRecording()
	d.realtime()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var tasks sync.WaitGroup
	task := func(name string, f func(context.Context) error) {
		tasks.Go(func() {
			if err := f(ctx); err != nil && ctx.Err() == nil {
				cancel(fmt.Errorf("%s: %w", name, err))
			}
		})
	}
	plain := func(f func(context.Context)) func(context.Context) error {
		return func(ctx context.Context) error { f(ctx); return nil }
	}
	lc := linkConfig(d.cfg, d.clock)
	lc.Timing, lc.Logger, lc.Neighbours = d.timing.post, d.log, d.neighbourFrame
	// No link before what is behind it: a neighbour that was told less than
	// before would take entries away.
	lc.Control = func(ev tsn.Event) { <-d.ready; d.linkEvent(ev) }
	lc.Touched = func() { time.AfterFunc(lookAfter, d.applier.poke) }
	stations, err := d.watchStations()
	if err != nil {
		local.Close()
		return err
	}
	task("stations", stations)
	blocked, err := d.watchBlocked()
	if err != nil {
		local.Close()
		return err
	}
	task("port states", blocked)
	d.recallMSRP()
	task("MSRP memory", plain(d.keepMSRP))
	// Events queue up until the loops run, which need the ports to send by.
	if d.ports, err = link.Open(lc); err != nil {
		local.Close()
		return err
	}
	d.tellUnlocked()
	d.heldMu.Lock()
	d.tellStreamGates()
	d.heldMu.Unlock()
	d.keys.auth = d.cfg.SPB.Auth
	d.tellKeys(time.Now())
	d.control.last = spb.PrepareRestart{Time: int64(d.cfg.SPB.RestartTime)}
	task("timing", plain(d.timing.run))
	task("timing news", plain(d.tellTiming))
	task("control", plain(d.control.run))
	task("proxies", plain(d.restoreProxies))
	task("kernel", plain(d.applier.run))
	task("flushes", plain(d.keepFlushing))
	task("neighbours", plain(d.keepNeighbours))
	task("hold", plain(d.hold))
	task("clock", plain(d.tellTime))
	task("steering", plain(d.steerClock))
	task("gPTP log", plain(d.logTime))
	task("network", plain(d.keepNetwork))
	task("trial", plain(d.keepTrial))
	task("keys", func(ctx context.Context) error { d.keepKeys(ctx, opt.Reload); return nil })
	task("local API", func(ctx context.Context) error { return api.Serve(ctx, local, api.LocalHandler(d), d.log) })
	task("peer API", d.servePeers)
	task("metrics", d.serveMetrics)
	task("Erlang node", d.serveErlang)
	d.log.Info("running", "node", d.cfg.Name, "role", d.cfg.Role, "version", Version)
	if opt.Ready != nil {
		opt.Ready()
	}
	<-ctx.Done()
	<-d.control.done // its last event makes it send
	d.ports.Close()
	tasks.Wait()
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	d.log.Info("stopped; the kernel keeps its state")
	return nil
}

// converged looks, after a step of the control machine, whether a change of
// paths is over.
func (d *Daemon) converged(now tsn.Instant, ev tsn.Event) {
	c := d.convergence
	if a, ok := ev.(spb.Applied); ok && a.Err == "" {
		c.applied = max(c.applied, a.Generation)
	}
	if c.begin != tsn.Never && c.applied >= c.wanted {
		c.look(now, d.machine.SPB.Agreement().Pending)
	}
}

// effect carries out what a machine asks for; it runs in that machine's loop.
func (d *Daemon) effect(e tsn.Effect) {
	switch e := e.(type) {
	case tsn.Send:
		if err := d.ports.Send(e); err != nil {
			d.log.Debug("send", "err", err)
		}
	case tsn.Notice:
		d.notice(e)
	case node.Desired:
		d.convergence.wanted = e.Forwarding
		d.applier.set(e)
	case srp.FlushLearned:
		d.flusher.add(e)
	case srp.Result:
		if e.Err == nil {
			d.answer(e.RequestID, nil)
		} else {
			d.answer(e.RequestID, e.Err)
		}
	case qbv.Result:
		d.answer(e.RequestID, e.Err)
	case qbv.VerifyGates:
		go d.readBack(e.Port)
	case spb.PingReply:
		d.deliver(e.RequestID, e)
	case spb.PingDone:
		d.deliver(e.RequestID, e)
	case spb.TraceHop:
		d.deliver(e.RequestID, e)
	case spb.TraceDone:
		d.deliver(e.RequestID, e)
	case spb.RecordsChanged:
		if e.Application == applicationAddresses {
			d.neighbours.topologyChanged()
		}
	case spb.TopologyChanged:
		d.neighbours.topologyChanged()
		d.convergence.changed(d.control.now())
		d.events.add("topology-changed", tsn.NoPort, fmt.Sprintf("generation %d", e.Generation))
		d.networkChanged()
	}
}

// notice logs an occurrence that a machine tells of; ok is false if there were
// too many like it.
func (d *Daemon) notice(n tsn.Notice) (ev api.Event, ok bool) {
	held, ok := d.noticeLimit.admit(n, time.Now())
	if !ok {
		d.events.count(n.Kind)
		return ev, false
	}
	if held > 0 {
		n.Detail += fmt.Sprintf(" (%d more before it)", held)
	}
	d.log.Info(n.Kind, "port", n.Port, "domain", n.Domain, "detail", n.Detail)
	return d.events.put(api.Event{Kind: n.Kind, Port: n.Port, Detail: n.Detail, Domain: n.Domain}), true
}

// linkEvent notes the link state for status, and passes everything on.
func (d *Daemon) linkEvent(ev tsn.Event) {
	if l, ok := ev.(tsn.LinkChanged); ok {
		d.linkMu.Lock()
		d.links[l.Port] = l
		d.linkMu.Unlock()
		state := "link-down"
		if l.Up {
			state = "link-up"
		}
		d.gptpLog.Event(link.Now(), d.events.add(state, l.Port, l.Rate.String()))
		// The interface may be gone. But the paths around a link that was lost are
		// first.
		time.AfterFunc(lookAfter, d.applier.poke)
	}
	d.control.post(ev)
}

// lookAfter is from a change of a link to the look at the whole kernel.
const lookAfter = 100 * time.Millisecond

// ownView is a copy of this node's own memory for readers that must not wait
// for an operation on the network to end.
type ownView struct {
	owned     []ownedStream
	conducted *api.Schedule
	silent    []tsn.MAC
	demands   []api.Demand
}

// publish renews the view; it needs the operations lock.
func (d *Daemon) publish() {
	v := &ownView{owned: slices.Clone(d.own.Owned), silent: slices.Clone(d.own.Silent), demands: slices.Clone(d.demands.mem.Demands)}
	if c := d.own.Conductor; c != nil {
		v.conducted = c.Schedule
	}
	d.view.Store(v)
}

// ask steps the control machine with a request and waits for its Result.
func (d *Daemon) ask(ctx context.Context, request func(id uint64) tsn.Event) error {
	d.answersMu.Lock()
	d.requests++
	id, c := d.requests, make(chan error, 1)
	d.answers[id] = c
	d.answersMu.Unlock()
	defer func() {
		d.answersMu.Lock()
		delete(d.answers, id)
		d.answersMu.Unlock()
	}()
	if err := d.control.call(ctx, func() { d.control.step(request(id)) }); err != nil {
		return err
	}
	select {
	case err := <-c:
		return err
	case <-d.control.done:
		return errLoopEnded
	case <-ctx.Done():
		return fmt.Errorf("no answer from the switch yet: %w", ctx.Err())
	}
}

func (d *Daemon) answer(id uint64, err error) {
	d.answersMu.Lock()
	defer d.answersMu.Unlock()
	if c := d.answers[id]; c != nil {
		c <- err
		delete(d.answers, id)
	}
}

// lock takes the operations lock.
func (d *Daemon) lock(ctx context.Context) (unlock func(), err error) {
	select {
	case d.ops <- struct{}{}:
		return func() { d.publish(); <-d.ops }, nil
	case <-ctx.Done():
		return nil, api.Errorf(api.CodeCanceled, "another change of the network is in progress: %w", ctx.Err())
	}
}

// servePeers waits until the management address is there, then serves it.
func (d *Daemon) servePeers(ctx context.Context) error {
	if d.fabric.keys == nil || !d.cfg.API.Listen.IsValid() {
		return nil
	}
	retry := time.NewTicker(200 * time.Millisecond)
	defer retry.Stop()
	var l net.Listener
	for {
		err := d.ensureManagement()
		if err == nil {
			if l, err = api.ListenTLS(d.cfg.API.Listen.String(), d.fabric.keys); err == nil {
				break
			}
		}
		d.log.Debug("management is not reachable yet", "err", err)
		select {
		case <-ctx.Done():
			return nil
		case <-retry.C:
		}
	}
	d.log.Info("serving other daemons", "address", d.cfg.API.Listen.String())
	return api.Serve(ctx, l, api.RemoteHandler(d), d.log)
}

// ensureManagement makes the management device once the bridge exists.
func (d *Daemon) ensureManagement() error {
	m := d.cfg.Management
	if m.VID == 0 {
		return nil
	}
	parent := d.cfg.Bridge.Name
	if d.cfg.Role == config.RoleEndStation {
		parent = d.cfg.Ports[0].Ifname
	}
	return dataplane.EnsureManagement(dataplane.Management{
		Device: m.Device, Parent: parent, VID: m.VID, Address: m.Address.Prefix,
	})
}

func (d *Daemon) startRecording(dir string) (err error) {
	if dir == "" {
		return nil
	}
	for _, l := range []*loop{d.timing, d.control} {
		l.record, err = record.Create(record.Config{
			Path: filepath.Join(dir, d.cfg.Name+"-"+l.name+".jsonl"), Machine: l.name, Logger: d.log,
		})
		if err != nil {
			return fmt.Errorf("record the %s machine: %w", l.name, err)
		}
	}
	return nil
}

func (d *Daemon) stopRecording() {
	for _, l := range []*loop{d.timing, d.control} {
		if l.record != nil {
			if err := l.record.Close(); err != nil {
				d.log.Warn("recording", "machine", l.name, "err", err)
			}
		}
	}
}
