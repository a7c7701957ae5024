package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"tsnswitch"
	"tsnswitch/internal/api"
)

func (a *app) streamList() *cobra.Command {
	var q api.StreamQuery
	c := &cobra.Command{
		Use: "list", Short: "List streams",
		Long: `Lists the streams of the fabric: those that end stations declare by MSRP, and
those that tsnctl or distlink asked for. With --node or --here, those that this
bridge has a part in.

The line below each stream says what became of it, and where it comes in and
goes out. reserved: every listener has it; partly: some listeners have it;
failed: none can have it; offered: no listener asks for it; awaited: no talker
offers it; scheduled: it has windows of its own. RANK 0 is an emergency stream.`,
		Example: "  tsnctl stream list\n  tsnctl stream list --here -o json", Args: cobra.NoArgs,
		RunE: a.call(func(ctx context.Context, sw api.Switch, _ []string) error {
			v, err := sw.FindStreams(ctx, q)
			if err != nil {
				return err
			}
			return show(a, v, printStreams)
		}),
	}
	c.Flags().BoolVar(&q.Here, "here", false, "only what this bridge knows by itself")
	return c
}

func printStreams(p *page, v []api.StreamView) {
	row := func(cells ...any) { p.line(fmt.Sprintf("%-22v  %-17v  %4v  %-5v  %4v  %7v  %7v", cells...)) }
	row("STREAM", "DESTINATION", "VLAN", "CLASS", "RANK", "KBIT/S", "LATENCY")
	for _, s := range v {
		latency := "-"
		if s.Latency != 0 {
			latency = dur(s.Latency)
		}
		if s.State == api.StreamAwaited {
			row(s.Stream.ID, "-", "-", "-", "-", "-", "-")
		} else {
			row(s.Stream.ID, s.Stream.DestinationAddress, s.Stream.VID, strings.Replace(s.Class, "scheduled", "sched", 1), s.Rank, kbit(s.Stream.Bandwidth()), latency)
		}
		p.wrap("  ", "    ", outcome(s))
	}
}

// kbit is a bandwidth in at most seven characters: a station may ask for any.
func kbit(r tsn.Rate) string {
	switch {
	case r >= 10_000_000_000:
		return fmt.Sprintf("%dG", r/1_000_000)
	case r >= 10_000_000:
		return fmt.Sprintf("%dM", r/1000)
	}
	return strconv.FormatUint(uint64(r), 10)
}

// outcome is what became of a stream, in a sentence.
func outcome(s api.StreamView) string {
	text := s.State
	if s.Failure != tsn.FailureNone {
		text += ", " + failureText(&s)
	}
	if s.Reason != "" {
		text += " (" + s.Reason + ")"
	}
	if text += ": "; s.Stream.Name != "" {
		text += s.Stream.Name + ", "
	}
	text += sourceText(s) + ", "
	if s.Talker != nil {
		text += portText(s.Talker.PathHop)
	} else {
		text += s.Stream.Talker.String()
	}
	var to []string
	for _, l := range s.Listeners {
		to = append(to, portText(l.PathHop)+" "+l.Text)
	}
	switch {
	case len(to) > 0:
	case s.Stream.Listener.IsZero():
		to = []string{"-"}
	default:
		to = []string{s.Stream.Listener.String()}
	}
	return text + " -> " + strings.Join(to, ", ")
}

func failureText(s *api.StreamView) string {
	text := fmt.Sprintf("code %d", uint8(s.Failure))
	if s.FailureAt != "" {
		text += " at " + s.FailureAt
	}
	return text
}

func sourceText(s api.StreamView) string {
	switch {
	case s.Source == api.SourceMSRP && s.Owner != "" && s.Owner != api.SourceMSRP:
		return "msrp, asked for by " + s.Owner
	case s.Source == api.SourceMSRP:
		return "msrp"
	}
	return "kept by " + dash(s.Owner)
}

// portText is hopText for lists: b2:1.
func portText(h api.PathHop) string {
	if h.Node == "" {
		return fmt.Sprintf("%s:%d", h.System, h.Port)
	}
	return fmt.Sprintf("%s:%d", h.Node, h.Port)
}

func (a *app) streamShow() *cobra.Command {
	return &cobra.Command{
		Use: "show ID|NAME", Short: "Show all about a stream",
		Long: `Shows a stream: what was asked for, what it is guaranteed and how, and its way
from the talker through each bridge to the listeners, with what is declared
and reserved at each port. The latency at a port is the accumulated one.`,
		Example: "  tsnctl stream show a-to-b\n  tsnctl stream show 02-00-00-00-01-01:0001 -o json",
		Args:    cobra.ExactArgs(1), ValidArgsFunction: a.completeStreams,
		RunE: a.call(func(ctx context.Context, sw api.Switch, args []string) error {
			s, err := oneStream(ctx, sw, args[0])
			if err != nil {
				return err
			}
			return show(a, s, printStreamView)
		}),
	}
}

// oneStream finds the one stream of that id or name.
func oneStream(ctx context.Context, sw api.Switch, stream string) (*api.StreamView, error) {
	v, err := sw.FindStreams(ctx, api.StreamQuery{Stream: stream})
	switch {
	case err != nil:
		return nil, err
	case len(v) == 0:
		return nil, api.Errorf(api.CodeNotFound, "there is no stream %q (see: tsnctl stream list)", stream)
	case len(v) > 1:
		return nil, api.Errorf(api.CodeBadRequest, "%d streams are named %q; use the id, like %s", len(v), stream, v[0].Stream.ID)
	}
	return &v[0], nil
}

func printStreamView(p *page, s *api.StreamView) {
	f := fields{p}
	t := s.Stream
	f.add("Stream", "%s %s", t.ID, t.Name)
	f.add("State", "%s", s.State)
	if s.Failure != tsn.FailureNone {
		f.add("Failure", "%s: %s", failureText(s), s.Failure)
	}
	if s.Reason != "" && s.Reason != s.Failure.String() {
		f.add("Reason", "%s", s.Reason)
	}
	f.add("Owner", "%s", sourceText(*s))
	f.add("Talker", "%s", t.Talker)
	if !t.Listener.IsZero() {
		f.add("Listener", "%s", t.Listener)
	}
	if s.State != api.StreamAwaited {
		f.add("Destination", "%s vlan %d pcp %d", t.DestinationAddress, t.VID, t.PCP)
		f.add("Class", "%s, rank %d%s", s.Class, s.Rank, map[bool]string{true: " (emergency)"}[s.Rank == 0])
		f.add("Traffic", "%s", trafficText(t))
		f.add("Latency", "%s", latencyText(s.StreamState))
		f.add("Guaranteed", "%s", dash(s.Guarantee))
	}
	if s.Source == api.SourceManaged {
		f.path(s.Path)
		return
	}
	if s.Talker != nil {
		f.add("Comes in", "%s, %s", hopText(s.Talker.PathHop), s.Talker.Text)
	}
	for i, l := range s.Listeners {
		text := hopText(l.PathHop) + ", " + l.Text
		if l.Latency != 0 {
			text += ", " + dur(l.Latency)
		}
		f.add(map[bool]string{true: "Goes out"}[i == 0], "%s", text)
	}
	p.blank()
	printWay(p, s.Bridges)
}

// fields prints names and values.
type fields struct{ *page }

const fieldWidth = 13

func (f fields) add(name, format string, a ...any) {
	f.wrap(fmt.Sprintf("%-*s", fieldWidth, name), strings.Repeat(" ", fieldWidth), fmt.Sprintf(format, a...))
}

func (f fields) path(path []api.PathHop) {
	for i, h := range path {
		f.add(map[bool]string{true: "Path"}[i == 0], "%s", hopText(h))
	}
}

func trafficText(t tsn.Stream) string {
	return fmt.Sprintf("%s of %d octets every %s: %s on the wire",
		plural(int(t.MaxIntervalFrames), "frame", "frames"), t.MaxFrameSize, dur(t.Interval), t.Bandwidth())
}

// printWay draws the way of a stream: each bridge below the port that leads to
// it. Where that gets too far to the right it begins at the left again.
func printWay(p *page, bridges []api.StreamAt) {
	drawn := map[string]bool{}
	var draw func(b api.StreamAt, lead string)
	draw = func(b api.StreamAt, lead string) {
		drawn[b.Node] = true
		head := b.Node
		if b.In != nil {
			head += fmt.Sprintf(": in by port %d (%s), %s", b.In.Port, b.In.Ifname, declared(*b.In))
		} else {
			head += ": no talker"
		}
		if b.In != nil && b.In.Proxied {
			head += "; we speak for the talker"
		}
		if b.Answer != "" {
			head += "; answers " + b.Answer
		}
		first := lead
		lead = strings.NewReplacer("├─", "│ ", "└─", "  ").Replace(lead)
		p.wrap(first, lead+"  ", head)
		for i, o := range b.Out {
			branch, below := "├─ ", "│  "
			if i == len(b.Out)-1 {
				branch, below = "└─ ", "   "
			}
			p.wrap(lead+branch, lead+below, outText(o))
			next := behind(bridges, b, o)
			if next != nil && !drawn[next.Node] && utf8.RuneCountInString(lead) < width/2 {
				draw(*next, lead+below+"└─ ")
			}
		}
	}
	for _, b := range bridges {
		if drawn[b.Node] {
			continue
		}
		lead := ""
		if b.In != nil && b.In.Neighbour != "" {
			p.line(b.In.Neighbour)
			lead = "└─ "
		}
		draw(b, lead)
	}
}

// behind finds the bridge behind a port of another one.
func behind(bridges []api.StreamAt, b api.StreamAt, o api.StreamPort) *api.StreamAt {
	for i := range bridges {
		n := &bridges[i]
		if n.Node == o.Neighbour && n.In != nil && n.In.Neighbour == b.Node && !o.Edge {
			return n
		}
	}
	return nil
}

// declared is a talker's declaration in words.
func declared(p api.StreamPort) string {
	if p.Talker != api.TalkerFailed {
		return p.Talker + " " + dur(p.Latency)
	}
	return fmt.Sprintf("failed by %s, code %d: %s", dash(p.FailureAt), uint8(p.Failure), p.Text)
}

// outText is a port by which a stream leaves, or would.
func outText(o api.StreamPort) string {
	text := fmt.Sprintf("port %d (%s)", o.Port, o.Ifname)
	if o.Edge && o.Neighbour != "" {
		text += " to " + o.Neighbour
	}
	text += ": "
	if o.Talker == "" {
		text += "no talker declared"
	} else {
		text += declared(o)
	}
	switch {
	case o.Listener == "":
		text += "; no listener"
	case o.Reserved:
		text += "; listener " + o.Listener + "; reserved"
	default:
		text += "; listener " + o.Listener + "; not reserved"
	}
	if o.Proxied {
		text += "; we speak for the listener"
	}
	return text
}

// streamEvents reports whether an event is about a stream, or what streams depend on.
func streamEvents(e api.Event) bool {
	return strings.HasPrefix(e.Kind, "stream-") || strings.HasPrefix(e.Kind, "srp-")
}

func (a *app) streamWatch() *cobra.Command {
	var count int
	c := &cobra.Command{
		Use: "watch [ID|NAME]", Short: "Follow what becomes of streams",
		Long: `Prints the streams, then what happens to them at this bridge (or --node):
reserved, released, failed, preempted, moved, and the state that each is in
then. With -o json one object a line: {"streams": [...]} or {"event": {...}}.`,
		Example: "  tsnctl stream watch\n  tsnctl stream watch 02-00-00-00-01-01:0001 --count 10",
		Args:    cobra.MaximumNArgs(1), ValidArgsFunction: a.completeStreams,
		RunE: a.call(func(ctx context.Context, sw api.Switch, args []string) error {
			return a.watchStreams(ctx, sw, strings.Join(args, ""), count)
		}),
	}
	c.Flags().IntVar(&count, "count", 0, "stop after so many events (default: never)")
	return patient(c)
}

// watchStreams shows streams, and again after each event about one.
func (a *app) watchStreams(ctx context.Context, sw api.Switch, stream string, count int) error {
	p := &page{w: a.out}
	now, err := sw.FindStreams(ctx, api.StreamQuery{Stream: stream})
	if err != nil {
		return err
	}
	if err := a.printNow(p, now, printStreams); err != nil {
		return err
	}
	id := ""
	if stream != "" {
		id = now[0].Stream.ID.String()
	}
	after := func(id tsn.StreamID) error {
		v, err := sw.FindStreams(ctx, api.StreamQuery{Stream: id.String()})
		if e := (*api.Error)(nil); errors.As(err, &e) && e.Code == api.CodeNotFound {
			return nil // it is gone
		} else if err != nil {
			return err
		}
		return a.printNow(p, v, func(p *page, v []api.StreamView) {
			for _, s := range v {
				p.wrap("    ", "      ", outcome(s))
			}
		})
	}
	enough := errors.New("enough")
	err = sw.Events(ctx, 0, func(e api.Event) error {
		if !streamEvents(e) || !strings.HasPrefix(e.Detail, id) {
			return nil
		}
		if a.json {
			if err := a.printLine(map[string]any{"event": e}); err != nil {
				return err
			}
		} else {
			printEvent(p, e)
		}
		if id, err := tsn.ParseStreamID(firstWord(e.Detail)); err == nil {
			if err := after(id); err != nil {
				return err
			}
		}
		if count--; count == 0 {
			return enough
		}
		return p.err
	})
	if errors.Is(err, enough) || errors.Is(ctx.Err(), context.Canceled) {
		return nil // told to stop
	}
	return err
}

func (a *app) printNow(p *page, v []api.StreamView, text func(*page, []api.StreamView)) error {
	if a.json {
		return a.printLine(map[string]any{"streams": v})
	}
	text(p, v)
	return p.err
}

// firstWord is the text up to a space, without what ends a word there.
func firstWord(s string) string {
	w, _, _ := strings.Cut(s, " ")
	return strings.TrimRight(w, ":,;")
}
