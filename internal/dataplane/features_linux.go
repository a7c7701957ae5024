package dataplane

import (
	"errors"

	tsn "tsnswitch"
)

// Features lists what the kernel, the drivers and the devices can do: what
// concerns the whole switch first, then each port. Like Open it must be called
// in the network namespace of the switch.
func (k *Kernel) Features() []Feature {
	k.mu.Lock()
	defer k.mu.Unlock()
	var out []Feature
	check := func(p tsn.Port, names ...string) {
		for _, n := range names {
			out = append(out, feature(p, n, check(&k.k, k.k.port(p), n)))
		}
	}
	if k.k.cfg.Bridge != "" {
		check(tsn.NoPort, FeatureVLANFiltering, FeatureMDB)
	}
	out = append(out, Feature{Name: FeatureClassOrder, Why: k.k.probed.why})
	for _, p := range k.k.cfg.Ports {
		if k.k.cfg.Bridge != "" {
			check(p.Port, FeatureLocked, FeatureKeepBack)
		}
		check(p.Port, FeatureQueues, FeatureTaprio, FeatureMQPrio, FeatureClassifier, FeatureCBS, FeatureMaxSDU, FeatureStreamFilter, FeatureStreamGate, FeatureRegeneration)
		out = append(out, k.k.offload(p), k.k.merge(p))
		if p.Offload == OffloadTxTime {
			out = append(out, k.k.launch(p))
		}
		out = append(out, k.k.device(p)...)
	}
	return out
}

func feature(p tsn.Port, name string, err error) Feature {
	f := Feature{Name: name, Port: p}
	var u *UnsupportedError
	switch {
	case errors.As(err, &u):
		f.State, f.Why = FeatureMissing, u.Why
	case err != nil:
		f.State, f.Why = FeatureMissing, err.Error()
	}
	return f
}

// offload tells who runs the gates; a device that is not asked to is not tried.
func (k *kernel) offload(p PortConfig) Feature {
	f := feature(p.Port, FeatureOffload, k.Check(p.Port, FeatureOffload))
	if f.State == FeatureOK && p.Offload != OffloadFull {
		f.State, f.Why = FeatureDegraded, "not tried: offload is "+p.Offload.String()+" here"
	}
	return f
}

// launch tells who launches frames under txtime-assist.
func (k *kernel) launch(p PortConfig) Feature {
	f := feature(p.Port, FeatureLaunchTime, k.Check(p.Port, FeatureLaunchTime))
	if f.State == FeatureOK && k.soft[p.Port] {
		f.State, f.Why = FeatureDegraded, "the device has no launch times: the kernel's timer launches frames, and drops late ones"
	}
	return f
}

// merge tells the state of the MAC merge sublayer.
func (k *kernel) merge(p PortConfig) Feature {
	f := feature(p.Port, FeatureMACMerge, k.Check(p.Port, FeatureMACMerge))
	if f.State != FeatureOK || p.Preemption == nil {
		return f
	}
	s, err := k.mm.get(p.Ifname)
	switch {
	case err != nil:
		f.State, f.Why = FeatureMissing, err.Error()
	case s.Enabled && !s.Active:
		f.State, f.Why = FeatureDegraded, "no fragments are sent: verification "+s.Verify
	}
	return f
}

// device tells what only the interface knows.
func (k *kernel) device(p PortConfig) []Feature {
	stamps, phc := stamping(k.ioctl, p.Ifname)
	out := []Feature{stamps, phc}
	if linkSpeed(k.ioctl, p.Ifname) == 0 {
		out = append(out, Feature{Name: FeatureTaprio, State: FeatureDegraded, Why: "the driver tells no link speed: the kernel's gates and shapers take it for 10 Mbit/s"})
	}
	for i := range out {
		out[i].Port = p.Port
	}
	return out
}
