package daemon

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"tsnswitch"
	"tsnswitch/internal/api"
)

// streamStates are all that a stream can be in, so that a metric of one that no
// stream is in is 0, not absent.
var streamStates = []string{
	api.StreamReserved, api.StreamPartly, api.StreamFailed, api.StreamOffered, api.StreamAwaited, api.StreamScheduled,
}

// collectSRP makes metrics of what a node says of its stream reservation.
func collectSRP(out chan<- prometheus.Metric, v *api.SRP, streams []api.StreamView) {
	counter(out, "srp_reserved_total", "Reservations of a stream on a port by MSRP.", float64(v.Reserved), nil)
	counter(out, "srp_released_total", "Ends of such reservations.", float64(v.Released), nil)
	counter(out, "srp_preempted_total", "Reservations that an emergency stream took.", float64(v.Preempted), nil)
	for _, f := range v.Failed {
		counter(out, "srp_failed_total", "Streams that failed towards a port here, by failure code.", float64(f.Count),
			prometheus.Labels{"code": strconv.Itoa(int(f.Code)), "text": f.Text})
	}
	for _, a := range []string{"msrp", "mvrp", "mmrp"} {
		runs := 0.0
		for _, x := range v.Applications {
			if x == a {
				runs = 1
			}
		}
		gauge(out, "srp_application", "1 if the MRP application runs.", runs, prometheus.Labels{"application": a})
	}
	for _, p := range v.Ports {
		collectSRPPort(out, p)
	}
	type kind struct{ source, state string }
	n := map[kind]int{}
	for _, s := range streams {
		n[kind{s.Source, s.State}]++
	}
	for _, source := range []string{api.SourceMSRP, api.SourceManaged} {
		for _, state := range streamStates {
			gauge(out, "srp_streams", "Streams that this bridge has a part in, by what became of them.", float64(n[kind{source, state}]),
				prometheus.Labels{"source": source, "state": state})
		}
	}
}

func collectSRPPort(out chan<- prometheus.Metric, p api.SRPPort) {
	for _, c := range p.Classes {
		l := portLabels(p.Port)
		l["class"] = c.Class
		gauge(out, "srp_class_limit_bits_per_second", "Bandwidth that streams of a class may reserve of a port.", bits(c.Limit), l)
		gauge(out, "srp_class_used_bits_per_second", "What they have reserved.", bits(c.Used), l)
		gauge(out, "srp_class_free_bits_per_second", "What they may still reserve.", bits(c.Free), l)
		gauge(out, "srp_boundary", "1 if the port is at the border of the class's SR domain.", truth(c.Boundary), l)
	}
	for _, c := range p.Counters {
		l := portLabels(p.Port)
		l["counter"] = c.Name
		counter(out, "mrp_total", "Counters of the port's MRP participants.", float64(c.Value), l)
	}
}

func bits(r tsn.Rate) float64 { return float64(r) * 1000 }
