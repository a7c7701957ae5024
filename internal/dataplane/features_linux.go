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
			out = append(out, feature(p, n, k.k.Check(p, n)))
		}
	}
	if k.k.cfg.Bridge != "" {
		check(tsn.NoPort, FeatureVLANFiltering, FeatureMDB)
	}
	order := Feature{Name: FeatureClassOrder, Why: k.k.probed.why}
	if k.k.cfg.Offload == OffloadFull {
		order.Why = "highest first, by the device"
	}
	out = append(out, order)
	for _, p := range k.k.cfg.Ports {
		if k.k.cfg.Bridge != "" {
			check(p.Port, FeatureLocked)
		}
		check(p.Port, FeatureQueues, FeatureTaprio, FeatureClassifier, FeatureCBS, FeatureMaxSDU)
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

// device tells what only the interface knows.
func (k *kernel) device(p PortConfig) []Feature {
	stamps, phc := stamping(k.ioctl, p.Ifname)
	out := []Feature{stamps, phc, macMerge(p.Ifname)}
	if linkSpeed(k.ioctl, p.Ifname) == 0 {
		out = append(out, Feature{Name: FeatureTaprio, State: FeatureDegraded, Why: "the driver tells no link speed: the kernel's gates and shapers take it for 10 Mbit/s"})
	}
	for i := range out {
		out[i].Port = p.Port
	}
	return out
}
