package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"tsnswitch/internal/api"
	"tsnswitch/internal/config"
)

// stepStreams adds the network's streams with tsnctl, on the path SPB chose,
// and sees one that asks for too much refused.
func (l *lab) stepStreams(ctx context.Context, s *stepReport) error {
	b := l.kind(config.KindBridge)[0]
	for _, spec := range l.net.Streams {
		out, err := l.tsnctl(ctx, b, append([]string{"stream", "add", "-o", "json"}, streamFlags(spec)...)...)
		if err != nil {
			return err
		}
		var st api.StreamState
		if err := json.Unmarshal([]byte(out), &st); err != nil {
			return fmt.Errorf("tsnctl stream add: %w in %q", err, out)
		}
		paths, err := b.client.Paths(ctx, api.PathQuery{VLAN: st.Stream.VID, From: spec.From, To: spec.To.String()})
		if err != nil {
			return err
		}
		if len(paths) != 1 || !strings.HasSuffix(pathText(st.Path), pathText(paths[0].Hops)) {
			return fmt.Errorf("stream %s is on %s, SPB's path is %v", spec.Name, pathText(st.Path), paths)
		}
		s.say("%s %s: admitted on %s (%s)", spec.Name, st.Stream.ID, pathText(st.Path), st.Stream.Bandwidth())
		s.fact(spec.Name, st)
	}
	if len(l.net.Streams) == 0 {
		s.say(noCouple)
		return nil
	}
	// More than three quarters of the line, which is what may be reserved.
	greedy := l.net.Streams[0]
	greedy.Name, greedy.Size, greedy.PCP = "greedy", 1500, 5     // of another priority: the pair of hosts has a stream of this one
	per := uint64(greedy.Every) * uint64(l.rate) / 1_000_000 / 8 // octets the line carries in an interval
	greedy.Frames = uint16(per*9/10/1542 + 1)
	_, err := l.tsnctl(ctx, b, append([]string{"stream", "add"}, streamFlags(greedy)...)...)
	if err == nil {
		return fmt.Errorf("a stream of %d frames in %v was admitted at %s", greedy.Frames, greedy.Every, l.rate)
	}
	if code := exitCode(err); code != 1 || !strings.Contains(err.Error(), "code") {
		return fmt.Errorf("a stream that cannot fit: %w (want a refusal with its code, exit status 1)", err)
	}
	_, text, _ := strings.Cut(err.Error(), "exit status 1: ")
	text = strings.Join(strings.Fields(text), " ")
	if !strings.Contains(text, "bandwidth") {
		return fmt.Errorf("a stream that cannot fit was refused for another reason: %s", text)
	}
	s.say("greedy (%d frames of 1500 in %v): refused: %s", greedy.Frames, greedy.Every, text)
	s.fact("refusal", text)
	list, err := l.tsnctl(ctx, b, "stream", "list")
	if err != nil {
		return err
	}
	for line := range strings.Lines(list) {
		s.say("%s", strings.TrimRight(line, "\n"))
	}
	return nil
}

func streamFlags(spec config.StreamSpec) []string {
	return []string{
		"--name", spec.Name, "--talker", spec.From, "--listener", spec.To.String(), "--interval", spec.Every.String(),
		"--size", fmt.Sprintf("%dB", spec.Size), "--frames", strconv.Itoa(int(spec.Frames)), "--within", spec.Within.String(),
		"--pcp", strconv.Itoa(int(spec.PCP)), "--vlan", strconv.Itoa(int(spec.VLAN)), "--destination", spec.Destination.String(),
	}
}

func pathText(path []api.PathHop) string {
	var hops []string
	for _, h := range path {
		hops = append(hops, fmt.Sprintf("%s:%d", h.Node, h.Port))
	}
	return strings.Join(hops, " ")
}

// exitCode finds the exit status in an error, -1 if there is none.
func exitCode(err error) int {
	var e interface{ ExitCode() int }
	if errors.As(err, &e) {
		return e.ExitCode()
	}
	return -1
}
