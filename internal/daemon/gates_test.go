package daemon

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"tsnswitch"
	"tsnswitch/internal/api"
	"tsnswitch/internal/config"
	"tsnswitch/internal/dataplane"
	"tsnswitch/qbv"
)

// Each kind of refusal has the code that a script can act on; what is no
// refusal is not called one.
func TestGateError(t *testing.T) {
	for _, c := range []struct {
		err  error
		code string
	}{
		{&qbv.Refusal{Kind: qbv.RefusedBusy}, api.CodeConflict},
		{&qbv.Refusal{Kind: qbv.RefusedUnknownStage}, api.CodeWrongOrder},
		{&qbv.Refusal{Kind: qbv.RefusedNotSynced}, api.CodeWrongOrder},
		{&qbv.Refusal{Kind: qbv.RefusedBaseTime}, api.CodeWrongOrder},
		{&qbv.Refusal{Kind: qbv.RefusedAborted}, api.CodeWrongOrder},
		{&qbv.Refusal{Kind: qbv.RefusedMalformed}, api.CodeBadRequest},
		{&qbv.Refusal{Kind: qbv.RefusedUnknownPort}, api.CodeBadRequest},
		{&qbv.Refusal{Kind: qbv.RefusedList}, api.CodeBadRequest},
		{&qbv.Refusal{Kind: qbv.RefusedByKernel}, api.CodeInternal},
		{fmt.Errorf("waiting: %w", context.DeadlineExceeded), api.CodeCanceled},
		{errLoopEnded, api.CodeInternal},
	} {
		if got := api.ErrorCode(gateError("b1", c.err)); got != c.code {
			t.Errorf("%v: %s, want %s", c.err, got, c.code)
		}
	}
}

// A refusal that names a port is no failure of the others; a step that failed
// is one of all.
func TestPortError(t *testing.T) {
	pending, late := &dataplane.PendingError{Port: 1}, &dataplane.BaseTimeError{Port: 2}
	both := dataplane.Report{Refused: []error{pending, late}}
	err := errors.Join(both.Refused...)
	for port, want := range map[tsn.Port]error{1: pending, 2: late, 3: nil} {
		if got := portError(both, err, port); got != want {
			t.Errorf("port %d: %v, want %v", port, got, want)
		}
	}
	failed := errors.New("no such device")
	if got := portError(dataplane.Report{Refused: both.Refused, Left: []dataplane.Change{{}}}, failed, 3); !errors.Is(got, failed) {
		t.Errorf("a step that failed: %v", got)
	}
	if portError(dataplane.Report{}, nil, 1) != nil {
		t.Error("an error out of nothing")
	}
}

// Only what would make a bridge let every frame in everywhere keeps it from
// running.
func TestMayForward(t *testing.T) {
	bridge := &config.Daemon{Role: config.RoleBridge, SPB: config.SPB{Enabled: true}}
	missing := []dataplane.Feature{{Name: dataplane.FeatureVLANFiltering, State: dataplane.FeatureMissing, Why: "no such option"}}
	err := mayForward(bridge, missing)
	var u *dataplane.UnsupportedError
	if !errors.As(err, &u) || u.Feature != dataplane.FeatureVLANFiltering || u.Why != "no such option" {
		t.Errorf("%v", err)
	}
	if err := mayForward(&config.Daemon{Role: config.RoleEndStation}, missing); err != nil {
		t.Errorf("an end station has no bridge: %v", err)
	}
	missing[0].Name = dataplane.FeatureTaprio
	if err := mayForward(bridge, missing); err != nil {
		t.Errorf("without gates it still forwards: %v", err)
	}
}

// An error keeps its code and what it is about, and gains a place.
func TestWithin(t *testing.T) {
	refused := api.Refuse(tsn.FailureBandwidth, aStream(1).ID, api.PathHop{Node: "b2"}, "full")
	var e *api.Error
	if err := within(refused, "at %s", "b2"); !errors.As(err, &e) || e.Failure != tsn.FailureBandwidth || e.Hop.Node != "b2" || e.Text != "at b2: full" {
		t.Errorf("%#v", err)
	}
	if refused.Text != "full" {
		t.Error("the cause was changed")
	}
	if err := within(errLost, "x"); api.ErrorCode(err) != api.CodeUnavailable {
		t.Errorf("%v", err)
	}
	if err := within(errNoTime, "x"); !errors.Is(err, errNoTime) || err.Error() != "x: "+errNoTime.Error() {
		t.Errorf("%v", err)
	}
}

// What qbv plans for a software port the data plane takes, at any rate: its
// shortest entry is a minimum frame's time, which is the kernel's bound.
func TestSoftwareLimitsAgree(t *testing.T) {
	for _, rate := range []tsn.Rate{10 * tsn.Mbps, 100 * tsn.Mbps, tsn.Gbps, 10 * tsn.Gbps} {
		plan, port := qbv.SoftwareLimits(rate), dataplane.SoftwareGates
		if plan.MinInterval < max(port.MinInterval, rate.TransmitTime(60)) || plan.MaxEntries > port.Entries || plan.MaxCycle > port.MaxCycle {
			t.Errorf("%v: planned by %+v, taken by %+v", rate, plan, port)
		}
	}
}
