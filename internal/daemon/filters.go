package daemon

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"tsnswitch"
	"tsnswitch/internal/api"
	"tsnswitch/internal/config"
	"tsnswitch/internal/dataplane"
	"tsnswitch/internal/node"
)

// fitFilters leaves of the wanted stream filters and launch times what the
// kernel has: without gates talkers are still policed.
func fitFilters(nc *node.Config, features []dataplane.Feature) {
	for _, f := range features {
		if f.State != dataplane.FeatureMissing {
			continue
		}
		for i := range nc.Classes {
			if c := &nc.Classes[i]; f.Port == c.Port || f.Port == tsn.NoPort {
				fitClasses(c, f.Name)
			}
		}
	}
}

func fitClasses(c *node.PortClasses, missing string) {
	switch missing {
	case dataplane.FeatureStreamFilter:
		c.Filters = node.FilterOff
	case dataplane.FeatureStreamGate:
		c.Filters = min(c.Filters, node.FilterPolice)
	case dataplane.FeatureLaunchTime:
		c.Launch = [tsn.MaxTrafficClasses]tsn.LaunchTime{}
	}
}

// filtersDegraded says what the configuration wants of a port and its kernel
// has not.
func filtersDegraded(c *config.Daemon, features []dataplane.Feature) (out []string) {
	for _, f := range features {
		if f.State != dataplane.FeatureMissing {
			continue
		}
		for _, p := range c.Ports {
			if f.Port == p.Port && wantsFeature(c, p, f.Name) {
				out = append(out, fmt.Sprintf("port %d: %s is missing: %s", p.Port, f.Name, f.Why))
			}
		}
	}
	return out
}

func wantsFeature(c *config.Daemon, p config.Port, feature string) bool {
	filters := c.Role == config.RoleBridge && p.Role == "edge"
	switch feature {
	case dataplane.FeatureStreamFilter:
		return filters && c.FilterMode() != config.FilterOff
	case dataplane.FeatureStreamGate:
		return filters && c.FilterMode() == config.FilterGate
	case dataplane.FeatureLaunchTime:
		return p.Launch != nil
	}
	return false
}

// arrivalsAt are the windows in which the talkers of a port's streams send, as
// far as they are part of the schedule themselves. The talker of a stream is in
// its id (802.1Q 35.2.2.8.2).
func arrivalsAt(s *api.Schedule, port api.PortSchedule) (out []api.Window) {
	leaves := func(id tsn.StreamID) bool {
		return slices.ContainsFunc(port.Windows, func(w api.Window) bool { return w.Stream == id })
	}
	for _, from := range s.Ports {
		if from.System == port.System {
			continue
		}
		for _, w := range from.Windows {
			if bytes.Equal(w.Stream[:6], from.System[:]) && leaves(w.Stream) {
				out = append(out, w)
			}
		}
	}
	return out
}

// streamGates are the windows of streams in a schedule, wider by a margin on
// both sides: for a frame's way here, and until it is looked at.
func streamGates(h *heldSchedule, margin int64) (out []node.StreamGate) {
	if h == nil {
		return nil
	}
	for _, p := range h.Ports {
		if p.Gates == nil {
			continue
		}
		spans := map[tsn.StreamID][]tsn.Span{}
		for _, w := range p.Arrivals {
			spans[w.Stream] = append(spans[w.Stream], tsn.Span{Start: w.Start - margin, End: w.End + margin})
		}
		for id, s := range spans {
			out = append(out, node.StreamGate{ID: id, Gate: tsn.NewStreamGate(h.Base.Add(p.Gates.BaseTime.NS), p.Gates.CycleTime, s...)})
		}
	}
	slices.SortFunc(out, func(a, b node.StreamGate) int { return bytes.Compare(a.ID[:], b.ID[:]) })
	return out
}

// tellStreamGates tells the control machine when streams come in by the
// schedule that runs, or is about to. It needs the held lock.
func (d *Daemon) tellStreamGates() {
	if d.cfg.FilterMode() == config.FilterGate {
		d.control.post(node.SetStreamGates{Gates: streamGates(d.held.Schedule, int64(d.cfg.QBV.FilterMargin))})
	}
}

// filterCounts are the stream filters of one port together.
type filterCounts struct {
	MatchingFrames                            uint64
	TooLongDropped, GateDropped, MeterDropped uint64
}

func sumFilters(fs []dataplane.FilterCounters) (sum filterCounts) {
	for _, f := range fs {
		sum.MatchingFrames += f.Matching
		sum.TooLongDropped += f.TooLong
		sum.GateDropped += f.GateClosed
		sum.MeterDropped += f.Red
	}
	return sum
}

// filterMetrics has a line for each stream and what became of its frames.
func filterMetrics(out chan<- prometheus.Metric, p dataplane.Counters) {
	for _, f := range p.Filters {
		for _, r := range []struct {
			result string
			frames uint64
		}{{"passed", f.Passing()}, {"too-long", f.TooLong}, {"gate-closed", f.GateClosed}, {"red", f.Red}} {
			l := portLabels(p.Port)
			l["stream"], l["result"] = f.ID.String(), r.result
			counter(out, "stream_filter_frames_total", "Frames of a stream that came in from its talker.", float64(r.frames), l)
		}
	}
}
