package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

// A report is everything the lab saw, for machines; the text on the terminal
// is the same, for people.
type report struct {
	Lab      string            `json:"lab"`
	Where    string            `json:"where"`
	Kernel   string            `json:"kernel"`
	Started  time.Time         `json:"started"`
	Seconds  float64           `json:"seconds"`
	Passed   bool              `json:"passed"`
	Steps    []*stepReport     `json:"steps"`
	Tables   []*latencyTable   `json:"latencyTables,omitempty"`
	ReadBack map[string]string `json:"readBack"` // "b1 fdb" -> text of the kernel
	out      io.Writer
}

type stepReport struct {
	Name    string         `json:"name"`
	Passed  bool           `json:"passed"`
	Error   string         `json:"error,omitempty"`
	Seconds float64        `json:"seconds"`
	Waits   []waitReport   `json:"waits,omitempty"`
	Facts   map[string]any `json:"facts,omitempty"`
	Lines   []string       `json:"lines,omitempty"`
	report  *report
}

type waitReport struct {
	For     string  `json:"for"`
	Seconds float64 `json:"seconds"`
	Saw     string  `json:"saw"`
}

// step runs one step, prints its head and its verdict, and keeps both. The
// lab goes on to report after a failed step only as far as the caller says.
func (r *report) step(ctx context.Context, number int, name string, run func(context.Context, *stepReport) error) error {
	s := &stepReport{Name: name, Facts: map[string]any{}, report: r}
	r.Steps = append(r.Steps, s)
	fmt.Fprintf(r.out, "\n== %d. %s\n", number, name)
	start := time.Now()
	err := run(ctx, s)
	s.Seconds = time.Since(start).Seconds()
	if err != nil {
		s.Error = err.Error()
		fmt.Fprintf(r.out, "   FAILED after %.1f s: %v\n", s.Seconds, err)
		return fmt.Errorf("step %d (%s): %w", number, name, err)
	}
	s.Passed = true
	fmt.Fprintf(r.out, "   held, %.1f s\n", s.Seconds)
	return nil
}

// say prints a line and keeps it.
func (s *stepReport) say(format string, a ...any) {
	line := fmt.Sprintf(format, a...)
	s.Lines = append(s.Lines, line)
	fmt.Fprintf(s.report.out, "   %s\n", line)
}

// fact keeps a figure or structure under a name.
func (s *stepReport) fact(name string, v any) { s.Facts[name] = v }

// wait looks with probe until it says done, an error that is final, or the
// limit. What was waited for, how long it took and what was seen last are
// printed and kept.
func (s *stepReport) wait(ctx context.Context, what string, limit time.Duration, probe func(context.Context) (saw string, done bool, err error)) error {
	start := time.Now()
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	look := time.NewTicker(100 * time.Millisecond)
	defer look.Stop()
	saw := "nothing yet"
	for {
		now, done, err := probe(ctx)
		if now != "" {
			saw = now
		}
		took := time.Since(start).Seconds()
		if done && err == nil {
			s.Waits = append(s.Waits, waitReport{For: what, Seconds: took, Saw: saw})
			s.say("waited %.1f s for %s: %s", took, what, saw)
			return nil
		}
		if err != nil && ctx.Err() == nil {
			return fmt.Errorf("waiting for %s: %w (seen last: %s)", what, err, saw)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waited %.1f s in vain for %s; seen last: %s", took, what, saw)
		case <-look.C:
		}
	}
}

// write puts the report beside the pictures.
func (r *report) write(dir string) (string, error) {
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return "", err
	}
	file := filepath.Join(dir, "report.json")
	if err := os.WriteFile(file, append(b, '\n'), 0o644); err != nil {
		return "", fmt.Errorf("write the report: %w", err)
	}
	return file, nil
}
