package apitest

import (
	"context"
	"maps"

	"tsnswitch"
	"tsnswitch/internal/api"
)

// Clock identities of the fake's neighbourhood.
const (
	clockB1 = "020000.fffe.000001"
	clockB2 = "020000.fffe.000002"
	clockB3 = "020000.fffe.000003"
	clockX  = "aabbcc.fffe.ddeeff" // of no node of the fabric
)

func gptpPorts(state string) []api.GPTPPort {
	busy := map[string]uint64{
		"rx_sync": 28_800, "rx_follow_up": 28_799, "rx_announce": 3600, "rx_pdelay_req": 3605, "rx_pdelay_resp": 3601,
		"rx_pdelay_resp_follow_up": 3601, "rx_signaling": 0, "tx_sync": 0, "tx_follow_up": 0, "tx_announce": 0, "tx_pdelay_req": 3610,
		"tx_pdelay_resp": 3605, "tx_pdelay_resp_follow_up": 3605, "tx_signaling": 0,
		"lost_follow_ups": 1, "lost_transmit_stamps": 2, "sync_receipt_timeouts": 1, "malformed": 0,
	}
	slow := maps.Clone(busy)
	for name := range slow {
		slow[name] = 0
	}
	slow["tx_pdelay_req"], slow["rx_pdelay_resp"] = 61, 61
	ports := []api.GPTPPort{
		{
			Port: 1, Ifname: "p1", Up: true, State: state, AsCapable: true, Neighbor: clockB2 + "-1", NeighborName: "b2",
			MeanLinkDelay: 1830, NeighborPropDelayThresh: 20_000_000, NeighborRateRatioPPM: -3.2, Stamps: "software", StampsWhy: "the driver stamps no frames in hardware",
			GateOffset: 412, GateInBound: true, Counters: busy, NeighborGptpCapable: true,
			Intervals: api.GPTPIntervals{Sync: api.GPTPInterval{Current: 31_250_000, Configured: 125_000_000}, Announce: api.GPTPInterval{Configured: 1e9}},
		},
		{
			Port: 2, Ifname: "enp0s31f6-long", State: "DisabledPort", Reason: "link-down",
			NeighborPropDelayThresh: 20_000_000, Stamps: "software", Counters: map[string]uint64{},
		},
		{
			Port: 3, Ifname: "p3", Up: true, State: "DisabledPort", Reason: "delay-above-threshold", Neighbor: clockX + "-1",
			MeanLinkDelay: 23_000, NeighborPropDelayThresh: 800, NeighborRateRatioPPM: 41.5, Stamps: "software",
			GateOffset: 1_200_000, Counters: slow,
		},
	}
	for k := range ports {
		ports[k].Explanation = ports[k].Explain()
	}
	return ports
}

// GPTP implements api.Switch.
func (f *Fake) GPTP(context.Context) (*api.GPTPStatus, error) {
	first := api.GPTPDomain{
		State: api.GPTPSynchronized, StateFor: 3_725e9, ClockIdentity: clockB1, Grandmaster: clockB3, GrandmasterName: "b3", StepsRemoved: 2,
		Synchronized: true, Path: []api.GPTPClock{{Identity: clockB3, Name: "b3"}, {Identity: clockB2, Name: "b2"}, {Identity: clockB1, Name: "b1"}},
		Offset: -1250, OffsetRMS: 640.5, OffsetMax: 2210, OffsetWindow: 128, Outliers: 3, RatePPM: 19.87, TimeSource: 0xA0,
		CurrentUtcOffset: 37, CurrentUtcOffsetValid: true, GmTimeBaseIndicator: 1, LastGmPhaseChange: -15_000, Ports: gptpPorts("SlavePort"),
	}
	second := api.GPTPDomain{
		Domain: 20, State: api.GPTPHoldover, StateFor: 12e9, HoldoverRatePPM: 19.9, ExternalPortConfiguration: true, ClockIdentity: clockB1, Grandmaster: clockB1, GrandmasterName: "b1", IsGrandmaster: true,
		Holdover: true, NotSyncedReason: "sync-timeout", Path: []api.GPTPClock{{Identity: clockX}, {Identity: clockB1, Name: "b1"}},
		RatePPM: 19.9, TimeSource: 0xA0, Ports: gptpPorts("MasterPort"),
	}
	return &api.GPTPStatus{
		Node: f.Name, GPTPDomain: first, Clock: "virtual", Now: tsn.PTPTime{NS: 1_700_000_000_123_456_789}, Domains: []api.GPTPDomain{first, second},
		HotStandby: &api.GPTPHotStandby{State: "NOT_REDUNDANT", StateFor: 12e9, Secondary: 20, PrimarySynced: true, OffsetThresh: 20_000},
		Degraded:   []string{"port 3 is not asCapable: delay-above-threshold: " + first.Ports[2].Explanation},
	}, f.did("GPTP")
}

// gptpStart is when the fake's recording begins.
const gptpStart = 1_700_000_000_000_000_000

// gptpSample is the fake's offset: it locks, then wanders; after 40 s its grand
// master goes and it holds over until 45 s, when another one has come.
func gptpSample(domain uint8, k int64) api.GPTPSample {
	s := api.GPTPSample{
		Time: gptpStart + k*125_000_000, Domain: domain, Offset: (k*7919)%2003 - 1001, RatePPM: 19.87, MeanLinkDelay: 1830,
		Grandmaster: clockB3, State: api.GPTPSynchronized,
	}
	switch {
	case k < 8:
		s.State, s.Offset = api.GPTPAcquiring, 1_000_000>>k
	case k >= 320 && k < 360:
		s.State, s.Offset, s.Grandmaster, s.MeanLinkDelay = api.GPTPHoldover, 0, clockB1, 0
	case k >= 360:
		s.Grandmaster, s.Offset = clockB2, s.Offset/2+6000-100*(k-360)
	}
	return s
}

// gptpEvents are the occurrences beside gptpSample.
func (f *Fake) gptpEvents() []api.Event {
	at := func(k int64) int64 { return gptpSample(0, k).Time }
	return []api.Event{
		{Seq: 11, Time: at(0), Node: f.Name, Kind: "as-capable", Port: 1},
		{Seq: 12, Time: at(1), Node: f.Name, Kind: "grand-master", Detail: clockB1 + " -> " + clockB3 + ": better priority1, 100 < 246, at port 1"},
		{Seq: 14, Time: at(320), Node: f.Name, Kind: "sync-timeout", Port: 1},
		{Seq: 15, Time: at(320) + 1, Node: f.Name, Kind: "grand-master", Detail: clockB3 + " -> " + clockB1 + ": sync-timeout at port 1"},
		{Seq: 17, Time: at(359), Node: f.Name, Kind: "grand-master", Detail: clockB1 + " -> " + clockB2 + ": better priority2, 200 < 248, at port 1"},
	}
}

// gptpDomain refuses a domain that the fake has not.
func gptpDomain(q api.GPTPQuery) (uint8, error) {
	switch {
	case q.Domain == nil:
		return 0, nil
	case *q.Domain == 0 || *q.Domain == 20:
		return *q.Domain, nil
	}
	return 0, api.Errorf(api.CodeNotFound, "domain %d is not here; there is 0, 20", *q.Domain)
}

// GPTPHistory implements api.Switch: a minute.
func (f *Fake) GPTPHistory(_ context.Context, q api.GPTPQuery) (*api.GPTPHistory, error) {
	domain, err := gptpDomain(q)
	if err != nil {
		return nil, err
	}
	h := &api.GPTPHistory{Node: f.Name, Domain: domain, Events: f.gptpEvents()}
	for k := range int64(480) {
		if s := gptpSample(domain, k); q.Back == 0 || s.Time >= gptpStart+60e9-q.Back {
			h.Samples = append(h.Samples, s)
		}
	}
	return h, f.did("GPTPHistory")
}

// WatchGPTP implements api.Switch: the minute, at once, then nothing.
func (f *Fake) WatchGPTP(ctx context.Context, q api.GPTPQuery, emit func(api.GPTPUpdate) error) error {
	domain, err := gptpDomain(q)
	if err == nil {
		err = f.did("WatchGPTP")
	}
	if err != nil {
		return err
	}
	events := f.gptpEvents()
	for k := range int64(480) {
		s := gptpSample(domain, k)
		for len(events) > 0 && events[0].Time <= s.Time {
			if err := emit(api.GPTPUpdate{Event: &events[0]}); err != nil {
				return err
			}
			events = events[1:]
		}
		if err := emit(api.GPTPUpdate{Sample: &s}); err != nil {
			return err
		}
	}
	<-ctx.Done()
	return ctx.Err()
}
