package gptplog

// ring keeps the last limit values. It takes memory as it fills.
type ring[T any] struct {
	limit int
	buf   []T
	count uint64 // values added, ever
}

func (r *ring[T]) add(v T) {
	if len(r.buf) < r.limit {
		r.buf = append(r.buf, v)
	} else {
		r.buf[r.count%uint64(r.limit)] = v
	}
	r.count++
}

// all ranges over what is kept, oldest first.
func (r *ring[T]) all(yield func(T) bool) {
	for k := r.count - uint64(len(r.buf)); k < r.count; k++ {
		if !yield(r.buf[k%uint64(r.limit)]) {
			return
		}
	}
}

// since copies what is kept from the n-th value on.
func (r *ring[T]) since(n uint64) []T {
	var out []T
	for k := max(n, r.count-uint64(len(r.buf))); k < r.count; k++ {
		out = append(out, r.buf[k%uint64(r.limit)])
	}
	return out
}
