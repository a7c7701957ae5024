package erlnode

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"

	"tsnswitch/distlink/erldist"
	"tsnswitch/distlink/hidden"
	"tsnswitch/internal/api"
)

// Name is what the server is registered as.
const Name = erldist.Atom("tsnswitchd")

// Limits: a call beyond maxCalls at once waits for one to end, a subscription
// beyond maxSubscriptions is refused.
const (
	maxCalls         = 64
	maxSubscriptions = 64
	maxLeases        = 1000
	maxAnswers       = 10_000 // of one stream that is called, not subscribed to
	callWithin       = 2 * time.Minute
)

// API is what the server is in front of; *api.Dynamic is one.
type API interface {
	Methods() []protoreflect.MethodDescriptor
	Call(context.Context, protoreflect.MethodDescriptor, *dynamicpb.Message, func(protoreflect.Message) error) error
}

// Config is a Server.
type Config struct {
	API API
	// Write allows methods that change something.
	Write bool
	// Left are the streams that were leased when a former run ended; they are
	// removed. Leased is told all that are, whenever that changes, and keeps them
	// for the next run; nil: nobody does.
	Left   []string
	Leased func(ids []string) error
	// Settle is how long the fabric may take to know all streams: until then one
	// that is not found may be there.
	Settle time.Duration
	Log    *slog.Logger
}

// Server answers calls to {tsnswitchd, Node}.
type Server struct {
	cfg     Config
	methods map[string]protoreflect.MethodDescriptor
	names   erldist.List
	process *hidden.Process
	begun   time.Time
	room    chan struct{}

	mu   sync.Mutex
	subs map[erldist.Ref]context.CancelFunc // by the monitor of the subscriber
	// leases: id of the stream, by the monitor of its holder; nil: not yet known.
	leases map[erldist.Ref][]byte
	left   map[string]bool // streams that nobody holds any more, to be removed
	taking sync.RWMutex    // held, before mu, while an id comes or goes
}

// New registers the server at a node.
func New(node *hidden.Node, cfg Config) (*Server, error) {
	p, err := node.Spawn(Name)
	if err != nil {
		return nil, err
	}
	s := &Server{
		cfg: cfg, process: p, begun: time.Now(), room: make(chan struct{}, maxCalls),
		methods: map[string]protoreflect.MethodDescriptor{}, subs: map[erldist.Ref]context.CancelFunc{},
		leases: map[erldist.Ref][]byte{}, left: map[string]bool{},
	}
	for _, id := range cfg.Left {
		s.left[id] = true
	}
	for _, m := range cfg.API.Methods() {
		s.methods[snakeName(m)] = m
		s.names = append(s.names, erldist.Tuple{erldist.Atom(snakeName(m)), access(m)})
	}
	return s, nil
}

func access(m protoreflect.MethodDescriptor) erldist.Atom {
	switch {
	case changes(m):
		return "write"
	case endless(m):
		return "subscribe"
	}
	return "read"
}

// Run answers until ctx ends.
func (s *Server) Run(ctx context.Context) {
	var calls sync.WaitGroup
	defer calls.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer s.process.Exit(erldist.Atom("shutdown"))
	for _, id := range s.cfg.Left { // nobody has watched the holders since
		calls.Go(func() { s.tidy(ctx, id) })
	}
	for {
		ev, err := s.process.Receive(ctx)
		if err != nil {
			return
		}
		switch ev := ev.(type) {
		case hidden.Down:
			if !s.ended(ev.Ref) {
				calls.Go(func() { s.giveBack(ctx, ev.Ref) })
			}
		case hidden.Message:
			from, request, ok := hidden.ParseCall(ev)
			if !ok {
				continue // whatever is cast here asks for nothing
			}
			select {
			case s.room <- struct{}{}:
			case <-ctx.Done():
				return
			}
			calls.Go(func() {
				defer func() { <-s.room }()
				if t := s.answer(ctx, from, request); t != nil {
					s.reply(from, t)
				}
			})
		}
	}
}

func (s *Server) reply(to hidden.Caller, t erldist.Term) {
	if err := s.process.Reply(to, t); err != nil {
		s.cfg.Log.Debug("answer to an Erlang node", "to", to.Pid.Node, "err", err)
	}
}

var atomOK, atomError = erldist.Atom("ok"), erldist.Atom("error")

func failed(err error) erldist.Term {
	return erldist.Tuple{atomError, erldist.Tuple{erldist.Atom(api.ErrorCode(err)), []byte(err.Error())}}
}

func good(t erldist.Term) erldist.Term { return erldist.Tuple{atomOK, t} }

// answer does what a request says; nil if it has been answered.
func (s *Server) answer(ctx context.Context, from hidden.Caller, request erldist.Term) erldist.Term {
	t, ok := request.(erldist.Tuple)
	if !ok {
		t = erldist.Tuple{request}
	}
	first, rest := erldist.Term(nil), []erldist.Term(nil)
	if len(t) > 0 {
		first, rest = t[0], t[1:]
	}
	switch word, _ := first.(erldist.Atom); {
	case word == "methods" && len(rest) == 0:
		return good(s.names)
	case word == "subscribe" && len(rest) == 2:
		return s.subscribe(ctx, from, rest[0], rest[1])
	case word == "lease" && len(rest) == 2:
		return s.lease(ctx, from, rest[0], rest[1])
	case word == "unsubscribe" && len(rest) == 1:
		if ref, ok := rest[0].(erldist.Ref); ok {
			s.unsubscribe(ref)
		}
		return atomOK
	case len(rest) <= 1:
		return s.call(ctx, first, rest)
	}
	return failed(api.Errorf(api.CodeBadRequest, "a request is {Method, Map}, {subscribe, Method, Map}, {unsubscribe, Ref}, {lease, add_stream, Map} or methods"))
}

// prepare finds the method and makes its request.
func (s *Server) prepare(name erldist.Term, fields erldist.Term) (protoreflect.MethodDescriptor, *dynamicpb.Message, error) {
	word, _ := text(name)
	m := s.methods[word]
	if m == nil {
		return nil, nil, api.Errorf(api.CodeBadRequest, "there is no method %s; the request `methods` lists them", show(name))
	}
	if changes(m) && !s.cfg.Write {
		return nil, nil, api.Errorf(api.CodeDenied, "%s changes something, and erlang.write is not set in the configuration", word)
	}
	request, err := message(m.Input(), fields)
	if err != nil {
		return nil, nil, api.Errorf(api.CodeBadRequest, "%s: %w", word, err)
	}
	return m, request, nil
}

func (s *Server) call(ctx context.Context, name erldist.Term, args []erldist.Term) erldist.Term {
	fields := erldist.Term(erldist.Map{})
	if len(args) == 1 {
		fields = args[0]
	}
	m, request, err := s.prepare(name, fields)
	if err != nil {
		return failed(err)
	}
	if endless(m) {
		return failed(api.Errorf(api.CodeBadRequest, "%s does not end: {subscribe, %s, Map}", snakeName(m), snakeName(m)))
	}
	ctx, cancel := context.WithTimeout(ctx, callWithin)
	defer cancel()
	all := erldist.List{}
	err = s.cfg.API.Call(ctx, m, request, func(got protoreflect.Message) error {
		t, err := answer(got)
		if len(all) >= maxAnswers {
			err = fmt.Errorf("more than %d answers: subscribe instead", maxAnswers)
		}
		all = append(all, t)
		return err
	})
	switch {
	case err != nil:
		return failed(err)
	case m.IsStreamingServer():
		return good(all)
	}
	return good(all[0])
}

func (s *Server) subscribe(ctx context.Context, from hidden.Caller, name, fields erldist.Term) erldist.Term {
	m, request, err := s.prepare(name, fields)
	if err == nil && !m.IsStreamingServer() {
		err = api.Errorf(api.CodeBadRequest, "%s has one answer: {%s, Map}", snakeName(m), snakeName(m))
	}
	if err != nil {
		return failed(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.subs) >= maxSubscriptions {
		return failed(api.Errorf(api.CodeConflict, "there are %d subscriptions, which is the limit", len(s.subs)))
	}
	ref, err := s.process.Monitor(from.Pid, string(from.Pid.Node))
	if err != nil {
		return failed(err)
	}
	ctx, stop := context.WithCancel(ctx)
	s.subs[ref] = stop
	// The answer is sent before the first item: it names the reference.
	s.reply(from, good(ref))
	go s.pump(ctx, ref, from.Pid, m, request)
	return nil
}

// pump sends what a stream says to its subscriber.
func (s *Server) pump(ctx context.Context, ref erldist.Ref, to erldist.Pid, m protoreflect.MethodDescriptor, request *dynamicpb.Message) {
	tell := func(t erldist.Term) error { return s.process.Send(to, erldist.Tuple{Name, ref, t}) }
	err := s.cfg.API.Call(ctx, m, request, func(got protoreflect.Message) error {
		t, err := answer(got)
		if err != nil {
			return err
		}
		return tell(t)
	})
	switch {
	case ctx.Err() != nil: // nobody wants it any more
	case errors.Is(err, hidden.ErrNotConnected):
	case err != nil:
		_ = tell(failed(err))
	default:
		_ = tell(erldist.Atom("done"))
	}
	s.unsubscribe(ref)
}

func (s *Server) unsubscribe(ref erldist.Ref) {
	if s.ended(ref) {
		_ = s.process.Demonitor(ref)
	}
}

// ended drops a subscription; false if it was none.
func (s *Server) ended(ref erldist.Ref) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	stop, ok := s.subs[ref]
	if ok {
		stop()
		delete(s.subs, ref)
	}
	return ok
}
