package record

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"tsnswitch"
)

var update = flag.Bool("update", false, "rewrite golden files")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// asked is an event as a core would have it.
type asked struct {
	ID     tsn.StreamID
	Peer   tsn.MAC
	Octets []byte
	Rates  map[tsn.Port]tsn.Rate
	List   *tsn.GateControlList
	Ratio  float64
}

func init() { Register("test.asked", asked{}) }

// echo answers every event with a line that holds everything it was given.
type echo struct{ out []tsn.Effect }

func (e *echo) Deadline() tsn.Instant { return tsn.Never }

func (e *echo) Step(now tsn.Instant, ev tsn.Event) []tsn.Effect {
	e.out = append(e.out[:0], fmt.Sprintf("%d %#v", now, ev))
	return e.out
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// effects steps a machine and returns what it did, as text.
func replayed(trace io.Reader) (string, error) {
	var b strings.Builder
	err := Replay(trace, &echo{}, func(_ tsn.Instant, _ tsn.Event, effects []tsn.Effect) {
		fmt.Fprintln(&b, effects[0])
	})
	return b.String(), err
}

var sample = []tsn.Event{
	tsn.LinkChanged{Port: 1, Up: true, Rate: tsn.Gbps},
	tsn.Received{Port: 1, Frame: []byte{0x01, 0x80, 0xc2, 0, 0, 0x0e}, Ingress: 1<<62 + 1, Stamped: true},
	tsn.Timeout{},
	tsn.Sent{Port: 1, Tag: 1<<64 - 1, Egress: -5, Stamped: true},
	tsn.Received{Port: 2},
	asked{ID: tsn.MakeStreamID(tsn.MAC{2, 0, 0, 0, 0, 1}, 1), Octets: []byte("x<y"), Rates: map[tsn.Port]tsn.Rate{2: 1, 1: 2}, Ratio: 0.1},
}

// The file is what the package says, and replays to the same effects.
func TestRecordAndReplay(t *testing.T) {
	path := filepath.Join(t.TempDir(), "trace")
	r, err := Create(Config{Path: path, Machine: "timing"})
	must(t, err)
	var want strings.Builder
	m := &echo{}
	for i, ev := range sample {
		at := tsn.Instant(1000 * i)
		r.Record(at, ev)
		fmt.Fprintln(&want, m.Step(at, ev)[0])
	}
	must(t, r.Close())
	text, err := os.ReadFile(path)
	must(t, err)
	golden := filepath.Join("testdata", "sample.trace")
	if *update {
		must(t, os.MkdirAll("testdata", 0o755))
		must(t, os.WriteFile(golden, text, 0o644))
	}
	wantText, err := os.ReadFile(golden)
	must(t, err)
	if !bytes.Equal(text, wantText) {
		t.Errorf("trace differs from %s (-update rewrites it):\n%s", golden, text)
	}
	got, err := replayed(bytes.NewReader(text))
	must(t, err)
	// A pointer prints as an address; sample has none that is not nil.
	if got != want.String() {
		t.Errorf("replayed:\n%s\nwant:\n%s", got, want.String())
	}
	if s := r.Stats(); s != (Stats{Events: uint64(len(sample)), Bytes: uint64(len(text))}) {
		t.Errorf("stats %+v", s)
	}
}

// Every event comes back deeply equal, nil and empty slices included.
func TestEventRoundTrip(t *testing.T) {
	octets := rapid.OneOf(rapid.Just([]byte(nil)), rapid.SliceOfN(rapid.Byte(), 0, 64))
	rapid.Check(t, func(t *rapid.T) {
		ev := rapid.OneOf(
			rapid.Custom(func(t *rapid.T) tsn.Event {
				return tsn.Received{
					Port: tsn.Port(rapid.Uint16().Draw(t, "port")), Frame: octets.Draw(t, "frame"),
					Ingress: tsn.LocalTime(rapid.Int64().Draw(t, "ingress")), Stamped: rapid.Bool().Draw(t, "stamped"),
				}
			}),
			rapid.Custom(func(t *rapid.T) tsn.Event {
				return asked{
					Octets: octets.Draw(t, "octets"), Ratio: rapid.Float64().Draw(t, "ratio"),
					Peer: tsn.MAC(rapid.SliceOfN(rapid.Byte(), 6, 6).Draw(t, "peer")),
					List: rapid.Ptr(rapid.Custom(func(t *rapid.T) tsn.GateControlList {
						return tsn.GateControlList{
							BaseTime: tsn.PTPTime{NS: rapid.Int64().Draw(t, "base"), Domain: rapid.Byte().Draw(t, "domain")},
							Entries:  []tsn.GateEntry{{Gates: tsn.GateMask(rapid.Byte().Draw(t, "gates")), Interval: 5}},
						}
					}), true).Draw(t, "list"),
				}
			}),
		).Draw(t, "event")
		at := tsn.Instant(rapid.Int64().Draw(t, "at"))
		text, err := appendEvent([]byte(`{"trace":1,"machine":"m","part":0}`+"\n"), at, ev)
		if err != nil {
			t.Fatal(err)
		}
		if at < 0 {
			return // replay starts at 0
		}
		var back tsn.Event
		err = Replay(bytes.NewReader(text), &echo{}, func(_ tsn.Instant, ev tsn.Event, _ []tsn.Effect) { back = ev })
		if err != nil || !reflect.DeepEqual(back, ev) {
			t.Fatalf("%#v came back as %#v: %v", ev, back, err)
		}
	})
}

// Disk use is bounded, and the parts that are there replay as one trace.
func TestRotation(t *testing.T) {
	for _, tc := range []struct {
		name string
		keep int
		want error
	}{{"all parts there", 50, nil}, {"the first part gone", 2, ErrNotFromStart}} {
		path := filepath.Join(t.TempDir(), "trace")
		const maxBytes = 400
		r, err := Create(Config{Path: path, MaxBytes: maxBytes, Keep: tc.keep})
		must(t, err)
		for i := range 60 {
			r.Record(tsn.Instant(i), tsn.Sent{Port: 1, Tag: uint64(i)})
		}
		must(t, r.Close())
		files, err := filepath.Glob(path + "*")
		must(t, err)
		if s := r.Stats(); s.Rotations < 5 || len(files) != min(int(s.Rotations), tc.keep)+1 {
			t.Errorf("%s: %d files, %+v", tc.name, len(files), s)
		}
		for _, f := range files {
			if info, err := os.Stat(f); err != nil || info.Size() > maxBytes {
				t.Errorf("%s: %v, %v", tc.name, info, err)
			}
		}
		all, err := OpenParts(path)
		must(t, err)
		got, err := replayed(all)
		must(t, all.Close())
		if !errors.Is(err, tc.want) || (tc.want == nil && strings.Count(got, "\n") != 60) {
			t.Errorf("%s: %d events, %v", tc.name, strings.Count(got, "\n"), err)
		}
		// A later run does not inherit the parts of this one.
		r, err = Create(Config{Path: path, Keep: tc.keep})
		must(t, err)
		must(t, r.Close())
		if files, _ := filepath.Glob(path + "*"); len(files) != 1 {
			t.Errorf("%s: a new trace leaves %v", tc.name, files)
		}
	}
}

// A disk that becomes full ends the recording with one error, and nothing else.
func TestDiskFull(t *testing.T) {
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip("needs /dev/full")
	}
	if _, err := Create(Config{Path: "/dev/full"}); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("Create on a full disk: %v", err)
	}
	path := filepath.Join(t.TempDir(), "trace")
	r, err := Create(Config{Path: path})
	must(t, err)
	// No event is queued yet, so the writing goroutine does not look at file.
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	must(t, err)
	must(t, r.file.Close())
	r.file = full
	const events = 100
	for i := range events {
		r.Record(tsn.Instant(i), tsn.Timeout{})
	}
	if err := r.Close(); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("Close: %v", err)
	}
	r.Record(0, tsn.Timeout{})
	if s := r.Stats(); s.Errors != 1 || s.Dropped != events+1 || s.Events != 0 {
		t.Errorf("stats %+v", s)
	}
}

// An event that cannot be recorded leaves a gap, and Replay stops there.
func TestGap(t *testing.T) {
	path := filepath.Join(t.TempDir(), "trace")
	r, err := Create(Config{Path: path})
	must(t, err)
	r.Record(1, tsn.Timeout{})
	r.Record(2, struct{ Unknown int }{})
	r.Record(3, asked{Ratio: nan()})
	r.Record(4, tsn.Timeout{})
	must(t, r.Close())
	f, err := os.Open(path)
	must(t, err)
	defer f.Close()
	got, err := replayed(f)
	if !errors.Is(err, ErrGap) || !strings.Contains(err.Error(), "2 events") || strings.Count(got, "\n") != 1 {
		t.Errorf("replayed %q, %v", got, err)
	}
	if s := r.Stats(); s.Dropped != 2 || s.Events != 2 {
		t.Errorf("stats %+v", s)
	}
}

// A disk slower than the machine: events are dropped, never waited for, and
// the trace says so even if nothing follows.
func TestQueueFull(t *testing.T) {
	path := filepath.Join(t.TempDir(), "trace")
	r := &Recorder{cfg: Config{Path: path, MaxBytes: 1e6}, queue: make(chan entry, 2), done: make(chan struct{})}
	must(t, r.begin())
	for i := range 5 { // nobody writes yet
		r.Record(tsn.Instant(i), tsn.Timeout{})
	}
	go r.run()
	must(t, r.Close())
	text, err := os.ReadFile(path)
	must(t, err)
	got, err := replayed(bytes.NewReader(text))
	if !errors.Is(err, ErrGap) || strings.Count(got, "\n") != 2 || !strings.HasSuffix(string(text), `{"at":4,"gap":3}`+"\n") {
		t.Errorf("trace %s: %v", text, err)
	}
	if s := r.Stats(); s.Events != 2 || s.Dropped != 3 {
		t.Errorf("stats %+v", s)
	}
}

func nan() float64 { z := 0.0; return z / z }

func TestReplayRefuses(t *testing.T) {
	const head = `{"trace":1,"machine":"m","part":0}` + "\n"
	for _, tc := range []struct {
		name, text, want string
	}{
		{"empty", "", "EOF"},
		{"no trace", "hello\n", "header"},
		{"other version", `{"trace":2,"machine":"m","part":0}` + "\n", "format 2"},
		{"not from the start", `{"trace":1,"machine":"m","part":1}` + "\n", "first event"},
		{"part missing", head + `{"trace":1,"machine":"m","part":2}` + "\n", "missing"},
		{"cut", head + `{"at":1,"eve`, "within a line"},
		{"unknown event", head + `{"at":1,"event":"nobody.knows"}` + "\n", "not registered"},
		{"unknown field", head + `{"at":1,"event":"Sent","data":{"Colour":1}}` + "\n", "Colour"},
		{"time goes back", head + `{"at":5,"event":"Timeout"}` + "\n" + `{"at":4,"event":"Timeout"}` + "\n", "line 3: time goes back"},
		{"odd hexadecimal", head + `{"at":5,"event":"Received","data":{"Frame":"012"}}` + "\n", "frame"},
		{"endless line", head + strings.Repeat("x", maxLine+1), "longer"},
	} {
		if _, err := replayed(strings.NewReader(tc.text)); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v", tc.name, err)
		}
	}
}

type selfish struct{ Next *selfish }

func TestRegisterRefuses(t *testing.T) {
	for name, ev := range map[string]tsn.Event{
		"nil":        nil,
		"pointer":    &asked{},
		"interface":  struct{ E tsn.Event }{},
		"function":   struct{ F func() }{},
		"unexported": struct{ Inner struct{ x int } }{},
		"hidden": struct {
			X int `json:"-"`
		}{},
		"recursive":  selfish{},
		"type twice": asked{},
		"Sent":       struct{ X int }{}, // the name
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: registered", name)
				}
			}()
			Register(name, ev)
		}()
	}
}

// Whatever the text, Replay ends with an error or with a run that, recorded
// again, is a trace of the same events.
func FuzzReplay(f *testing.F) {
	text, err := os.ReadFile(filepath.Join("testdata", "sample.trace"))
	if err == nil {
		f.Add(text)
	}
	f.Add([]byte(`{"trace":1,"machine":"m","part":0}` + "\n" + `{"at":5,"event":"Timeout"}` + "\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		again := []byte(`{"trace":1,"machine":"m","part":0}` + "\n")
		var first []tsn.Event
		Replay(bytes.NewReader(text), &echo{}, func(at tsn.Instant, ev tsn.Event, _ []tsn.Effect) {
			var err error
			if again, err = appendEvent(again, at, ev); err != nil {
				t.Fatal(err)
			}
			first = append(first, ev)
		})
		n := 0
		err := Replay(bytes.NewReader(again), &echo{}, func(_ tsn.Instant, ev tsn.Event, _ []tsn.Effect) {
			if !reflect.DeepEqual(ev, first[n]) {
				t.Fatalf("%#v became %#v", first[n], ev)
			}
			n++
		})
		if err != nil || n != len(first) {
			t.Fatalf("%d events of %d: %v", n, len(first), err)
		}
	})
}
