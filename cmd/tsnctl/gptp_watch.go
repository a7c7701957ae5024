package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"tsnswitch/internal/api"
)

func (a *app) gptpWatch() *cobra.Command {
	var w watch
	c := &cobra.Command{
		Use: "watch", Short: "Draw the offset live",
		Long: `Draws the offset of each Sync as it comes, in a terminal; the scale follows. A
mark is an event: another grand master, a step, a loss. Stop it with ^C. Where
the output is no terminal, a line is printed for each sample and event instead;
with -o json, an object for each sample.`,
		Example: "  tsnctl gptp watch\n  tsnctl gptp watch --window 5m --node b4\n  tsnctl gptp watch -o json | jq .offsetNs", Args: cobra.NoArgs,
		RunE: a.call(func(ctx context.Context, sw api.Switch, _ []string) error {
			w.out, w.sw = a.out, sw
			if a.json {
				return w.follow(ctx, w.printJSON)
			}
			if err := w.learn(ctx); err != nil {
				return err
			}
			if _, _, ok := terminalSize(a.out); ok {
				return w.draw(ctx)
			}
			return w.follow(ctx, w.printLine)
		}),
	}
	a.domainFlag(c, &w.domain)
	c.Flags().DurationVar(&w.window, "window", time.Minute, "time that the picture covers, at least 1s")
	c.Flags().IntVar(&w.count, "count", 0, "stop after so many samples (default: never)")
	c.PreRunE = func(*cobra.Command, []string) error {
		if w.window < time.Second {
			return fmt.Errorf("--window %v: it takes at least 1s", w.window)
		}
		return nil
	}
	return patient(c)
}

// watch is one run of the command.
type watch struct {
	domain *uint8
	window time.Duration
	count  int

	out   io.Writer
	sw    api.Switch
	node  string
	names map[string]string // of clock identities
	last  api.GPTPSample
}

// learn asks for what samples do not say: names, and whether the domain is there.
func (w *watch) learn(ctx context.Context) error {
	g, err := gptpOf(ctx, w.sw, w.domain)
	if err != nil {
		return err
	}
	w.node, w.names = g.Node, map[string]string{}
	for _, d := range g.Domains {
		for _, c := range append(d.Path, api.GPTPClock{Identity: d.Grandmaster, Name: d.GrandmasterName}) {
			w.names[c.Identity] = cmp.Or(c.Name, c.Identity)
		}
	}
	return nil
}

func (w *watch) name(identity string) string { return cmp.Or(w.names[identity], identity) }

// follow gives every update to each, until there were enough, or it is told to
// stop.
func (w *watch) follow(ctx context.Context, each func(api.GPTPUpdate) error) error {
	enough, count := errors.New("enough"), w.count
	err := w.sw.WatchGPTP(ctx, api.GPTPQuery{Domain: w.domain}, func(u api.GPTPUpdate) error {
		if err := each(u); err != nil {
			return err
		}
		if u.Sample != nil {
			if count--; count == 0 {
				return enough
			}
		}
		return nil
	})
	if errors.Is(err, enough) || errors.Is(ctx.Err(), context.Canceled) {
		return nil
	}
	return err
}

func (w *watch) printJSON(u api.GPTPUpdate) error {
	if u.Sample == nil {
		return nil
	}
	b, err := json.Marshal(u.Sample)
	if err == nil {
		_, err = fmt.Fprintln(w.out, string(b))
	}
	return err
}

func (w *watch) printLine(u api.GPTPUpdate) error {
	p := &page{w: w.out}
	if u.Event != nil {
		p.wrap(stamp(u.Event.Time)+" ", "    ", eventText(*u.Event))
		return p.err
	}
	s := u.Sample
	p.printf("%s %s %s offset %s rate %s ppm delay %s", stamp(s.Time), s.State, w.name(s.Grandmaster), dur(s.Offset), ppm(s.RatePPM), dur(int64(s.MeanLinkDelay)))
	return p.err
}

func stamp(ns int64) string { return time.Unix(0, ns).UTC().Format("15:04:05.000") }

// redraw is how often the picture may change.
const redraw = 100 * time.Millisecond

// draw keeps a picture on the terminal.
func (w *watch) draw(ctx context.Context) error {
	h, err := w.sw.GPTPHistory(ctx, api.GPTPQuery{Domain: w.domain, Back: int64(w.window)})
	if err != nil {
		return err
	}
	s := &scope{window: int64(w.window)}
	for k := range h.Samples {
		w.take(s, api.GPTPUpdate{Sample: &h.Samples[k]})
	}
	for k := range h.Events {
		w.take(s, api.GPTPUpdate{Event: &h.Events[k]})
	}
	screen := &screen{out: w.out}
	screen.begin()
	defer screen.end()
	news, ended := make(chan api.GPTPUpdate), make(chan error, 1)
	go func() {
		ended <- w.follow(ctx, func(u api.GPTPUpdate) error {
			select {
			case news <- u:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	}()
	tick := time.NewTicker(redraw)
	defer tick.Stop()
	dirty := true
	for {
		select {
		case u := <-news:
			if u.Event != nil && u.Event.Kind == "grand-master" {
				_ = w.learn(ctx) // or else it goes by its identity
			}
			w.take(s, u)
			dirty = true
		case <-tick.C:
			if dirty {
				screen.show(s)
			}
			dirty = false
		case err := <-ended:
			screen.show(s)
			return err
		}
	}
}

func (w *watch) take(s *scope, u api.GPTPUpdate) {
	s.add(u)
	if u.Sample != nil {
		w.last = *u.Sample
		s.title = w.title()
	}
}

// title is the newest sample in a line.
func (w *watch) title() string {
	s := w.last
	state := s.State
	if measured(s) {
		state += " to " + w.name(s.Grandmaster)
	}
	text := fmt.Sprintf("%s domain %d: %s", w.node, s.Domain, state)
	if measured(s) {
		text += fmt.Sprintf(", offset %s, delay %s", dur(s.Offset), dur(int64(s.MeanLinkDelay)))
	}
	return text + ", rate " + ppm(s.RatePPM) + " ppm"
}

// screen draws over what it drew before, from where the cursor was. The last
// picture stays.
type screen struct {
	out   io.Writer
	lines int
}

func (s *screen) begin() { fmt.Fprint(s.out, "\x1b[?25l") } // hides the cursor
func (s *screen) end()   { fmt.Fprint(s.out, "\x1b[?25h") }

func (s *screen) show(sc *scope) {
	columns, rows, _ := terminalSize(s.out)
	s.put(sc.frame(min(columns, maxColumns), min(maxRows, rows-scopeEvents-4)))
}

// What a picture takes of a large terminal.
const maxColumns, maxRows = 160, 16

func (s *screen) put(lines []string) {
	var b strings.Builder
	if s.lines > 0 {
		fmt.Fprintf(&b, "\x1b[%dA", s.lines)
	}
	for _, l := range lines {
		b.WriteString("\r" + l + "\x1b[K\n")
	}
	b.WriteString("\x1b[J") // what a larger picture left below
	s.lines = len(lines)
	fmt.Fprint(s.out, b.String())
}

// terminalSize is the size of the terminal that w is, if it is one.
func terminalSize(w io.Writer) (columns, rows int, ok bool) {
	f, isFile := w.(*os.File)
	if !isFile {
		return width, 24, false
	}
	ws, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		return width, 24, false
	}
	if ws.Col == 0 || ws.Row == 0 { // a line without a size
		return width, 24, true
	}
	return int(ws.Col), int(ws.Row), true
}
