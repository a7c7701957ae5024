package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"tsnswitch/internal/api"
	"tsnswitch/internal/config"
	"tsnswitch/internal/gptplog"
	"tsnswitch/internal/nodeconfig"
	"tsnswitch/internal/plot"
	"tsnswitch/internal/record"
)

// plotFlags are what gptp plot is told.
type plotFlags struct {
	domain          *uint8
	since           time.Duration
	svg, png        string
	recording, conf string
}

func (a *app) gptpPlot() *cobra.Command {
	var f plotFlags
	c := &cobra.Command{
		Use: "plot", Short: "Draw the offset over time, with what happened, as SVG or PNG",
		Long: `Draws what the daemon has recorded: every Sync of the last minutes, and for an
hour of each second the offset farthest from zero. A strip below says in which
state the domain was; marks are numbered and listed.

With --file, a recording of the timing machine (tsnswitchd --record DIR) is
replayed instead; no daemon is asked. It takes the configuration of the daemon
that recorded it; times count from the begin of the recording.

-o json prints what would be drawn.`,
		Example: `  tsnctl gptp plot --svg offset.svg
  tsnctl gptp plot --png offset.png --since 10m --domain 20 --node b4
  tsnctl gptp plot --svg run.svg --file rec/b1-timing.jsonl --config b1.yaml`,
		Args: cobra.NoArgs,
	}
	a.domainFlag(c, &f.domain)
	sinceFlag(c, &f.since)
	c.Flags().StringVar(&f.svg, "svg", "", "draw into this file")
	c.Flags().StringVar(&f.png, "png", "", "draw into this file")
	c.Flags().StringVar(&f.recording, "file", "", "recording of a timing machine")
	c.Flags().StringVar(&f.conf, "config", "", "with --file: configuration of that daemon")
	_ = c.MarkFlagFilename("svg", "svg")
	_ = c.MarkFlagFilename("png", "png")
	_ = c.MarkFlagFilename("file", "jsonl")
	_ = c.MarkFlagFilename("config", "yaml")
	c.RunE = func(c *cobra.Command, args []string) error {
		switch {
		case f.svg == "" && f.png == "" && !a.json:
			return errors.New("say where to draw: --svg FILE, --png FILE, or both")
		case (f.recording == "") != (f.conf == ""):
			return errors.New("--file and --config go together")
		}
		if f.recording != "" {
			h, warning, err := f.replay()
			if err == nil {
				err = a.plot(h, f, warning)
			}
			if err != nil {
				return failure{err}
			}
			return nil
		}
		return a.call(func(ctx context.Context, sw api.Switch, _ []string) error {
			h, err := sw.GPTPHistory(ctx, api.GPTPQuery{Domain: f.domain, Back: int64(f.since)})
			if err != nil {
				return err
			}
			return a.plot(h, f, "")
		})(c, args)
	}
	return c
}

// plot writes the pictures and says what is on them.
func (a *app) plot(h *api.GPTPHistory, f plotFlags, warning string) error {
	c := offsetChart(h)
	for _, out := range []struct {
		file string
		draw func(io.Writer) error
	}{{f.svg, c.SVG}, {f.png, c.PNG}} {
		if out.file == "" {
			continue
		}
		var b bytes.Buffer
		if err := out.draw(&b); err != nil {
			return err
		}
		if err := os.WriteFile(out.file, b.Bytes(), 0o644); err != nil {
			return err
		}
	}
	return show(a, h, func(p *page, h *api.GPTPHistory) {
		p.printf("%s", c.Title)
		p.printf("%s", c.Subtitle)
		if warning != "" {
			p.printf("%s", warning)
		}
	})
}

// replay is the history of a recording. What a recording that ends within a
// line has before that is good; the warning says so.
func (f plotFlags) replay() (h *api.GPTPHistory, warning string, err error) {
	conf, err := config.LoadDaemon(f.conf)
	if err != nil {
		return nil, "", err
	}
	if conf.SystemID.IsZero() {
		return nil, "", fmt.Errorf("%s has no systemId: set the one that the daemon had, which tsnctl status shows", f.conf)
	}
	nc, err := nodeconfig.Of(conf)
	if err != nil {
		return nil, "", err
	}
	trace, err := record.OpenParts(f.recording)
	if err != nil {
		return nil, "", err
	}
	defer trace.Close()
	log, err := gptplog.Replay(trace, nc.GPTP, conf.Name)
	switch {
	case errors.Is(err, record.ErrTruncated):
		warning = err.Error()
	case err != nil:
		return nil, "", fmt.Errorf("%s: %w", filepath.Base(f.recording), err)
	}
	h = &api.GPTPHistory{Node: conf.Name, Domain: conf.GPTP.Domain}
	if f.domain != nil {
		h.Domain = *f.domain
	}
	h.Samples, h.Events, err = log.History(h.Domain, 0, gptplog.Wall{})
	if n := len(h.Samples); n > 0 && f.since > 0 {
		after(h, h.Samples[n-1].Time-int64(f.since))
	}
	return h, warning, err
}

// stateColours are those of the strip.
var stateColours = map[string]string{
	api.GPTPSynchronized: "#bfe3c8", api.GPTPGrandMaster: "#c9dcf2", api.GPTPAcquiring: "#f2e3a0", api.GPTPHoldover: "#f6c79a", api.GPTPFreeRunning: "#e3b5b5",
}

// eventColours are those of the marks; an event that is not here is not drawn.
var eventColours = map[string]string{
	"grand-master": "#d55e00", "clock-step": "#cc0000", "sync-timeout": "#cc0000", "announce-timeout": "#cc0000", "holdover": "#b06000",
	"as-capable": "#009e73", "not-as-capable": "#aa4499", "gm-source-changed": "#d55e00", "hot-standby": "#0072b2", "link-up": "#555555", "link-down": "#555555",
}

// measured reports whether a sample's offset comes from a Sync.
func measured(s api.GPTPSample) bool {
	return s.State == api.GPTPSynchronized || s.State == api.GPTPAcquiring
}

// offsetChart makes a chart of a history. Offsets of a clock that is looking
// for the time do not count for the scale: they may be years.
func offsetChart(h *api.GPTPHistory) *plot.Chart {
	c := &plot.Chart{
		Title:    fmt.Sprintf("%s: offset from the grand master's time, domain %d", h.Node, h.Domain),
		Subtitle: historyText(h),
	}
	var last *api.GPTPSample
	for k := range h.Samples {
		s := &h.Samples[k]
		if measured(*s) {
			c.Points = append(c.Points, plot.Point{
				Time: s.Time, Value: s.Offset, Wild: s.State == api.GPTPAcquiring,
				Break: last == nil || s.Grandmaster != last.Grandmaster || s.State != last.State || s.Time-last.Time > gapNS,
			})
		}
		if n := len(c.Bands) - 1; last != nil && last.State == s.State && s.Time-last.Time <= gapNS {
			c.Bands[n].To = s.Time
		} else {
			if last != nil && s.Time-last.Time <= gapNS {
				c.Bands[n].To = s.Time
			}
			c.Bands = append(c.Bands, plot.Band{From: s.Time, To: s.Time, Name: s.State, Colour: stateColours[s.State]})
		}
		last = s
	}
	for _, e := range h.Events {
		if colour := eventColours[e.Kind]; colour != "" {
			c.Marks = append(c.Marks, plot.Mark{Time: e.Time, Text: eventText(e), Colour: colour})
		}
	}
	return c
}

// gapNS is how long nothing must be known for the line to break.
const gapNS = 10_000_000_000

func eventText(e api.Event) string {
	text := e.Kind
	if e.Port != 0 {
		text += fmt.Sprintf(" port %d", e.Port)
	}
	if e.Detail != "" {
		text += ": " + e.Detail
	}
	return text
}

// historyText is a history in a line.
func historyText(h *api.GPTPHistory) string {
	if len(h.Samples) == 0 {
		return "nothing is recorded"
	}
	var sum float64
	var most int64
	n := 0
	for _, s := range h.Samples {
		if s.State == api.GPTPSynchronized {
			n++
			sum += float64(s.Offset) * float64(s.Offset)
			most = max(most, s.Offset, -s.Offset)
		}
	}
	text := fmt.Sprintf("%s over %s, %s", plural(len(h.Samples), "sample", "samples"), dur(h.Samples[len(h.Samples)-1].Time-h.Samples[0].Time), plural(len(h.Events), "event", "events"))
	if n > 0 {
		text += fmt.Sprintf("; synchronized: rms %s, max %s", dur(int64(math.Sqrt(sum/float64(n)))), dur(most))
	}
	return text
}

// after leaves out what is older than t.
func after(h *api.GPTPHistory, t int64) {
	h.Samples = slices.DeleteFunc(h.Samples, func(s api.GPTPSample) bool { return s.Time < t })
	h.Events = slices.DeleteFunc(h.Events, func(e api.Event) bool { return e.Time < t })
}
