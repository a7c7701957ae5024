package nodeconfig

import (
	"reflect"
	"testing"

	"tsnswitch"
	"tsnswitch/gptp"
	"tsnswitch/internal/config"
)

// Every key of gptp reaches the core, and the core finds nothing wrong with
// what the configuration lets pass.
func TestGPTP(t *testing.T) {
	c, err := config.ParseDaemon("c1", []byte(`name: c1
role: clock
systemId: 02:00:00:00:00:07
ports:
  - {port: 1, ifname: a, gptp: {desiredState: {3: slave, 20: master}, delayAsymmetry: -7ns}, neighborPropDelayThresh: 1us}
  - {port: 2, ifname: b, gptp: {masterOnly: true, enabled: false}}
gptp:
  domain: 3
  priority1: 1
  priority2: 2
  clockClass: 6
  clockAccuracy: 0x21
  timeSource: 0x20
  minorVersion: 1
  commonLinkDelay: true
  externalPortConfiguration: true
  domains: [{domain: 20, priority1: 4, priority2: 5, externalPortConfiguration: true}, {domain: 21}]
  hotStandby: {primary: 20, secondary: 3}
  syncInterval: 31.25ms
  announceInterval: 2s
  pdelayInterval: 500ms
  syncReceiptTimeout: 4
  announceReceiptTimeout: 5
  allowedLostResponses: 6
  allowedFaults: 7
`))
	if err != nil {
		t.Fatal(err)
	}
	n, err := Of(c)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := gptp.New(n.GPTP); err != nil {
		t.Fatal(err)
	}
	port := func(p tsn.Port) gptp.PortConfig {
		return gptp.PortConfig{
			Port: p, NeighborPropDelayThresh: SoftwareThresh, LogSyncInterval: -5, LogAnnounceInterval: 1, LogPdelayReqInterval: -1,
			SyncReceiptTimeout: 4, AnnounceReceiptTimeout: 5, AllowedLostResponses: 6, AllowedFaults: 7,
		}
	}
	p1, p2 := port(1), port(2)
	p1.NeighborPropDelayThresh, p1.DelayAsymmetry = 1000, -7
	p2.MasterOnly, p2.Disabled = true, true
	domain := func(n, p1, p2 uint8, external bool, states map[tsn.Port]gptp.PortState) gptp.DomainConfig {
		return gptp.DomainConfig{
			Domain: n, Priority1: p1, Priority2: p2, ClockClass: 6, Accuracy: 0x21, TimeSource: 0x20,
			ExternalPortConfiguration: external, DesiredStates: states,
		}
	}
	want := gptp.Config{
		SystemMAC: tsn.MAC{2, 0, 0, 0, 0, 7}, MinorVersion: 1, CommonLinkDelay: true, Seed: n.GPTP.Seed,
		HotStandby: &gptp.HotStandbyConfig{Primary: 20, Secondary: 3},
		Domains: []gptp.DomainConfig{
			domain(3, 1, 2, true, map[tsn.Port]gptp.PortState{1: gptp.SlavePort}),
			domain(20, 4, 5, true, map[tsn.Port]gptp.PortState{1: gptp.MasterPort}),
			domain(21, 246, 248, false, map[tsn.Port]gptp.PortState{}),
		},
		Ports: []gptp.PortConfig{p1, p2},
	}
	if !reflect.DeepEqual(n.GPTP, want) {
		t.Errorf("%+v\nwant %+v", n.GPTP, want)
	}
	if len(n.Ports)+len(n.QBV.Ports)+len(n.SRP.Ports) != 0 {
		t.Error("a clock has ports with an egress")
	}
}
