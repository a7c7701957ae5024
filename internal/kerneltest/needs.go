package kerneltest

import (
	"errors"
	"fmt"
	"time"
)

// Needs says what a test requires of the kernel it runs on. Root, network
// namespaces and veth pairs are always required.
type Needs struct {
	Taprio, CBS, ETF, MQPrio bool // queueing disciplines
	Flower                   bool // the classifier, and clsact to hang it on
	VLANFiltering            bool // bridges that filter VLANs
	VLANDevices              bool // links of type vlan
	ActGate                  bool // the action gate (per-stream filtering, PSFP)
	NetDevSim                bool // devices that accept offload and have a PTP clock
	MST                      bool // a state per MST instance on bridge ports

	OwnKernel  bool // all that the project's own kernel has, see `make kernel`
	TimeTravel bool // its virtual time: exact, and only while every task sleeps

	// Timeout limits one run in a guest, in real time; 0 is two minutes. It is
	// cut to what is left of the test binary's own limit.
	Timeout time.Duration
}

// Feature is something of the kernel that can be probed.
type Feature string

// The features of Needs, and Root, which all of them require.
const (
	Root          Feature = "root"
	Taprio        Feature = "taprio"
	CBS           Feature = "cbs"
	ETF           Feature = "etf"
	MQPrio        Feature = "mqprio"
	Flower        Feature = "flower"
	VLANFiltering Feature = "bridge VLAN filtering"
	VLANDevices   Feature = "VLAN devices"
	ActGate       Feature = "act_gate"
	NetDevSim     Feature = "netdevsim"
	MST           Feature = "bridge MST"
	OwnKernel     Feature = "own kernel"
	TimeTravel    Feature = "time travel"
)

// features lists the needed features, those first that others depend on.
func (n Needs) features() []Feature {
	fs := []Feature{Root}
	for _, f := range []struct {
		need bool
		Feature
	}{
		{n.OwnKernel, OwnKernel},
		{n.TimeTravel, TimeTravel},
		{n.Taprio, Taprio},
		{n.CBS, CBS},
		{n.ETF, ETF},
		{n.MQPrio, MQPrio},
		{n.Flower, Flower},
		{n.VLANFiltering, VLANFiltering},
		{n.VLANDevices, VLANDevices},
		{n.MST, MST},
		{n.ActGate, ActGate},
		{n.NetDevSim, NetDevSim},
	} {
		if f.need {
			fs = append(fs, f.Feature)
		}
	}
	return fs
}

// ownOnly reports whether, of the guest kernels, only the project's own will do.
func (n Needs) ownOnly() bool {
	return n.OwnKernel || n.TimeTravel || n.ActGate || n.NetDevSim
}

// MissingError says that the running kernel lacks a feature, or that this process
// may not use it.
type MissingError struct {
	Feature Feature
	Reason  string
}

func (e *MissingError) Error() string {
	return fmt.Sprintf("%s is missing: %s", e.Feature, e.Reason)
}

// Missing tells the first thing that the running kernel, as this process may use
// it, lacks of n; "" if nothing. An error means that the probing itself failed.
func Missing(n Needs) (string, error) {
	for _, f := range n.features() {
		err := Probe(f)
		var missing *MissingError
		switch {
		case errors.As(err, &missing):
			return missing.Error(), nil
		case err != nil:
			return "", fmt.Errorf("probe for %s: %w", f, err)
		}
	}
	return "", nil
}
