package api

import "fmt"

// Explain says in words why a port is not asCapable and what to do next. It
// goes by Reason; a reason that it does not know explains itself.
func (p GPTPPort) Explain() string {
	switch p.Reason {
	case "":
		return ""
	case "link-down":
		return "no carrier; look at the cable and at the neighbour's port"
	case "disabled":
		return "gPTP is switched off on this port (ports[].gptp.enabled)"
	case "measuring":
		return "too few Pdelay exchanges yet; it takes about a second"
	case "no-response":
		return "nobody answers Pdelay_Req; the neighbour does not run gPTP here, or another majorSdoId or domain; a switch in between drops the frames"
	case "no-follow-up":
		return "Pdelay_Resp comes without its Follow_Up; the neighbour has lost its transmit stamps, or sends one-step responses"
	case "no-transmit-stamp":
		return "the driver gives no transmit time stamps; see tsnctl doctor, or use another interface"
	case "no-receive-stamp":
		return "the driver gives no receive time stamps; see tsnctl doctor, or use another interface"
	case "delay-above-threshold":
		return p.delayTooLong()
	case "multiple-responses":
		return "several nodes answer one Pdelay_Req: a switch that does not speak gPTP is in between; remove it, or let it filter 01-80-C2-00-00-0E; after three in a row no Pdelay_Req is sent for 5 minutes"
	case "own-clock":
		return "the answer is this node's own: the port is looped to itself or to another port of this node"
	case "rate-ratio-out-of-range":
		return fmt.Sprintf("the neighbour's clock runs at %+.0f ppm of ours, more than any oscillator; something steps or steers one of the two clocks under the stamps", p.NeighborRateRatioPPM)
	case "not-gptp-capable":
		return "the link is good, but the neighbour does not say that it has this domain; configure the domain there, or give up on it here"
	case "stopped-by-neighbor":
		return "the neighbour asked for no Pdelay_Req before the link was measured; take the link down and up, or let it ask for the initial interval"
	}
	return p.Reason
}

func (p GPTPPort) delayTooLong() string {
	text := fmt.Sprintf("%s > %s", nanoseconds(p.MeanLinkDelay), nanoseconds(p.NeighborPropDelayThresh))
	if p.Stamps == "software" {
		return text + "; software stamps need a wide gptp.neighborPropDelayThresh, 20ms does"
	}
	return text + "; the cable is long, or something that stores frames is in between; if that is meant, raise gptp.neighborPropDelayThresh"
}

func nanoseconds(ns int64) string {
	switch {
	case ns < 10_000:
		return fmt.Sprintf("%d ns", ns)
	case ns < 10_000_000:
		return fmt.Sprintf("%.3g us", float64(ns)/1e3)
	}
	return fmt.Sprintf("%.3g ms", float64(ns)/1e6)
}
