package daemon

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"tsnswitch/internal/api"
)

// gptpStates are the values of the label state.
var gptpStates = []string{api.GPTPGrandMaster, api.GPTPSynchronized, api.GPTPAcquiring, api.GPTPHoldover, api.GPTPFreeRunning}

// portStates are those of a port.
var portStates = []string{"MasterPort", "SlavePort", "PassivePort", "DisabledPort"}

// standbyStates are those of the hot standby system.
var standbyStates = []string{"INIT", "REDUNDANT", "NOT_REDUNDANT", "OUT_OF_SYNC"}

// gptpDrops are the counters of messages that were taken from the wire and not
// acted upon: the values of the label reason.
var gptpDrops = []string{"malformed", "not_gptp", "other_domain", "unexpected", "no_information", "announce_discarded", "announce_refused", "requests_too_soon"}

// collectGPTP gives every metric of gPTP. docs/gptp.md lists them.
func collectGPTP(out chan<- prometheus.Metric, g *api.GPTPStatus) {
	gauge(out, "gptp_clock_steered", "1 if the kernel's clock is steered by gPTP time.", truth(g.Steered), nil)
	gauge(out, "gptp_degraded", "Number of things that are not as they should be with time.", float64(len(g.Degraded)), nil)
	if h := g.HotStandby; h != nil {
		for _, s := range standbyStates {
			gauge(out, "gptp_hot_standby_state", "1 for the state that the hot standby system is in.", truth(h.State == s), prometheus.Labels{"state": s})
		}
		gauge(out, "gptp_hot_standby_active_domain", "Domain that the time is taken from.", float64(h.Active), nil)
		gauge(out, "gptp_hot_standby_offset_seconds", "The primary domain's time less the secondary's.", float64(h.Offset)*1e-9, nil)
	}
	for _, d := range g.Domains {
		collectDomain(out, d)
		for _, p := range d.Ports {
			collectGPTPPort(out, d.Domain, p)
		}
	}
}

func collectDomain(out chan<- prometheus.Metric, d api.GPTPDomain) {
	l := prometheus.Labels{"domain": strconv.Itoa(int(d.Domain))}
	with := func(name, value string) prometheus.Labels {
		m := maps.Clone(l)
		m[name] = value
		return m
	}
	gauge(out, "gptp_synchronized", "1 if gPTP time follows a grand master, or is this node's own.", truth(d.Synchronized), l)
	gauge(out, "gptp_offset_seconds", "Own time minus the grand master's, found by the last Sync.", float64(d.Offset)*1e-9, l)
	gauge(out, "gptp_offset_rms_seconds", "Root mean square of the last offsets.", d.OffsetRMS*1e-9, l)
	gauge(out, "gptp_offset_max_seconds", "Largest magnitude of the last offsets.", float64(d.OffsetMax)*1e-9, l)
	counter(out, "gptp_outliers_total", "Syncs that were not believed.", float64(d.Outliers), l)
	gauge(out, "gptp_rate_ratio_ppm", "gPTP time's rate against the local clock, less one, in 1e-6.", d.RatePPM, l)
	gauge(out, "gptp_holdover", "1 if the time of a grand master that is gone goes on.", truth(d.Holdover), l)
	gauge(out, "gptp_steps_removed", "Links to the grand master.", float64(d.StepsRemoved), l)
	gauge(out, "gptp_last_gm_phase_change_seconds", "lastGmPhaseChange, as the grand master tells it.", float64(d.LastGmPhaseChange)*1e-9, l)
	gauge(out, "gptp_gm_time_base_indicator", "gmTimeBaseIndicator.", float64(d.GmTimeBaseIndicator), l)
	info := with("identity", d.Grandmaster)
	info["name"] = d.GrandmasterName
	gauge(out, "gptp_grandmaster_info", "1; the grand master is in the labels.", 1, info)
	for _, s := range gptpStates {
		gauge(out, "gptp_state", "1 for the state that the domain is in.", truth(d.State == s), with("state", s))
	}
}

func collectGPTPPort(out chan<- prometheus.Metric, domain uint8, p api.GPTPPort) {
	l := portLabels(p.Port)
	l["domain"] = strconv.Itoa(int(domain))
	with := func(pairs ...string) prometheus.Labels {
		m := maps.Clone(l)
		for k := 0; k < len(pairs); k += 2 {
			m[pairs[k]] = pairs[k+1]
		}
		return m
	}
	gauge(out, "gptp_as_capable", "1 if the port is asCapable.", truth(p.AsCapable), l)
	if p.Reason != "" {
		gauge(out, "gptp_not_as_capable_info", "1; why the port is not asCapable is in the label.", 1, with("reason", p.Reason))
	}
	gauge(out, "gptp_mean_link_delay_seconds", "meanLinkDelay.", float64(p.MeanLinkDelay)*1e-9, l)
	gauge(out, "gptp_neighbor_prop_delay_thresh_seconds", "The meanLinkDelay above which the port is not asCapable.", float64(p.NeighborPropDelayThresh)*1e-9, l)
	gauge(out, "gptp_neighbor_rate_ratio_ppm", "neighborRateRatio less one, in 1e-6.", p.NeighborRateRatioPPM, l)
	for _, s := range portStates {
		gauge(out, "gptp_port_state", "1 for the state that the port is in.", truth(p.State == s), with("state", s))
	}
	for _, name := range slices.Sorted(maps.Keys(p.Counters)) {
		v := float64(p.Counters[name])
		direction, message, _ := strings.Cut(name, "_")
		switch {
		case direction == "rx" || direction == "tx":
			counter(out, "gptp_messages_total", "Messages by direction and type.", v, with("direction", direction, "type", message))
		case slices.Contains(gptpDrops, name):
			counter(out, "gptp_dropped_total", "Messages received and not acted upon, by reason.", v, with("reason", name))
		default:
			counter(out, "gptp_"+name+"_total", "Counter "+name+" of the port.", v, l)
		}
	}
}
