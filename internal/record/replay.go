package record

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"tsnswitch"
)

// Errors of Replay, wrapped with the line they are about.
var (
	// ErrGap: events are missing, because the disk was slower than the machine.
	ErrGap = errors.New("events are missing from the trace")
	// ErrNotFromStart: older parts were rotated away.
	ErrNotFromStart = errors.New("trace does not begin with the machine's first event")
	// ErrTruncated: the last line is incomplete, as after a crash. Everything
	// before it was replayed.
	ErrTruncated = errors.New("trace ends within a line")
)

// maxLine bounds a line: a jumbo frame in hexadecimal is far below it.
const maxLine = 1 << 20

// Replay steps the machine through a trace (see OpenParts for a rotated one)
// and hands each step to f, which may be nil. The machine must have been
// built as the recorded one was. Effects are valid until f returns.
func Replay(trace io.Reader, m tsn.Machine, f func(at tsn.Instant, ev tsn.Event, effects []tsn.Effect)) error {
	if f == nil {
		f = func(tsn.Instant, tsn.Event, []tsn.Effect) {}
	}
	in := bufio.NewReaderSize(trace, 64<<10)
	p := player{machine: m, each: f}
	for n := 1; ; n++ {
		text, err := readLine(in)
		if err == io.EOF && n > 1 {
			return nil
		}
		if err == nil {
			err = p.line(text)
		}
		if err != nil {
			return fmt.Errorf("replay: line %d: %w", n, err)
		}
	}
}

// readLine reads a line without its newline; io.EOF only between lines.
func readLine(in *bufio.Reader) ([]byte, error) {
	var text []byte
	for {
		piece, err := in.ReadSlice('\n')
		text = append(text, piece...)
		switch {
		case len(text) > maxLine:
			return nil, fmt.Errorf("longer than %d octets; is this a trace?", maxLine)
		case err == nil:
			return bytes.TrimSuffix(text, []byte("\n")), nil
		case err == io.EOF && len(text) > 0:
			return nil, ErrTruncated
		case !errors.Is(err, bufio.ErrBufferFull):
			return nil, err
		}
	}
}

// player is the state of Replay.
type player struct {
	machine tsn.Machine
	each    func(tsn.Instant, tsn.Event, []tsn.Effect)
	started bool
	parts   uint64 // headers read
	last    tsn.Instant
}

func (p *player) line(text []byte) error {
	var h header
	if bytes.HasPrefix(text, []byte(`{"trace":`)) || !p.started {
		if err := parseStrict(text, &h); err != nil {
			return fmt.Errorf("no header of a trace: %w", err)
		}
		return p.header(h)
	}
	var l line
	if err := json.Unmarshal(text, &l); err != nil {
		return err
	}
	if l.Gap > 0 {
		return fmt.Errorf("%d events before %d ns: %w", l.Gap, l.At, ErrGap)
	}
	if l.At < p.last {
		return fmt.Errorf("time goes back from %d to %d ns", p.last, l.At)
	}
	ev, err := parseEvent(l)
	if err != nil {
		return err
	}
	p.last = l.At
	p.each(l.At, ev, p.machine.Step(l.At, ev))
	return nil
}

func (p *player) header(h header) error {
	switch {
	case h.Trace != formatVersion:
		return fmt.Errorf("trace format %d; this program reads %d", h.Trace, formatVersion)
	case h.Part != p.parts && !p.started:
		return fmt.Errorf("part %d: %w", h.Part, ErrNotFromStart)
	case h.Part != p.parts:
		return fmt.Errorf("part %d follows part %d: %w", h.Part, p.parts-1, ErrGap)
	}
	p.started = true
	p.parts++
	return nil
}

// OpenParts opens a trace and its older parts (Path.1, Path.2 ...) as one
// stream, oldest first.
func OpenParts(path string) (io.ReadCloser, error) {
	newest, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("trace: %w", err)
	}
	p := &parts{files: []*os.File{newest}}
	for i := 1; ; i++ {
		f, err := os.Open(fmt.Sprintf("%s.%d", path, i))
		if errors.Is(err, fs.ErrNotExist) {
			break
		}
		if err != nil {
			p.Close()
			return nil, fmt.Errorf("trace: %w", err)
		}
		p.files = append([]*os.File{f}, p.files...)
	}
	readers := make([]io.Reader, len(p.files))
	for i, f := range p.files {
		readers[i] = f
	}
	p.Reader = io.MultiReader(readers...)
	return p, nil
}

type parts struct {
	io.Reader
	files []*os.File
}

// Close closes every part.
func (p *parts) Close() error {
	var errs []error
	for _, f := range p.files {
		errs = append(errs, f.Close())
	}
	return errors.Join(errs...)
}
