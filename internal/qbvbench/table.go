package qbvbench

import (
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"tsnswitch/qbv/instances"
)

// Compare runs all contenders on all problems and prints, as it goes, what each
// did, and then a table. The first contender is the one the others are
// compared with.
func Compare(ctx context.Context, w io.Writer, specs []instances.Spec, contenders []Contender) {
	outcomes := make([][]Outcome, len(specs))
	for i, spec := range specs {
		p := spec.Problem()
		for _, c := range contenders {
			o := c.Solve(ctx, p)
			outcomes[i] = append(outcomes[i], o)
			fmt.Fprintf(w, "%-22s %-10s %-8s %12s  %s\n", p.Name, c.Name, word(o), o.CPU.Round(10*time.Microsecond), o.Note)
		}
	}
	fmt.Fprintf(w, "\n%-4s %-10s %9s %6s %5s %7s %11s  %-26s %s\n", "set", "method", "found/ran", "strict", "loose", "invalid", "CPU median",
		"CPU / ours, median (range)", "only it")
	for _, set := range sets(specs) {
		for k, c := range contenders {
			fmt.Fprintln(w, line(set, c.Name, specs, outcomes, k))
		}
	}
	if whole := wholes(outcomes); len(whole) > 0 {
		fmt.Fprintf(w, "ours with its gate control lists takes %.1f times as long, median (%.1f..%.1f)\n",
			whole[len(whole)/2], whole[0], whole[len(whole)-1])
	}
}

// wholes is, for each schedule of ours, what it takes with its lists to what it
// takes without, ascending.
func wholes(outcomes [][]Outcome) (out []float64) {
	for _, o := range outcomes {
		if o[0].Valid && o[0].Whole > 0 {
			out = append(out, o[0].Whole.Seconds()/o[0].CPU.Seconds())
		}
	}
	slices.Sort(out)
	return out
}

func word(o Outcome) string {
	switch {
	case !o.Ran:
		return "-"
	case o.Strict:
		return "strict"
	case o.Valid:
		return "valid"
	case o.Loose:
		return "loose"
	case o.Claims:
		return "INVALID"
	}
	return "none"
}

// sets are the names of the sets, in order, and "all".
func sets(specs []instances.Spec) (out []string) {
	for _, s := range specs {
		if !slices.Contains(out, s.Set) {
			out = append(out, s.Set)
		}
	}
	return append(out, "all")
}

func line(set, name string, specs []instances.Spec, outcomes [][]Outcome, k int) string {
	var ran, found, strict, loose, invalid int
	var cpu, ratio []float64
	var only []string
	for i, spec := range specs {
		if set != "all" && spec.Set != set {
			continue
		}
		o, ours := outcomes[i][k], outcomes[i][0]
		ran += count(o.Ran)
		found += count(o.Valid)
		strict += count(o.Strict)
		loose += count(o.Loose)
		invalid += count(o.Claims && !o.Valid && !o.Loose)
		solved := o.Valid || o.Loose
		if solved {
			cpu = append(cpu, o.CPU.Seconds())
		}
		if solved && ours.Valid {
			ratio = append(ratio, o.CPU.Seconds()/ours.CPU.Seconds())
		}
		if solved && !ours.Valid {
			only = append(only, spec.Name())
		}
	}
	median := "-"
	if len(cpu) > 0 {
		slices.Sort(cpu)
		median = time.Duration(cpu[len(cpu)/2] * 1e9).Round(10 * time.Microsecond).String()
	}
	times := "-"
	if len(ratio) > 0 && k > 0 {
		slices.Sort(ratio)
		times = fmt.Sprintf("%.1f (%.1f..%.1f)", ratio[len(ratio)/2], ratio[0], ratio[len(ratio)-1])
	}
	return fmt.Sprintf("%-4s %-10s %9s %6d %5d %7d %11s  %-26s %v", set, name, fmt.Sprintf("%d/%d", found, ran), strict, loose, invalid, median, times, only)
}

func count(is bool) int {
	if is {
		return 1
	}
	return 0
}
