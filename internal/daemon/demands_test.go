package daemon

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"tsnswitch"
	"tsnswitch/internal/api"
	"tsnswitch/srp/mrp"
)

func one(t *testing.T, d *Daemon, stream string) api.StreamView {
	t.Helper()
	v, err := d.FindStreams(t.Context(), api.StreamQuery{Stream: stream})
	if err != nil || len(v) != 1 {
		t.Fatalf("%v, %d streams", err, len(v))
	}
	return v[0]
}

func camera() api.DemandRequest {
	return api.DemandRequest{
		Name: "cam", Talker: "h2", Listeners: []string{"02:00:00:01:00:09@b1:3"}, Class: "A", Rank: 1, MaxFrameSize: 224, MaxIntervalFrames: 3, Interval: 1_000_000,
	}
}

// A stream between two silent stations is declared for them, outlives a restart
// of the daemon, and ends when it is withdrawn.
func TestDemand(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		d := msrpBridge(t, dir)
		dry := camera()
		dry.DryRun = true
		m, err := d.RequestStream(t.Context(), dry)
		if err != nil {
			t.Fatal(err)
		}
		want := tsn.Stream{
			ID: tsn.MakeStreamID(station(2), 1), Name: "cam", Talker: station(2), DestinationAddress: tsn.MAC{0x91, 0xe0, 0xf0, 0, 0xfe, 1}, VID: 2, PCP: 3,
			Interval: 125_000, MaxFrameSize: 224, MaxIntervalFrames: 1,
		}
		if diff := cmp.Diff(want, m.Stream); diff != "" {
			t.Error(diff)
		}
		if v, err := d.FindStreams(t.Context(), api.StreamQuery{}); err != nil || len(v) != 0 {
			t.Errorf("a dry run left %v %v", v, err)
		}
		if _, err := d.RequestStream(t.Context(), camera()); err != nil {
			t.Fatal(err)
		}
		v := one(t, d, "cam")
		if v.State != api.StreamReserved || v.Owner != "b1" || !v.Bridges[0].In.Proxied || v.Bridges[0].In.Port != 2 {
			t.Errorf("%+v", v)
		}
		if _, err := d.RequestStream(t.Context(), camera()); api.ErrorCode(err) != api.CodeConflict {
			t.Errorf("the same again: %v", err)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		d := msrpBridge(t, dir)
		d.restoreProxies(t.Context())
		if v := one(t, d, "cam"); v.State != api.StreamReserved {
			t.Errorf("after a restart: %+v", v)
		}
		d.demands.generation = 7
		if !d.tendDemands(t.Context()) {
			t.Error("not every system is told")
		}
		if _, err := d.WithdrawStream(t.Context(), "cam"); err != nil {
			t.Fatal(err)
		}
		if v, err := d.FindStreams(t.Context(), api.StreamQuery{}); err != nil || len(v) != 0 || len(d.held.Proxies) != 0 || len(d.demands.mem.Proxied) != 0 {
			t.Errorf("withdrawn, and %v %v %v", v, err, d.held.Proxies)
		}
		if _, err := d.WithdrawStream(t.Context(), "cam"); api.ErrorCode(err) != api.CodeNotFound {
			t.Errorf("withdrawn twice: %v", err)
		}
	})
}

// A silent talker, and a listener that speaks MSRP.
func TestDemandForMSRPListener(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := msrpBridge(t, t.TempDir())
		r := camera()
		r.Listeners = []string{"02:00:00:01:00:09@b1:1"}
		m, err := d.RequestStream(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		l := says(station(3), map[mrp.Value]mrp.Param{mrp.ListenerValue(m.Stream.ID): mrp.ListenerReady, {Type: mrp.TypeDomain, Octet: "\x06\x03\x00\x02"}: 0})
		l.Port = 3
		d.step(t, l)
		i := slices.IndexFunc(one(t, d, "cam").Listeners, func(e api.StreamEnd) bool { return e.Port == 3 && e.Text == "ready" })
		if i < 0 {
			t.Errorf("%+v", one(t, d, "cam"))
		}
	})
}

// What cannot be meant is refused before anything is told or kept.
func TestBadDemands(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		d := msrpBridge(t, dir)
		for name, c := range map[string]struct {
			change func(*api.DemandRequest)
			code   string
		}{
			"class":           {func(r *api.DemandRequest) { r.Class = "C" }, api.CodeBadRequest},
			"no such name":    {func(r *api.DemandRequest) { r.Talker = "nobody" }, api.CodeNotFound},
			"nowhere":         {func(r *api.DemandRequest) { r.Talker = "02:00:00:01:00:77" }, api.CodeNotFound},
			"place":           {func(r *api.DemandRequest) { r.Talker = "02:00:00:01:00:77@b1" }, api.CodeBadRequest},
			"port 0":          {func(r *api.DemandRequest) { r.Talker = "02:00:00:01:00:77@b1:0" }, api.CodeBadRequest},
			"no such port":    {func(r *api.DemandRequest) { r.Talker = "02:00:00:01:00:77@b1:9" }, api.CodeRefused},
			"no such node":    {func(r *api.DemandRequest) { r.Talker = "02:00:00:01:00:77@b9:1" }, api.CodeUnknownNode},
			"address":         {func(r *api.DemandRequest) { r.Talker = "02:00@b1:1" }, api.CodeBadRequest},
			"group":           {func(r *api.DemandRequest) { r.Talker = "03:00:00:01:00:77@b1:1" }, api.CodeConflict},
			"listener":        {func(r *api.DemandRequest) { r.Listeners = []string{"h3", "nobody"} }, api.CodeNotFound},
			"same port":       {func(r *api.DemandRequest) { r.Listeners = []string{"h2"} }, api.CodeBadRequest},
			"listeners alike": {func(r *api.DemandRequest) { r.Listeners = []string{"h3", "02:00:00:01:00:09@b1:3"} }, ""},
		} {
			r := camera()
			c.change(&r)
			r.DryRun = c.code == ""
			if _, err := d.RequestStream(t.Context(), r); api.ErrorCode(err) != c.code && !(err == nil && c.code == "") {
				t.Errorf("%s: %v, want %s", name, err, c.code)
			}
		}
		if len(d.demands.mem.Demands) != 0 {
			t.Errorf("kept: %+v", d.demands.mem.Demands)
		}
		if _, err := os.Stat(filepath.Join(dir, "demands.json")); err == nil {
			t.Error("there is a file of them")
		}
	})
}
