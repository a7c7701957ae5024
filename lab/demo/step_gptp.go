package main

import (
	"context"
	"fmt"
	"time"

	"tsnswitch/gptp/ptpmsg"
)

// clockReport is one node's clock in the report. Offset is what the protocol
// measured; GateOffset is the gate clock against gPTP time, which on one
// kernel, with a grand master that is the kernel's own TAI, is the true error.
type clockReport struct {
	Node         string       `json:"node"`
	Grandmaster  string       `json:"grandmaster"`
	StepsRemoved uint16       `json:"stepsRemoved"`
	OffsetNS     int64        `json:"offsetNs"`
	RatePPM      float64      `json:"ratePpm"`
	Ports        []portReport `json:"ports"`
}

type portReport struct {
	Ifname        string `json:"ifname"`
	State         string `json:"state"`
	AsCapable     bool   `json:"asCapable"`
	MeanLinkDelay int64  `json:"meanLinkDelayNs"`
	GateOffset    int64  `json:"gateOffsetNs"`
	GateInBound   bool   `json:"gateInBound"`
}

// stepGPTP waits for one grand master, every port asCapable, every clock
// synchronized, and every gate clock within its bound of gPTP.
func (l *lab) stepGPTP(ctx context.Context, s *stepReport) error {
	var clocks []clockReport
	err := s.wait(ctx, "one grand master, every port asCapable, every clock synchronized and its gates in bound", 60*time.Second,
		func(ctx context.Context) (string, bool, error) {
			clocks = clocks[:0]
			masters, gms, capable, ports, synced, bound := map[string]bool{}, 0, 0, 0, 0, 0
			waiting := ""
			for _, n := range l.nodes {
				st, err := n.client.GPTP(ctx)
				if err != nil {
					return "", false, l.alive()
				}
				c := clockReport{n.Name, l.clockName(st.Grandmaster), st.StepsRemoved, st.Offset, st.RatePPM, nil}
				masters[st.Grandmaster] = true
				if st.IsGrandmaster {
					gms++
				}
				if st.Synchronized {
					synced++
				}
				for _, p := range st.Ports {
					ports++
					if p.AsCapable {
						capable++
					} else {
						waiting = fmt.Sprintf("; %s %s: %s", n.Name, p.Ifname, p.Reason)
					}
					if p.GateInBound {
						bound++
					}
					c.Ports = append(c.Ports, portReport{p.Ifname, p.State, p.AsCapable, p.MeanLinkDelay, p.GateOffset, p.GateInBound})
				}
				clocks = append(clocks, c)
			}
			saw := fmt.Sprintf("%d grand master(s), %d of %d ports asCapable, %d of %d nodes synchronized, %d gate clocks in bound%s",
				gms, capable, ports, synced, len(l.nodes), bound, waiting)
			return saw, gms == 1 && len(masters) == 1 && capable == ports && synced == len(l.nodes) && bound == ports, l.alive()
		})
	if err != nil {
		return err
	}
	s.fact("clocks", clocks)
	s.say("%-4s %-4s %5s %11s %9s  %s", "node", "GM", "steps", "offset", "rate", "ports: state, link delay, gate clock - gPTP")
	for _, c := range clocks {
		head := fmt.Sprintf("%-4s %-4s %5d %8.1f us %5.1f ppm", c.Node, c.Grandmaster, c.StepsRemoved, float64(c.OffsetNS)/1000, c.RatePPM)
		for _, p := range c.Ports {
			s.say("%s  %s %s %.1f us %+.1f us", head, p.Ifname, p.State, float64(p.MeanLinkDelay)/1000, float64(p.GateOffset)/1000)
			head = fmt.Sprintf("%*s", len(head), "")
		}
	}
	slaves, passive := 0, 0
	for _, c := range clocks {
		for _, p := range c.Ports {
			switch p.State {
			case "SlavePort":
				slaves++
			case "PassivePort":
				passive++
			}
		}
	}
	if slaves != len(l.nodes)-1 {
		return fmt.Errorf("%d slave ports, want one on each of the %d nodes that are not grand master", slaves, len(l.nodes)-1)
	}
	s.fact("slavePorts", slaves)
	s.fact("passivePorts", passive)
	return nil
}

// clockName finds the node whose address a clock identity was made from.
func (l *lab) clockName(identity string) string {
	for _, n := range l.net.Nodes {
		if ptpmsg.ClockIdentityFromMAC(n.SystemID).String() == identity {
			return n.Name
		}
	}
	return identity
}
