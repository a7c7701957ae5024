package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"tsnswitch"
)

// A beam is an Erlang node in a host's space. It evaluates the expressions it
// reads and prints JSON lines; a line {"test":"done"} ends each answer.
type beam struct {
	node  string
	cmd   *exec.Cmd
	stdin io.WriteCloser
	lines chan string
}

// evaluator is the read loop of a beam.
const evaluator = `F = fun F() -> case io:get_line("") of
  eof -> halt(0); {error, _} -> halt(1);
  L -> try {ok, T, _} = erl_scan:string(L), {ok, E} = erl_parse:parse_exprs(T), erl_eval:exprs(E, [])
       catch C:R -> io:format("{\"test\":\"error\",\"detail\":~p}~n", [lists:flatten(io_lib:format("~p:~0p", [C, R]))]) end,
       io:format("{\"test\":\"done\"}~n"), F() end end, io:format("{\"test\":\"done\"}~n"), F().`

// startBeam starts a node that is distributed over distlink at one address of
// the host, with more options for the carrier.
func (l *lab) startBeam(ctx context.Context, h *labNode, name string, at netip.Addr, carrier []string) (*beam, error) {
	if err := h.space.startEPMD(ctx); err != nil {
		return nil, err
	}
	b := &beam{node: name + "@" + at.String(), lines: make(chan string, 64)}
	// One scheduler that sleeps when it has nothing to do: a busy wait would
	// take the processor from the bridges.
	b.cmd = exec.Command("erl", "+S", "1:1", "+SDcpu", "1:1", "+SDio", "1", "+sbwt", "none", "+sbwtdcpu", "none", "+sbwtdio", "none",
		"-noshell", "-pa", l.opt.erlang, l.opt.loop, "-proto_dist", "distlink", "-name", b.node, "-setcookie", "lab",
		"-distlink_security", "none", "-distlink_ip", at.String(), "-connect_all", "false", "-eval", evaluator)
	b.cmd.Args = append(b.cmd.Args, carrier...)
	if l.opt.control > 0 {
		// A control loop runs before all else, the flood's senders too.
		b.cmd = exec.Command("chrt", append([]string{"--fifo", "10"}, b.cmd.Args...)...)
	}
	b.cmd.Env = append(os.Environ(), "HOME=/run")
	log := filepath.Join(l.opt.out, "log", "beam-"+name+".log")
	errs, err := os.Create(log)
	if err != nil {
		return nil, err
	}
	defer errs.Close()
	b.cmd.Stderr = errs
	if b.stdin, err = b.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := b.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := h.space.start(b.cmd); err != nil {
		return nil, fmt.Errorf("start Erlang node %s: %w", b.node, err)
	}
	go func() {
		sc := bufio.NewScanner(out)
		sc.Buffer(nil, 64<<20)
		for sc.Scan() {
			b.lines <- sc.Text()
		}
		close(b.lines)
		_ = b.cmd.Wait()
	}()
	if _, err := b.answer(ctx); err != nil {
		return nil, fmt.Errorf("node %s of Erlang: %w; its log: %s", b.node, err, tail(log, 5))
	}
	return b, nil
}

// startEPMD starts the port mapper, unless it runs, and waits for it; a node
// starts it too, and does not.
func (s *space) startEPMD(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, 30*time.Second, fmt.Errorf("%s: epmd does not answer", s.name))
	defer cancel()
	if _, err := s.run(ctx, "epmd", "-daemon"); err != nil {
		return err
	}
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	for {
		_, err := s.run(ctx, "epmd", "-names")
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(context.Cause(ctx), err)
		case <-look.C:
		}
	}
}

// beamResult is one JSON line of the benchmark module.
type beamResult struct {
	Test   string  `json:"test"`
	OK     bool    `json:"ok"`
	Micros int64   `json:"us"`
	Detail string  `json:"detail"`
	Sorted []int64 `json:"sorted_us"`
	loopResult
}

// eval evaluates an expression and returns the lines it printed.
func (b *beam) eval(ctx context.Context, format string, a ...any) ([]beamResult, error) {
	if _, err := fmt.Fprintf(b.stdin, format+".\n", a...); err != nil {
		return nil, fmt.Errorf("%s: %w", b.node, err)
	}
	return b.answer(ctx)
}

func (b *beam) answer(ctx context.Context) ([]beamResult, error) {
	var out []beamResult
	for {
		select {
		case <-ctx.Done():
			return out, fmt.Errorf("%s has not answered: %w", b.node, ctx.Err())
		case line, ok := <-b.lines:
			if !ok {
				return out, errors.New("the node has ended")
			}
			var r beamResult
			if err := json.Unmarshal([]byte(line), &r); err != nil {
				return out, fmt.Errorf("%s printed %q: %w", b.node, line, err)
			}
			switch r.Test {
			case "done":
				return out, nil
			case "error":
				return out, fmt.Errorf("%s: %s", b.node, r.Detail)
			}
			out = append(out, r)
		}
	}
}

// A beamPair is two nodes on two hosts that talk over one kind of connection.
type beamPair struct {
	name string // in tables
	a, b *beam
}

// startPair starts a node on each of the two hosts.
func (l *lab) startPair(ctx context.Context, name, short string, at func(*labNode) netip.Addr, carrier ...string) (*beamPair, error) {
	c, _ := l.couple()
	return l.startNodes(ctx, c.a, c.b, name, short, at, carrier...)
}

func (l *lab) startNodes(ctx context.Context, a, b *labNode, name, short string, at func(*labNode) netip.Addr, carrier ...string) (*beamPair, error) {
	nb, err := l.startBeam(ctx, b, short+"_"+strings.ToLower(b.Name), at(b), carrier)
	if err != nil {
		return nil, err
	}
	na, err := l.startBeam(ctx, a, short+"_"+strings.ToLower(a.Name), at(a), carrier)
	if err != nil {
		return nil, err
	}
	return &beamPair{name: name, a: na, b: nb}, nil
}

// stepErlang connects two Erlang nodes on the stream's VLAN and priority, and
// checks what distribution has to carry.
func (l *lab) stepErlang(ctx context.Context, s *stepReport) error {
	c, ok := l.couple()
	if !ok {
		s.say(noCouple)
		return nil
	}
	// Datagrams no longer than the stream's frames, no more of them than it
	// reserved, and the socket priority that the VLAN device turns into PCP.
	var stream tsn.Stream
	for _, st := range l.net.TSNStreams() {
		if st.Name == c.spec.Name {
			stream = st
		}
	}
	const ipUDP, shortest = 28, 512
	datagram := max(int(stream.MaxFrameSize)-ipUDP, shortest)
	if datagram+ipUDP > int(stream.MaxFrameSize) {
		s.say("stream %s reserves frames of %d octets, distlink's datagrams need %d: they do not fit its windows", stream.Name, stream.MaxFrameSize, datagram+ipUDP)
	}
	reserved, err := l.startPair(ctx, "reserved and gated", "rt", func(n *labNode) netip.Addr { return n.Stream.Addr },
		"-distlink_priority", strconv.Itoa(int(stream.PCP)), "-distlink_datagram", strconv.Itoa(datagram), "-distlink_rate", strconv.FormatUint(uint64(stream.Bandwidth()), 10))
	if err != nil {
		return err
	}
	l.beams = append(l.beams, reserved)
	// Three times what a megabyte takes at the reserved rate.
	limit := max(30*time.Second, 3*time.Duration(tsn.Rate(stream.Bandwidth()).TransmitTime(1<<20)))
	res, err := reserved.a.eval(ctx, "distlink_bench:check_slow('%s', %d)", reserved.b.node, limit.Milliseconds())
	if err != nil {
		return err
	}
	s.fact("checks", res)
	for _, r := range res {
		s.say("%s -> %s %-16s %-6v %7.1f ms  %s", reserved.a.node, reserved.b.node, r.Test, r.OK, float64(r.Micros)/1000, r.Detail)
		if !r.OK {
			err = errors.Join(err, fmt.Errorf("%s: %s", r.Test, r.Detail))
		}
	}
	if len(res) == 0 {
		return errors.New("the check printed nothing")
	}
	return err
}
