package daemon

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"

	"tsnswitch"
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
		return filters && c.QBV.Filters != config.FilterOff
	case dataplane.FeatureStreamGate:
		return filters && c.QBV.Filters == config.FilterGate
	case dataplane.FeatureLaunchTime:
		return p.Launch != nil
	}
	return false
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
