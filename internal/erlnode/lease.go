package erlnode

import (
	"bytes"
	"context"
	"maps"
	"slices"
	"time"

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
	s.taking.RLock()
	answer := s.call(ctx, name, []erldist.Term{fields})
	id := streamID(answer)
	s.isNew(id)
	s.taking.RUnlock()
	if id == nil {
		s.giveBack(ctx, ref)
		_ = s.process.Demonitor(ref)
		return answer
	}
	if !s.keep(ref, id) { // the holder has gone meanwhile
		s.tidy(ctx, string(id))
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

// keep remembers what is leased; false if its holder has gone: the stream is left.
func (s *Server) keep(ref erldist.Ref, id []byte) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.leases[ref]
	for old, is := range s.leases { // given back by its holder, whose end is to be heard of yet
		if bytes.Equal(is, id) {
			s.leases[old] = nil
		}
	}
	if ok {
		s.leases[ref] = id
	} else {
		s.left[string(id)] = true
	}
	s.remember()
	return ok
}

// remember has what is to be given back written down, with the lock held.
func (s *Server) remember() {
	if s.cfg.Leased == nil {
		return
	}
	ids := slices.Collect(maps.Keys(s.left))
	for _, id := range s.leases {
		if id != nil {
			ids = append(ids, string(id))
		}
	}
	slices.Sort(ids)
	if err := s.cfg.Leased(slices.Compact(ids)); err != nil {
		s.cfg.Log.Error("streams of Erlang nodes would be left behind by a crash", "err", err)
	}
}

// giveBack ends a lease, if it is one.
func (s *Server) giveBack(ctx context.Context, ref erldist.Ref) {
	s.mu.Lock()
	id := s.leases[ref]
	delete(s.leases, ref)
	if id != nil {
		s.left[string(id)] = true
		s.remember()
	}
	s.mu.Unlock()
	if id != nil {
		s.tidy(ctx, string(id))
	}
}

// isNew: an id that was left is somebody's again.
func (s *Server) isNew(id []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.left, string(id))
}

// tidy removes a stream that is left, however often the fabric has to be asked.
func (s *Server) tidy(ctx context.Context, id string) {
	again := time.NewTicker(time.Second)
	defer again.Stop()
	for !s.tidied(ctx, id, time.Since(s.begun) >= s.cfg.Settle) {
		select {
		case <-again.C:
		case <-ctx.Done():
			return // the next run goes on
		}
	}
}

// tidied is whether that is done; a stream that is not found is gone if settled.
func (s *Server) tidied(ctx context.Context, id string, settled bool) bool {
	s.taking.Lock() // nobody is given the same id meanwhile
	defer s.taking.Unlock()
	s.mu.Lock()
	left := s.left[id]
	s.mu.Unlock()
	if !left {
		return true
	}
	switch s.remove(ctx, []byte(id)) {
	case "":
	case api.CodeNotFound:
		if !settled {
			return false
		}
	default:
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.left, id)
	s.remember()
	return true
}

// remove takes a stream away, or says with which code it was refused.
func (s *Server) remove(ctx context.Context, id []byte) (code string) {
	got, _ := s.call(ctx, erldist.Atom("remove_stream"), []erldist.Term{erldist.Map{{Key: erldist.Atom("stream"), Value: id}}}).(erldist.Tuple)
	if len(got) == 2 && got[0] == erldist.Term(atomOK) {
		s.cfg.Log.Info("the holder of a stream has gone; the stream is removed", "stream", string(id))
		return ""
	}
	if len(got) == 2 {
		if why, _ := got[1].(erldist.Tuple); len(why) == 2 {
			word, _ := why[0].(erldist.Atom)
			return string(word)
		}
	}
	return api.CodeUnavailable
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
