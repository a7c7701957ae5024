package record

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"

	"tsnswitch"
)

// Config says where and how much to record. Zero means default.
type Config struct {
	Path     string // of the newest part; older ones are Path.1, Path.2 ...
	Machine  string // name of the machine, kept in the trace
	MaxBytes int64  // of one part; 64 MiB
	Keep     int    // older parts kept; 3. With the newest this bounds the disk used
	Queue    int    // events that may wait for the disk; 4096
	Logger   *slog.Logger
}

// Stats counts what a Recorder did.
type Stats struct {
	Events    uint64 // written
	Bytes     uint64 // written
	Rotations uint64 // parts begun after the first
	Dropped   uint64 // events lost: queue full, not recordable, or after an error
	Errors    uint64 // failures to write; the first one ends the recording
}

// header is the first line of every part.
type header struct {
	Trace   int    `json:"trace"` // version of the format
	Machine string `json:"machine"`
	Part    uint64 `json:"part"` // 0 begins with the machine's first event
}

const formatVersion = 1

// Recorder writes a trace. Record is called by one loop, the rest by anyone.
type Recorder struct {
	cfg   Config
	queue chan entry
	done  chan struct{}

	mu     sync.Mutex // orders Record and Close
	gap    uint64     // events dropped since the last one queued
	gapAt  tsn.Instant
	closed bool

	events, bytes, rotations, dropped, errs atomic.Uint64
	failed                                  atomic.Bool

	// Owned by the writing goroutine.
	file *os.File
	size int64
	part uint64
	err  error
}

// entry is text for the file: an event, a gap, or both.
type entry struct {
	text   []byte
	events uint64
}

// Create begins a trace, replacing the file at Path and its older parts.
func Create(cfg Config) (*Recorder, error) {
	if cfg.MaxBytes <= 0 {
		cfg.MaxBytes = 64 << 20
	}
	if cfg.Keep <= 0 {
		cfg.Keep = 3
	}
	if cfg.Queue <= 0 {
		cfg.Queue = 4096
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	r := &Recorder{cfg: cfg, queue: make(chan entry, cfg.Queue), done: make(chan struct{})}
	for i := 1; i <= cfg.Keep; i++ { // parts of an earlier run are no part of this trace
		if err := os.Remove(r.name(i)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("record: %w", err)
		}
	}
	if err := r.begin(); err != nil {
		return nil, fmt.Errorf("record: %w", err)
	}
	go r.run()
	return r, nil
}

// Record takes note of an event before or after it is given to the machine,
// but before the machine can change the event's memory. It does not wait.
func (r *Recorder) Record(at tsn.Instant, ev tsn.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed || r.failed.Load() {
		r.dropped.Add(1)
		return
	}
	text, err := appendEvent(r.gapLine(), at, ev)
	if err != nil {
		if r.gap == 0 {
			r.cfg.Logger.Error("event not recorded; the trace has a gap", "machine", r.cfg.Machine, "err", err)
		}
		r.drop(at)
		return
	}
	select {
	case r.queue <- entry{text: text, events: 1}:
		r.gap = 0
	default:
		r.drop(at)
	}
}

func (r *Recorder) drop(at tsn.Instant) {
	r.gap++
	r.gapAt = at
	r.dropped.Add(1)
}

// gapLine is the line that tells of dropped events; nil if there are none.
func (r *Recorder) gapLine() []byte {
	if r.gap == 0 {
		return nil
	}
	return fmt.Appendf(nil, `{"at":%d,"gap":%d}`+"\n", r.gapAt, r.gap)
}

// Stats returns the counters.
func (r *Recorder) Stats() Stats {
	return Stats{
		Events: r.events.Load(), Bytes: r.bytes.Load(), Rotations: r.rotations.Load(),
		Dropped: r.dropped.Load(), Errors: r.errs.Load(),
	}
}

// Close writes what is queued and returns the error that ended the recording,
// if one did.
func (r *Recorder) Close() error {
	r.mu.Lock()
	if !r.closed {
		r.closed = true
		if mark := r.gapLine(); mark != nil && !r.failed.Load() {
			r.queue <- entry{text: mark} // waits for the disk, once
		}
		close(r.queue)
	}
	r.mu.Unlock()
	<-r.done
	return r.err
}

// run is the writing goroutine.
func (r *Recorder) run() {
	defer close(r.done)
	for e := range r.queue {
		if r.err != nil {
			r.dropped.Add(e.events)
			continue
		}
		if err := r.write(e.text); err != nil {
			r.dropped.Add(e.events)
			r.fail(err)
			continue
		}
		r.events.Add(e.events)
	}
	if err := r.file.Close(); err != nil && r.err == nil {
		r.fail(err)
	}
}

// fail ends the recording.
func (r *Recorder) fail(err error) {
	r.err = fmt.Errorf("record: %w", err)
	r.errs.Add(1)
	r.failed.Store(true)
	r.cfg.Logger.Error("recording stopped; the switch goes on without it", "machine", r.cfg.Machine, "err", err)
}

func (r *Recorder) write(text []byte) error {
	if r.size+int64(len(text)) > r.cfg.MaxBytes && r.size > 0 {
		if err := r.rotate(); err != nil {
			return err
		}
	}
	return r.append(text)
}

func (r *Recorder) append(text []byte) error {
	n, err := r.file.Write(text)
	r.size += int64(n)
	r.bytes.Add(uint64(n))
	return err
}

// begin opens a new newest part and writes its header.
func (r *Recorder) begin() error {
	f, err := os.OpenFile(r.cfg.Path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o640)
	if err != nil {
		return err
	}
	r.file, r.size = f, 0
	text, err := appendLine(nil, header{Trace: formatVersion, Machine: r.cfg.Machine, Part: r.part})
	if err == nil {
		err = r.append(text)
	}
	if err != nil {
		f.Close()
	}
	return err
}

// rotate makes the newest part the first of the older ones.
func (r *Recorder) rotate() error {
	if err := r.file.Close(); err != nil {
		return err
	}
	for i := r.cfg.Keep; i >= 1; i-- {
		err := os.Rename(r.name(i-1), r.name(i))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	r.part++
	r.rotations.Add(1)
	return r.begin()
}

func (r *Recorder) name(i int) string {
	if i == 0 {
		return r.cfg.Path
	}
	return fmt.Sprintf("%s.%d", r.cfg.Path, i)
}
