package erlnode

import (
	"context"

	"tsnswitch/distlink/erldist"
	"tsnswitch/distlink/hidden"
	"tsnswitch/internal/api"
)

// lease is a call of add_stream for as long as the caller lives: when it ends, or
// its node cannot be seen any more, the stream is removed.
func (s *Server) lease(ctx context.Context, from hidden.Caller, name, fields erldist.Term) erldist.Term {
	if word, _ := text(name); word != "add_stream" {
		return failed(api.Errorf(api.CodeBadRequest, "there is no lease of %s, only of add_stream", show(name)))
	}
	ref, err := s.watch(from.Pid)
	if err != nil {
		return failed(err)
	}
	answer := s.call(ctx, name, []erldist.Term{fields})
	id := streamID(answer)
	if id == nil {
		s.giveBack(ctx, ref)
		_ = s.process.Demonitor(ref)
		return answer
	}
	if !s.keep(ref, id) {
		s.remove(ctx, id) // the holder has gone meanwhile
	}
	return answer
}

// watch monitors the holder of a lease; what is leased is said by keep.
func (s *Server) watch(holder erldist.Pid) (erldist.Ref, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.leases) >= maxLeases {
		return erldist.Ref{}, api.Errorf(api.CodeConflict, "there are %d leases, which is the limit", maxLeases)
	}
	ref, err := s.process.Monitor(holder, string(holder.Node))
	if err == nil {
		s.leases[ref] = nil
	}
	return ref, err
}

// keep remembers what is leased; false if its holder has gone.
func (s *Server) keep(ref erldist.Ref, id []byte) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.leases[ref]
	if ok {
		s.leases[ref] = id
	}
	return ok
}

// giveBack ends a lease, if it is one.
func (s *Server) giveBack(ctx context.Context, ref erldist.Ref) {
	s.mu.Lock()
	id := s.leases[ref]
	delete(s.leases, ref)
	s.mu.Unlock()
	if id != nil {
		s.remove(ctx, id)
	}
}

// remove takes a stream away, if its holder has not done so.
func (s *Server) remove(ctx context.Context, id []byte) {
	got := s.call(ctx, erldist.Atom("remove_stream"), []erldist.Term{erldist.Map{{Key: erldist.Atom("stream"), Value: id}}})
	if t, _ := got.(erldist.Tuple); len(t) > 0 && t[0] == erldist.Term(atomOK) {
		s.cfg.Log.Info("the holder of a stream has gone; the stream is removed", "stream", string(id))
	}
}

// streamID is the id in {ok, #{<<"stream">> => #{<<"id">> => Id}}}.
func streamID(answer erldist.Term) []byte {
	t, _ := answer.(erldist.Tuple)
	if len(t) != 2 || t[0] != erldist.Term(atomOK) {
		return nil
	}
	state, _ := t[1].(erldist.Map)
	stream, _ := binaryKey(state, "stream").(erldist.Map)
	id, _ := binaryKey(stream, "id").([]byte)
	return id
}

func binaryKey(m erldist.Map, key string) erldist.Term {
	for _, p := range m {
		if k, ok := p.Key.([]byte); ok && string(k) == key {
			return p.Value
		}
	}
	return nil
}
