package framesim

func (w *sim) push(e event) {
	w.result.Events++
	w.seq++
	e.seq = w.seq
	w.heap = append(w.heap, e)
	h := w.heap
	for i := len(h) - 1; i > 0; {
		up := (i - 1) / 2
		if !h[i].before(&h[up]) {
			break
		}
		h[i], h[up] = h[up], h[i]
		i = up
	}
}

func (w *sim) popEvent() event {
	h := w.heap
	first, n := h[0], len(h)-1
	h[0] = h[n]
	h = h[:n]
	for i := 0; ; {
		down := 2*i + 1
		if down+1 < n && h[down+1].before(&h[down]) {
			down++
		}
		if down >= n || !h[down].before(&h[i]) {
			break
		}
		h[i], h[down] = h[down], h[i]
		i = down
	}
	w.heap = h
	return first
}
