package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tsnswitch/internal/api"
)

func (a *app) gptp() *cobra.Command {
	status := a.gptpStatus()
	c := &cobra.Command{
		Use: "gptp", Short: "Show time: grand master, offset, ports, gate clocks",
		Long: `Shows the time-aware system. Without a word behind it, gptp is gptp status.

The reasons why a port is not asCapable, and what to do about each, are in
docs/gptp.md.`,
		Example: `  tsnctl gptp
  tsnctl gptp ports 2
  tsnctl gptp watch --node b4
  tsnctl gptp plot --svg offset.svg --since 10m`,
		Args: cobra.NoArgs, RunE: status.RunE,
	}
	c.Flags().AddFlagSet(status.Flags())
	a.completeDomains(c)
	c.AddCommand(status, a.gptpPorts(), a.gptpDomains(), a.gptpWatch(), a.gptpPlot(), a.gptpEvents())
	return c
}

// domainFlag adds --domain; *v stays nil if it is not given.
func (a *app) domainFlag(c *cobra.Command, v **uint8) {
	c.Flags().Var(domainValue{v}, "domain", "gPTP domain, 0..127 (default: the one the gates go by)")
	a.completeDomains(c)
}

type domainValue struct{ v **uint8 }

func (d domainValue) String() string {
	if d.v == nil || *d.v == nil {
		return ""
	}
	return fmt.Sprint(**d.v)
}
func (domainValue) Type() string { return "n" }
func (d domainValue) Set(s string) error {
	n, err := strconv.ParseUint(s, 10, 7)
	if err != nil {
		return fmt.Errorf("not in 0..127")
	}
	k := uint8(n)
	*d.v = &k
	return nil
}

func (a *app) completeDomains(c *cobra.Command) {
	_ = c.RegisterFlagCompletionFunc("domain", func(c *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
		return a.gptpWords(c, func(g *api.GPTPStatus) (words []string) {
			for _, d := range g.Domains {
				words = append(words, fmt.Sprint(d.Domain))
			}
			return words
		})
	})
}

// gptpWords completes with words of the status, if the daemon answers.
func (a *app) gptpWords(c *cobra.Command, words func(*api.GPTPStatus) []string) ([]string, cobra.ShellCompDirective) {
	client := api.DialUnix(a.socket)
	defer client.Close()
	if a.node != "" {
		client = client.At(a.node)
	}
	ctx, cancel := context.WithTimeout(c.Context(), time.Second)
	defer cancel()
	g, err := client.GPTP(ctx)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return words(g), cobra.ShellCompDirectiveNoFileComp
}

// gptpOf is the status with the wanted domain at its top.
func gptpOf(ctx context.Context, sw api.Switch, domain *uint8) (*api.GPTPStatus, error) {
	g, err := sw.GPTP(ctx)
	if err == nil && domain != nil {
		err = g.Select(*domain)
	}
	return g, err
}

func (a *app) gptpStatus() *cobra.Command {
	var domain *uint8
	c := &cobra.Command{
		Use: "status", Short: "Show a domain on one page",
		Long: `GATE is how far the clock that drives a port's gates is from gPTP time; while
that is out of bound, which a ! says, new schedules are refused.`,
		Example: "  tsnctl gptp status\n  tsnctl gptp status --domain 20 --node b4 -o json", Args: cobra.NoArgs,
		RunE: a.call(func(ctx context.Context, sw api.Switch, _ []string) error {
			g, err := gptpOf(ctx, sw, domain)
			if err != nil {
				return err
			}
			return show(a, g, printGPTP)
		}),
	}
	a.domainFlag(c, &domain)
	return c
}

func printGPTP(p *page, g *api.GPTPStatus) {
	p.printf("Domain %d, for %s: %s", g.Domain, dur(g.StateFor), stateText(g.GPTPDomain))
	field := func(name, format string, a ...any) {
		p.wrap(fmt.Sprintf("%-10s", name), "            ", fmt.Sprintf(format, a...))
	}
	if !g.IsGrandmaster && g.OffsetWindow > 0 {
		field("Offset", "%s; of the last %d Syncs rms %s, max %s, %s not believed", dur(g.Offset), g.OffsetWindow,
			dur(int64(g.OffsetRMS)), dur(g.OffsetMax), plural(int(g.Outliers), "outlier", "outliers"))
	}
	if len(g.Path) > 1 {
		field("Path", "%s", pathText(g.Path))
	}
	steered := "not steered"
	if g.Steered {
		steered = "steered"
	}
	field("Clock", "%s, %s, rate %+.3f ppm; gPTP time %s", g.Clock, steered, g.RatePPM, seconds(g.Now.NS))
	field("Source", "%s, %s; time base %d, last phase change %s", timeSource(g.TimeSource), utcText(g.GPTPDomain), g.GmTimeBaseIndicator, dur(g.LastGmPhaseChange))
	if g.ExternalPortConfiguration {
		field("Ports", "states are configured, not selected (external port configuration)")
	}
	if h := g.HotStandby; h != nil {
		field("Standby", "%s for %s: time from domain %d; %s", h.State, dur(h.StateFor), h.Active, standbyText(h))
	}
	if len(g.Domains) > 1 {
		field("Domains", "%s; see tsnctl gptp domains", domainList(g.Domains))
	}
	p.blank()
	t := table{head: []string{">PORT", "~IFNAME", "STATE", "STAMPS", ">DELAY", ">RATIO ppm", ">GATE", "asCapable"}}
	for _, port := range g.Ports {
		capable := "yes"
		if !port.AsCapable {
			capable = "no: " + dash(port.Reason)
		}
		t.row(port.Port, port.Ifname, strings.TrimSuffix(port.State, "Port"), port.Stamps, dur(port.MeanLinkDelay), ppm(port.NeighborRateRatioPPM), gateText(port), capable)
	}
	p.table(t)
	if len(g.Degraded) > 0 {
		p.blank()
	}
	for _, d := range g.Degraded {
		field("Degraded", "%s", d)
	}
}

// standbyText says how well the two domains stand by each other.
func standbyText(h *api.GPTPHotStandby) string {
	word := map[bool]string{true: "synchronized", false: "not synchronized"}
	text := fmt.Sprintf("primary %d %s, secondary %d %s", h.Primary, word[h.PrimarySynced], h.Secondary, word[h.SecondarySynced])
	if h.PrimarySynced && h.SecondarySynced {
		text += fmt.Sprintf(", %s apart of %s allowed", dur(h.Offset), dur(h.OffsetThresh))
	}
	if h.Slewing != 0 {
		text += fmt.Sprintf(", %s still to be slewed", dur(h.Slewing))
	}
	return text
}

func ppm(v float64) string { return fmt.Sprintf("%+.3f", v) }

func gateText(p api.GPTPPort) string {
	switch {
	case p.State == "DisabledPort":
		return "-"
	case !p.GateInBound:
		return dur(p.GateOffset) + " !"
	}
	return dur(p.GateOffset)
}

// stateText is a domain's state as a sentence.
func stateText(d api.GPTPDomain) string {
	gm := clockText(api.GPTPClock{Identity: d.Grandmaster, Name: d.GrandmasterName})
	switch d.State {
	case api.GPTPGrandMaster:
		return fmt.Sprintf("this node, %s, is the grand master", d.ClockIdentity)
	case api.GPTPHoldover:
		return fmt.Sprintf("holdover, the time of a grand master that is gone goes on at %+.3f ppm; lost by %s", d.HoldoverRatePPM, dash(d.NotSyncedReason))
	case api.GPTPFreeRunning:
		return "free-running: there is no grand master"
	}
	text := fmt.Sprintf("grand master %s, %s away", gm, plural(int(d.StepsRemoved), "step", "steps"))
	if !d.Synchronized {
		text = "not synchronized yet to " + text
		if d.NotSyncedReason != "" {
			text += "; lost by " + d.NotSyncedReason
		}
	}
	return text
}

func clockText(c api.GPTPClock) string {
	if c.Name != "" {
		return c.Identity + " (" + c.Name + ")"
	}
	return c.Identity
}

func pathText(path []api.GPTPClock) string {
	var names []string
	for _, c := range path {
		names = append(names, cmp.Or(c.Name, c.Identity))
	}
	return strings.Join(names, " > ")
}

// timeSource is table 8-2 of IEEE 802.1AS-2020.
func timeSource(v uint8) string {
	names := map[uint8]string{
		0x10: "atomic clock", 0x20: "GNSS", 0x30: "terrestrial radio", 0x39: "serial time code", 0x40: "PTP",
		0x50: "NTP", 0x60: "set by hand", 0x90: "other", 0xA0: "internal oscillator",
	}
	if name := names[v]; name != "" {
		return name
	}
	return fmt.Sprintf("time source 0x%02x", v)
}

func utcText(d api.GPTPDomain) string {
	if !d.CurrentUtcOffsetValid {
		return "UTC offset unknown"
	}
	return fmt.Sprintf("UTC + %d s", d.CurrentUtcOffset)
}

func domainList(domains []api.GPTPDomain) string {
	var texts []string
	for _, d := range domains {
		texts = append(texts, fmt.Sprintf("%d %s", d.Domain, d.State))
	}
	return strings.Join(texts, ", ")
}

func (a *app) gptpDomains() *cobra.Command {
	return &cobra.Command{
		Use: "domains", Short: "Show the domains of a node, a line each",
		Long: `The first domain is the one whose time the gates go by. PORTS is how many of the
ports are asCapable.`,
		Example: "  tsnctl gptp domains\n  tsnctl gptp domains -o json", Args: cobra.NoArgs,
		RunE: a.call(func(ctx context.Context, sw api.Switch, _ []string) error {
			g, err := sw.GPTP(ctx)
			if err != nil {
				return err
			}
			return show(a, g.Domains, printDomains)
		}),
	}
}

func printDomains(p *page, domains []api.GPTPDomain) {
	t := table{head: []string{">DOMAIN", "STATE", ">STEPS", ">OFFSET", ">RMS", ">RATE ppm", ">PORTS", "GRAND MASTER"}}
	for _, d := range domains {
		capable := 0
		for _, port := range d.Ports {
			if port.AsCapable {
				capable++
			}
		}
		t.row(d.Domain, d.State, d.StepsRemoved, dur(d.Offset), dur(int64(d.OffsetRMS)), ppm(d.RatePPM), fmt.Sprintf("%d/%d", capable, len(d.Ports)),
			cmp.Or(d.GrandmasterName, d.Grandmaster))
	}
	p.table(t)
}

func (a *app) gptpPorts() *cobra.Command {
	var domain *uint8
	c := &cobra.Command{
		Use: "ports [PORT...]", Short: "Show ports in full: neighbour, link, counters, reasons",
		Long: `Shows what is measured on the link of each port, why it is not asCapable and
what to do about that, and its counters: messages in and out, and, if there was
any, trouble. Ports are named by number or interface.`,
		Example: "  tsnctl gptp ports\n  tsnctl gptp ports 2 --domain 20\n  tsnctl gptp ports eth1 -o json",
		RunE: a.call(func(ctx context.Context, sw api.Switch, args []string) error {
			g, err := gptpOf(ctx, sw, domain)
			if err != nil {
				return err
			}
			ports, err := choosePorts(g.Ports, args)
			if err != nil {
				return err
			}
			return show(a, ports, printGPTPPorts)
		}),
		ValidArgsFunction: func(c *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
			return a.gptpWords(c, func(g *api.GPTPStatus) (words []string) {
				for _, p := range g.Ports {
					words = append(words, fmt.Sprintf("%d\t%s", p.Port, p.Ifname))
				}
				return words
			})
		},
	}
	a.domainFlag(c, &domain)
	return c
}

// choosePorts are those that are named, all if none is.
func choosePorts(all []api.GPTPPort, names []string) ([]api.GPTPPort, error) {
	if len(names) == 0 {
		return all, nil
	}
	var out []api.GPTPPort
	for _, name := range names {
		k := slices.IndexFunc(all, func(p api.GPTPPort) bool { return name == p.Ifname || name == fmt.Sprint(p.Port) })
		if k < 0 {
			return nil, api.Errorf(api.CodeNotFound, "no port %q here; tsnctl gptp lists them", name)
		}
		out = append(out, all[k])
	}
	return out, nil
}

func printGPTPPorts(p *page, ports []api.GPTPPort) {
	for k, port := range ports {
		if k > 0 {
			p.blank()
		}
		printGPTPPort(p, port)
	}
}

func printGPTPPort(p *page, g api.GPTPPort) {
	link := "down"
	if g.Up {
		link = "up"
	}
	only := ""
	if g.MasterOnly {
		only = ", accepts no grand master"
	}
	p.printf("Port %d (%s): %s, link %s, %s stamps%s", g.Port, g.Ifname, g.State, link, g.Stamps, only)
	field := func(name, format string, a ...any) {
		p.wrap(fmt.Sprintf("  %-12s", name), "                ", fmt.Sprintf(format, a...))
	}
	if g.AsCapable {
		field("asCapable", "yes")
	} else {
		field("asCapable", "no: %s: %s", g.Reason, g.Explanation)
	}
	if g.Neighbor != "" {
		field("Neighbour", "%s", clockText(api.GPTPClock{Identity: g.Neighbor, Name: g.NeighborName}))
		service := ""
		if g.CommonLinkDelay {
			service = " (common link delay)"
		}
		field("Link", "delay %s of %s allowed, neighbour's rate %+.3f ppm%s", dur(g.MeanLinkDelay), dur(g.NeighborPropDelayThresh), g.NeighborRateRatioPPM, service)
	}
	if g.StampsWhy != "" {
		field("Stamps", "%s: %s", g.Stamps, g.StampsWhy)
	}
	if g.PdelayResumesIn > 0 {
		field("Silence", "no Pdelay_Req for another %s: several nodes answered each", dur(g.PdelayResumesIn))
	}
	if text := intervalText(g.Intervals); text != "" {
		field("Intervals", "%s", text)
	}
	if g.State != "DisabledPort" {
		field("Gates", "%s from gPTP time", gateText(g))
	}
	for _, d := range []struct{ name, prefix string }{{"Received", "rx_"}, {"Sent", "tx_"}} {
		if text := counterText(g.Counters, func(name string) (string, bool) { return strings.CutPrefix(name, d.prefix) }); text != "" {
			field(d.name, "%s", text)
		}
	}
	trouble := counterText(g.Counters, func(name string) (string, bool) {
		return name, !strings.HasPrefix(name, "rx_") && !strings.HasPrefix(name, "tx_") && !slices.Contains(harmless, name)
	})
	if trouble != "" {
		field("Trouble", "%s", trouble)
	}
}

// harmless are the counters of a port that count neither messages nor trouble.
var harmless = []string{"tlvs_forwarded", "one_step"}

// intervalText tells of intervals that the neighbour has changed.
func intervalText(v api.GPTPIntervals) string {
	var texts []string
	for _, i := range []struct {
		name string
		v    api.GPTPInterval
	}{{"Sync", v.Sync}, {"Announce", v.Announce}, {"Pdelay_Req", v.PdelayReq}, {"gPTP-capable", v.GptpCapable}} {
		switch {
		case i.v.Current == i.v.Configured:
		case i.v.Current == 0:
			texts = append(texts, i.name+" stopped as the neighbour asked")
		default:
			texts = append(texts, fmt.Sprintf("%s %s as the neighbour asked, configured %s", i.name, dur(i.v.Current), dur(i.v.Configured)))
		}
	}
	return strings.Join(texts, ", ")
}

// counterText lists the counters that are not zero and that name chooses.
func counterText(all map[string]uint64, choose func(string) (string, bool)) string {
	var texts []string
	for _, key := range slices.Sorted(maps.Keys(all)) {
		if name, ok := choose(key); ok && all[key] != 0 {
			texts = append(texts, fmt.Sprintf("%s %d", strings.ReplaceAll(name, "_", "-"), all[key]))
		}
	}
	return strings.Join(texts, ", ")
}

func (a *app) gptpEvents() *cobra.Command {
	var domain *uint8
	var since time.Duration
	c := &cobra.Command{
		Use: "events", Short: "List what happened: grand masters, asCapable, steps, losses",
		Long: `Lists the events of a domain that the daemon has recorded, with those of links.
tsnctl gptp watch goes on with new ones, tsnctl events follows all protocols.`,
		Example: "  tsnctl gptp events\n  tsnctl gptp events --since 10m --domain 20 -o json", Args: cobra.NoArgs,
		RunE: a.call(func(ctx context.Context, sw api.Switch, _ []string) error {
			h, err := sw.GPTPHistory(ctx, api.GPTPQuery{Domain: domain, Back: int64(since)})
			if err != nil {
				return err
			}
			return show(a, h.Events, func(p *page, events []api.Event) {
				for _, e := range events {
					printEvent(p, e)
				}
			})
		}),
	}
	a.domainFlag(c, &domain)
	sinceFlag(c, &since)
	return c
}

func sinceFlag(c *cobra.Command, v *time.Duration) {
	c.Flags().DurationVar(v, "since", 0, "how far back to go, as 10m (default: all that is recorded)")
}
