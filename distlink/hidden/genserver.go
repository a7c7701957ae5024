package hidden

import (
	"context"
	"fmt"

	"tsnswitch/distlink/erldist"
)

// Caller is who waits for the answer to a call: {Pid, Tag}.
type Caller struct {
	Pid erldist.Pid
	Tag erldist.Term
}

// ParseCall takes apart what gen_server:call sends, {'$gen_call', From, Request}.
func ParseCall(m Message) (from Caller, request erldist.Term, ok bool) {
	t, ok := m.Payload.(erldist.Tuple)
	if !ok || len(t) != 3 || t[0] != erldist.Term(erldist.Atom("$gen_call")) {
		return from, nil, false
	}
	f, ok := t[1].(erldist.Tuple)
	if !ok || len(f) != 2 {
		return from, nil, false
	}
	from.Pid, ok = f[0].(erldist.Pid)
	from.Tag = f[1]
	return from, t[2], ok
}

// Reply answers a call.
func (p *Process) Reply(to Caller, answer erldist.Term) error {
	return p.Send(to.Pid, erldist.Tuple{to.Tag, answer})
}

// ExitError says that what was called has ended, or never was.
type ExitError struct{ Reason erldist.Term }

func (e *ExitError) Error() string { return fmt.Sprintf("exit: %v", e.Reason) }

// Call is gen_server:call to a name at a connected node, from a process of its
// own.
func (n *Node) Call(ctx context.Context, name erldist.Atom, node string, request erldist.Term) (erldist.Term, error) {
	p, err := n.Spawn("")
	if err != nil {
		return nil, err
	}
	defer p.Exit(erldist.Atom("normal"))
	ref, err := p.Monitor(name, node)
	if err != nil {
		return nil, err
	}
	call := erldist.Tuple{erldist.Atom("$gen_call"), erldist.Tuple{p.pid, ref}, request}
	if err := p.SendName(name, node, call); err != nil {
		return nil, fmt.Errorf("call {%s, '%s'}: %w", name, node, err)
	}
	for {
		ev, err := p.Receive(ctx)
		if err != nil {
			return nil, fmt.Errorf("call {%s, '%s'}: %w", name, node, err)
		}
		switch ev := ev.(type) {
		case Message:
			if t, ok := ev.Payload.(erldist.Tuple); ok && len(t) == 2 && t[0] == erldist.Term(ref) {
				return t[1], nil
			}
		case Down:
			return nil, fmt.Errorf("call {%s, '%s'}: %w", name, node, &ExitError{ev.Reason})
		}
	}
}

// Ping is net_adm:ping of a connected node.
func (n *Node) Ping(ctx context.Context, node string) error {
	answer, err := n.Call(ctx, "net_kernel", node, erldist.Tuple{erldist.Atom("is_auth"), erldist.Atom(n.cfg.Name)})
	if err == nil && answer != erldist.Term(erldist.Atom("yes")) {
		err = fmt.Errorf("%s answers a ping with %v", node, answer)
	}
	return err
}

// serveNetKernel answers pings.
func (n *Node) serveNetKernel() {
	p, err := n.Spawn("net_kernel")
	if err != nil {
		return // the first name of a new node is free
	}
	go func() {
		for {
			ev, err := p.Receive(context.Background())
			if err != nil {
				return
			}
			m, ok := ev.(Message)
			if !ok {
				continue
			}
			if from, request, ok := ParseCall(m); ok {
				answer := erldist.Term(erldist.Tuple{erldist.Atom("error"), erldist.Atom("undef")})
				if t, ok := request.(erldist.Tuple); ok && len(t) == 2 && t[0] == erldist.Term(erldist.Atom("is_auth")) {
					answer = erldist.Atom("yes")
				}
				_ = p.Reply(from, answer)
			}
		}
	}()
}
