package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"tsnswitch"
	"tsnswitch/internal/api"
)

func (a *app) srp() *cobra.Command {
	return group("srp", "Look at stream reservation (MSRP, MVRP, MMRP)",
		a.srpPorts(), a.srpVLANs(), a.srpGroups(), a.srpDeclarations())
}

func (a *app) srpPorts() *cobra.Command {
	var counters bool
	c := &cobra.Command{
		Use: "ports", Short: "Show what each class may use of each port, and uses",
		Long: `Shows for each port and class the bandwidth that streams may reserve, what is
reserved and what is free, in kbit/s; the latency that the port adds to a
stream; and whether the port is at the border of the class's SR domain, and
why. Streams of a class do not leave by a boundary port of the class (failure
code 8). Limits are those of all owners: MSRP, tsnctl and distlink share them.`,
		Example: "  tsnctl srp ports\n  tsnctl srp ports --counters --node b2", Args: cobra.NoArgs,
		RunE: a.call(func(ctx context.Context, sw api.Switch, _ []string) error {
			v, err := sw.SRP(ctx)
			if err != nil {
				return err
			}
			return show(a, v, func(p *page, v *api.SRP) { printSRP(p, v, counters) })
		}),
	}
	c.Flags().BoolVar(&counters, "counters", false, "with the MRP counters of each port")
	return c
}

func printSRP(p *page, v *api.SRP, counters bool) {
	running := "no MRP application runs"
	if len(v.Applications) > 0 {
		running = strings.Join(v.Applications, ", ")
	}
	p.printf("%s: %s", v.Node, running)
	for _, c := range v.Classes {
		p.printf("class %s: priority %d, vlan %d, interval %s", c.Name, c.Priority, c.VID, dur(c.Interval))
	}
	p.printf("streams on ports: %d reserved, %d released, %d preempted since the start", v.Reserved, v.Released, v.Preempted)
	for _, f := range v.Failed {
		p.printf("failed with code %d: %d (%s)", uint8(f.Code), f.Count, f.Text)
	}
	for _, d := range v.Degraded {
		p.wrap("degraded: ", "          ", d)
	}
	p.blank()
	t := table{head: []string{"~PORT", "CLASS", ">LIMIT", ">USED", ">FREE", ">ADDS", "DOMAIN"}}
	for _, port := range v.Ports {
		where := fmt.Sprintf("%d %s", port.Port, port.Ifname)
		if !port.Up {
			t.row(where, "-", "-", "-", "-", "-", "no link")
			continue
		}
		for _, c := range port.Classes {
			adds := "-"
			if c.Latency != 0 {
				adds = dur(c.Latency)
			}
			t.row(where, c.Class, uint64(c.Limit), uint64(c.Used), uint64(c.Free), adds, domainText(c))
			where = ""
		}
		text := "of " + port.Rate.String()
		if port.Version != nil && len(port.Neighbour) > 0 {
			text += fmt.Sprintf("; the neighbour speaks version %d", *port.Version)
		}
		t.row("", "all", uint64(port.Limit), uint64(port.Reserved), uint64(port.Free), "", text)
	}
	p.table(t)
	if counters {
		printCounters(p, v.Ports)
	}
}

func domainText(c api.SRPPortClass) string {
	switch {
	case c.Boundary:
		return "boundary: " + c.Why
	case c.Why != "":
		return "inside: " + c.Why
	}
	return "-"
}

func printCounters(p *page, ports []api.SRPPort) {
	p.blank()
	t := table{head: []string{"~PORT", "COUNTER", ">VALUE"}}
	for _, port := range ports {
		where := fmt.Sprintf("%d %s", port.Port, port.Ifname)
		for _, c := range port.Counters {
			t.row(where, strings.ReplaceAll(c.Name, "_", " "), c.Value)
			where = ""
		}
	}
	p.table(t)
}

func (a *app) srpDeclarations() *cobra.Command {
	var q api.DeclarationQuery
	c := &cobra.Command{
		Use: "declarations [PORT]", Short: "Show the attributes of each port, as MRP has them",
		Long: `Shows every MRP attribute of a port: whether we declare it, whether others do,
and the state of its machines (802.1Q 10.7). WE is our Applicant. Its first
letter: V very anxious, A anxious (said once), Q quiet (said often enough), L
leaving; its second: A active, P passive (others say it, too), N new, O
observer (we do not declare it). THEY is the Registrar: IN registered, LV the
leave timer runs, MT nothing is heard.`,
		Example: "  tsnctl srp declarations\n  tsnctl srp declarations 1 --application msrp -o json",
		Args:    cobra.MaximumNArgs(1),
		RunE: a.call(func(ctx context.Context, sw api.Switch, args []string) error {
			if len(args) > 0 {
				n, err := strconv.ParseUint(args[0], 10, 12)
				if err != nil || n == 0 {
					return usageError{fmt.Errorf("port %q: not a port number", args[0])}
				}
				q.Port = tsn.Port(n)
			}
			v, err := sw.Declarations(ctx, q)
			if err != nil {
				return err
			}
			return show(a, v, printDeclarations)
		}),
	}
	c.Flags().StringVar(&q.Application, "application", "", "msrp, mvrp or mmrp (default: all)")
	_ = c.RegisterFlagCompletionFunc("application", cobra.FixedCompletions([]string{"msrp", "mvrp", "mmrp"}, cobra.ShellCompDirectiveNoFileComp))
	return c
}

func printDeclarations(p *page, v []api.Declaration) {
	t := table{head: []string{"~PORT", "APP", "WE", "THEY", "ATTRIBUTE"}}
	last := tsn.NoPort
	for _, d := range v {
		where := ""
		if d.Port != last {
			where, last = fmt.Sprintf("%d %s", d.Port, d.Ifname), d.Port
		}
		text := d.Attribute + " " + d.Value
		for _, s := range []struct{ who, what string }{{"; we say ", d.Says}, {"; they say ", d.Heard}} {
			if s.what != "" {
				text += s.who + s.what
			}
		}
		t.row(where, d.Application, d.Applicant, d.Registrar, text)
	}
	p.table(t)
}
