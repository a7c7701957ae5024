package nodeconfig

import (
	"tsnswitch"
	"tsnswitch/gptp"
	"tsnswitch/internal/config"
)

// What a port's neighborPropDelayThresh is if nobody chose one, ns. The
// standard's is meant for copper and hardware stamps; software stamps measure
// how busy the two machines are as well.
const (
	HardwareThresh int64 = 800
	SoftwareThresh int64 = 20_000_000
)

// portStates are the words of desiredState.
var portStates = map[string]gptp.PortState{
	"master": gptp.MasterPort, "slave": gptp.SlavePort, "passive": gptp.PassivePort, "disabled": gptp.DisabledPort,
}

func gptpConfig(c *config.Daemon) gptp.Config {
	k := c.GPTP
	g := gptp.Config{SystemMAC: c.SystemID, Seed: seedOf(c), MinorVersion: k.MinorVersion, CommonLinkDelay: k.CommonLinkDelay}
	g.Domains = append(g.Domains, gptp.DomainConfig{
		Domain: k.Domain, Priority1: k.Priority1, Priority2: k.Priority2,
		ClockClass: k.ClockClass, Accuracy: k.ClockAccuracy, TimeSource: k.TimeSource,
		ExternalPortConfiguration: k.ExternalPortConfiguration,
	})
	for _, x := range k.Domains {
		d := g.Domains[0]
		d.Domain, d.Priority1, d.Priority2, d.ExternalPortConfiguration = x.Domain, x.Priority1, x.Priority2, x.ExternalPortConfiguration
		g.Domains = append(g.Domains, d)
	}
	for i := range g.Domains {
		g.Domains[i].DesiredStates = desiredStates(c, g.Domains[i].Domain)
	}
	if h := k.HotStandby; h != nil {
		g.HotStandby = &gptp.HotStandbyConfig{Primary: h.Primary, Secondary: h.Secondary}
	}
	for _, p := range c.Ports {
		g.Ports = append(g.Ports, gptpPort(k, p))
	}
	return g
}

func desiredStates(c *config.Daemon, domain uint8) map[tsn.Port]gptp.PortState {
	out := map[tsn.Port]gptp.PortState{}
	for _, p := range c.Ports {
		if s := p.GPTP.DesiredState.In(domain, domain == c.GPTP.Domain); s != "" {
			out[p.Port] = portStates[s]
		}
	}
	return out
}

func gptpPort(k config.GPTP, p config.Port) gptp.PortConfig {
	pc := gptp.PortConfig{
		Port: p.Port, Disabled: !k.Enabled || !p.GPTP.Enabled, MasterOnly: p.IsMasterOnly(),
		NeighborPropDelayThresh: int64(p.NeighborPropDelayThresh), DelayAsymmetry: int64(p.GPTP.DelayAsymmetry),
		SyncReceiptTimeout: uint8(k.SyncReceiptTimeout), AnnounceReceiptTimeout: uint8(k.AnnounceReceiptTimeout),
		AllowedLostResponses: uint8(k.AllowedLostResponses), AllowedFaults: uint8(k.AllowedFaults),
	}
	if pc.NeighborPropDelayThresh == 0 {
		pc.NeighborPropDelayThresh = SoftwareThresh
	}
	pc.LogSyncInterval, _ = config.LogInterval(k.SyncInterval) // all were checked
	pc.LogAnnounceInterval, _ = config.LogInterval(k.AnnounceInterval)
	pc.LogPdelayReqInterval, _ = config.LogInterval(k.PdelayInterval)
	return pc
}
