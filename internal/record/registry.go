package record

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"sync"

	"tsnswitch"
)

// ErrUnregistered is wrapped by errors about an event type that nobody registered.
var ErrUnregistered = errors.New("event type is not registered for recording")

var registry = struct {
	sync.RWMutex
	byName map[string]reflect.Type
	byType map[reflect.Type]string
}{byName: map[string]reflect.Type{}, byType: map[reflect.Type]string{}}

func init() {
	Register("Timeout", tsn.Timeout{})
	Register("Received", tsn.Received{})
	Register("Sent", tsn.Sent{})
	Register("LinkChanged", tsn.LinkChanged{})
}

// Register makes an event type recordable under a name. The prototype's type
// must survive JSON: exported fields only, no interface, function, channel or
// pointer to itself. It panics if not, or if the name or the type is taken:
// registration is part of the program, not of its input.
func Register(name string, prototype tsn.Event) {
	t := reflect.TypeOf(prototype)
	if t == nil || t.Kind() == reflect.Pointer {
		panic(fmt.Sprintf("record: %s: register the event's value, not %v", name, t))
	}
	if why := unrecordable(t, nil); why != "" {
		panic(fmt.Sprintf("record: %s (%v) cannot be recorded: %s", name, t, why))
	}
	registry.Lock()
	defer registry.Unlock()
	if _, taken := registry.byName[name]; taken {
		panic(fmt.Sprintf("record: name %s is registered twice", name))
	}
	if other, taken := registry.byType[t]; taken {
		panic(fmt.Sprintf("record: %v is registered as %s and as %s", t, other, name))
	}
	registry.byName[name], registry.byType[t] = t, name
}

// unrecordable says what in t JSON would lose, or "".
func unrecordable(t reflect.Type, above []reflect.Type) string {
	if reflect.PointerTo(t).Implements(reflect.TypeFor[json.Unmarshaler]()) ||
		reflect.PointerTo(t).Implements(reflect.TypeFor[interface{ UnmarshalText([]byte) error }]()) {
		return "" // it looks after itself
	}
	for _, a := range above {
		if a == t {
			return fmt.Sprintf("%v contains itself", t)
		}
	}
	above = append(above, t)
	switch t.Kind() {
	case reflect.Interface, reflect.Func, reflect.Chan, reflect.UnsafePointer, reflect.Complex64, reflect.Complex128:
		return fmt.Sprintf("%v has no JSON form", t)
	case reflect.Pointer, reflect.Slice, reflect.Array:
		return unrecordable(t.Elem(), above)
	case reflect.Map:
		if why := unrecordable(t.Key(), above); why != "" {
			return why
		}
		return unrecordable(t.Elem(), above)
	case reflect.Struct:
		for i := range t.NumField() {
			f := t.Field(i)
			if !f.IsExported() {
				return fmt.Sprintf("field %s of %v is not exported", f.Name, t)
			}
			if f.Tag.Get("json") == "-" {
				return fmt.Sprintf("field %s of %v is left out of JSON", f.Name, t)
			}
			if why := unrecordable(f.Type, above); why != "" {
				return why
			}
		}
	}
	return ""
}

// line is one line of a trace after the first.
type line struct {
	At    tsn.Instant     `json:"at"`
	Event string          `json:"event,omitempty"`
	Data  json.RawMessage `json:"data,omitempty"`
	Gap   uint64          `json:"gap,omitempty"` // events that are missing here
}

// hexFrame is a frame in hexadecimal; a nil frame stays nil.
type hexFrame []byte

func (h hexFrame) MarshalJSON() ([]byte, error) {
	if h == nil {
		return []byte("null"), nil
	}
	return json.Marshal(hex.EncodeToString(h))
}

func (h *hexFrame) UnmarshalJSON(b []byte) error {
	var s *string
	if err := json.Unmarshal(b, &s); err != nil || s == nil {
		*h = nil
		return err
	}
	out, err := hex.DecodeString(*s)
	if err != nil {
		return fmt.Errorf("frame: %w", err)
	}
	*h = out
	return nil
}

// received is tsn.Received with its frame in hexadecimal.
type received struct {
	Port    tsn.Port
	Frame   hexFrame
	Ingress tsn.LocalTime
	Stamped bool
}

// appendEvent appends the line of an event, with its newline.
func appendEvent(b []byte, at tsn.Instant, ev tsn.Event) ([]byte, error) {
	registry.RLock()
	name, ok := registry.byType[reflect.TypeOf(ev)]
	registry.RUnlock()
	if !ok {
		return b, fmt.Errorf("%T: %w; call record.Register", ev, ErrUnregistered)
	}
	var form any = ev
	switch e := ev.(type) {
	case tsn.Received:
		form = received{Port: e.Port, Frame: e.Frame, Ingress: e.Ingress, Stamped: e.Stamped}
	case tsn.Timeout:
		return appendLine(b, line{At: at, Event: name})
	}
	data, err := json.Marshal(form)
	if err != nil {
		return b, fmt.Errorf("event %s: %w", name, err)
	}
	return appendLine(b, line{At: at, Event: name, Data: data})
}

func appendLine(b []byte, v any) ([]byte, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return b, err
	}
	return append(append(b, text...), '\n'), nil
}

// parseEvent is the inverse of appendEvent.
func parseEvent(l line) (tsn.Event, error) {
	registry.RLock()
	t, ok := registry.byName[l.Event]
	registry.RUnlock()
	if !ok {
		return nil, fmt.Errorf("event %q: %w in this program", l.Event, ErrUnregistered)
	}
	if t == reflect.TypeFor[tsn.Received]() {
		var r received
		err := parseStrict(l.Data, &r)
		return tsn.Received{Port: r.Port, Frame: r.Frame, Ingress: r.Ingress, Stamped: r.Stamped}, err
	}
	v := reflect.New(t)
	if len(l.Data) > 0 {
		if err := parseStrict(l.Data, v.Interface()); err != nil {
			return nil, fmt.Errorf("event %s: %w", l.Event, err)
		}
	}
	return v.Elem().Interface(), nil
}

// parseStrict refuses fields that the type has not: they come from another
// version of the program, and leaving them out would change the run.
func parseStrict(data []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		return errors.New("more than one JSON value")
	}
	return nil
}
