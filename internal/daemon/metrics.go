package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"tsnswitch"
	"tsnswitch/internal/api"
	"tsnswitch/internal/dataplane"
	"tsnswitch/spb"
)

// collector turns a status into metrics at the time of a scrape, so that
// metrics and status cannot disagree.
type collector struct{ d *Daemon }

// Describe sends nothing: the set of counters is the cores' own.
func (c collector) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (c collector) Collect(out chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	st, err := c.d.Status(ctx)
	up := 1.0
	if err != nil {
		up = 0
	}
	gauge(out, "up", "The daemon could tell its own status.", up, nil)
	if err != nil {
		return
	}
	c.status(out, st)
	c.time(out)
	c.kernel(out)
	s, err := c.d.snapshot(ctx)
	if err != nil {
		return
	}
	if s.spb != nil {
		c.d.convergence.collect(out)
	}
	for _, n := range s.neighbours {
		if n.Echo.IntervalNS != 0 {
			l := portLabels(n.Port)
			gauge(out, "echo_up", "1 if the fast echo crosses the link both ways.", truth(n.Echo.State == "Up"), l)
			counter(out, "echo_losses_total", "How often the fast echo found the link lost.", float64(n.Echo.Losses), l)
		}
	}
	for _, e := range s.edge {
		l := portLabels(e.Port)
		gauge(out, "edge_blocked", "1 if the edge guard keeps the port closed.", truth(e.State == spb.EdgeBlocked.String()), l)
		counter(out, "edge_blocks_total", "How often the edge guard closed the port.", float64(e.Blocks), l)
	}
	if v, err := c.d.SRP(ctx); err == nil {
		if streams, err := c.d.FindStreams(ctx, api.StreamQuery{Here: true}); err == nil {
			collectSRP(out, v, streams)
		}
	}
	collectGPTP(out, c.d.gptpView(s.gptp, c.d.clockNames(ctx)))
	for _, n := range c.d.counters(s) {
		if strings.HasPrefix(n.Name, "gptp_") {
			continue // collectGPTP has them, for each domain
		}
		counter(out, n.Name+"_total", "Counter of that name in the switch's status.", float64(n.Value), portLabels(n.Port))
	}
	for kind, n := range c.d.events.totals() {
		counter(out, "events_total", "Occurrences by kind.", float64(n), prometheus.Labels{"kind": kind})
	}
}

func (c collector) status(out chan<- prometheus.Metric, st *api.Status) {
	gauge(out, "spb_adjacencies", "IS-IS adjacencies that are Up.", float64(st.SPB.Adjacencies), nil)
	gauge(out, "spb_nodes", "Bridges that are reached, this one included.", float64(st.SPB.Nodes), nil)
	gauge(out, "spb_overload", "1 if other bridges are asked not to send through this one.", truth(st.SPB.Overload != ""), nil)
	gauge(out, "spb_agreement_pending", "1 while neighbours have not agreed on the topology.", truth(st.SPB.Agreement.Pending), nil)
	gauge(out, "spb_agreement_pending_seconds", "How long they have not.", float64(st.SPB.Agreement.For)*1e-9, nil)
	gauge(out, "spb_agreement_withheld", "Tree positions that wait for agreement.", float64(st.SPB.Agreement.Withheld), nil)
	gauge(out, "kernel_in_sync", "1 if the kernel is as desired.", truth(st.Kernel.InSync), nil)
	gauge(out, "kernel_differences", "Steps that would make the kernel as desired.", float64(st.Kernel.Differences), nil)
	gauge(out, "streams", "Streams by relation to this node.", float64(st.Streams.Owned), prometheus.Labels{"kind": "owned"})
	gauge(out, "streams", "Streams by relation to this node.", float64(st.Streams.Here), prometheus.Labels{"kind": "here"})
	gauge(out, "degraded", "Number of things that are not as they should be.", float64(len(st.Degraded)), nil)
	for _, p := range st.Ports {
		l := portLabels(p.Port)
		gauge(out, "port_up", "1 if the port has a link.", truth(p.Up), l)
		gauge(out, "port_gated", "1 if a schedule runs on the port.", truth(p.Gated), l)
		gauge(out, "port_reserved_bits_per_second", "Stream bandwidth that leaves by the port.", float64(p.Reserved)*1000, l)
	}
}

func (c collector) time(out chan<- prometheus.Metric) {
	g, err := c.d.clock.gate()
	if err != nil {
		return
	}
	gauge(out, "gate_clock_offset_seconds", "Gate clock minus gPTP time.", -float64(g.Offset())*1e-9, nil)
	gauge(out, "gate_clock_in_bound", "1 if that is within gptp.gateOffsetBound.", truth(g.Check(c.d.clock.bound, 0) == nil), nil)
}

func (c collector) kernel(out chan<- prometheus.Metric) {
	counter(out, "kernel_writes_total", "Requests of this run that changed the kernel.", float64(c.d.kernel.Writes()), nil)
	counters, err := c.d.kernel.Counters()
	if err != nil {
		return
	}
	for _, p := range counters {
		for class := range tsn.NumClasses {
			l := portLabels(p.Port)
			l["class"] = strconv.Itoa(class)
			counter(out, "port_class_frames_total", "Frames a traffic class sent.", float64(p.Class[class].Frames), l)
			counter(out, "port_class_octets_total", "Octets a traffic class sent.", float64(p.Class[class].Octets), l)
			counter(out, "port_class_dropped_total", "Frames a traffic class dropped.", float64(p.Class[class].Dropped), l)
			gateCounters(out, "port_class_", p.Class[class].Gates, l)
		}
		l := portLabels(p.Port)
		counter(out, "port_oversize_dropped_total", "Frames longer than their class's max-SDU or windows.", float64(p.Oversize), l)
		gateCounters(out, "port_", p.Gates, l)
		mergeCounters(out, p.Merge, l)
		filterMetrics(out, p)
	}
}

// gateCounters are a device's own; the kernel's gates keep none.
func gateCounters(out chan<- prometheus.Metric, prefix string, g dataplane.GateCounters, l prometheus.Labels) {
	if g == (dataplane.GateCounters{}) {
		return
	}
	counter(out, prefix+"window_drops_total", "Frames that fit no window.", float64(g.WindowDrops), l)
	counter(out, prefix+"overruns_total", "Frames still being sent as their gate shut.", float64(g.Overruns), l)
}

func mergeCounters(out chan<- prometheus.Metric, m dataplane.MACMergeCounters, l prometheus.Labels) {
	if m == (dataplane.MACMergeCounters{}) {
		return
	}
	counter(out, "port_fragments_sent_total", "Fragments of preemptible frames sent.", float64(m.FragsTx), l)
	counter(out, "port_fragments_received_total", "Fragments of preemptible frames received.", float64(m.FragsRx), l)
	counter(out, "port_reassembled_total", "Frames put together from fragments.", float64(m.FrameAssOK), l)
	counter(out, "port_reassembly_errors_total", "Frames that could not be put together.", float64(m.FrameAssErrors+m.FrameSMDErrors), l)
	counter(out, "port_preemption_holds_total", "Times that preemptible frames were held back.", float64(m.Holds), l)
}

func portLabels(p tsn.Port) prometheus.Labels {
	l := prometheus.Labels{}
	if p != tsn.NoPort {
		l["port"] = strconv.Itoa(int(p))
	}
	return l
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func gauge(out chan<- prometheus.Metric, name, help string, v float64, l prometheus.Labels) {
	out <- prometheus.MustNewConstMetric(prometheus.NewDesc("tsnswitch_"+name, help, nil, l), prometheus.GaugeValue, v)
}

func counter(out chan<- prometheus.Metric, name, help string, v float64, l prometheus.Labels) {
	out <- prometheus.MustNewConstMetric(prometheus.NewDesc("tsnswitch_"+name, help, nil, l), prometheus.CounterValue, v)
}

// serveMetrics serves /metrics until ctx ends. Without an address it does not;
// an address in use is reported and costs only the metrics.
func (d *Daemon) serveMetrics(ctx context.Context) error {
	addr := d.cfg.Metrics.Listen
	if !addr.IsValid() {
		return nil
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr.String())
	if err != nil {
		d.log.Warn("no metrics (set metrics.listen)", "err", err)
		d.events.add("metrics-unavailable", tsn.NoPort, err.Error())
		return nil
	}
	r := prometheus.NewRegistry()
	if err := r.Register(collector{d}); err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle("/metrics", promhttp.HandlerFor(r, promhttp.HandlerOpts{}))
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	stop := context.AfterFunc(ctx, func() { srv.Close() })
	defer stop()
	if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve metrics on %s: %w", addr, err)
	}
	return nil
}
