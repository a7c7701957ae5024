package config

import (
	"encoding"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sort"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// maxDocument bounds a file: a mistyped path must not be read into memory.
const maxDocument = 4 << 20

// maxReported bounds how many errors are told at once.
const maxReported = 20

// Errors are the faults of one document, in the order of their lines.
type Errors []*Error

// Error is one fault: which key is wrong, how, and what is allowed.
type Error struct {
	File string
	Line int    // 0 if the fault is something absent at the top
	Key  string // ports[1].rate
	Text string
}

func (e *Error) Error() string {
	s := e.File
	if e.Line > 0 {
		s += ":" + strconv.Itoa(e.Line)
	}
	if e.Key != "" {
		s += ": " + e.Key
	}
	return s + ": " + e.Text
}

func (e Errors) Error() string {
	var lines []string
	for i, x := range e {
		if i == maxReported {
			lines = append(lines, fmt.Sprintf("and %d more", len(e)-i))
			break
		}
		lines = append(lines, x.Error())
	}
	return strings.Join(lines, "\n")
}

// document collects faults and remembers on which line each key stands, so
// that checks made after decoding can say so too.
type document struct {
	file  string
	lines map[string]int
	errs  Errors
	// nullIsDefault: a key without a value has its default.
	nullIsDefault bool
	limit         int // octets [maxDocument]
}

// defaulter fills a value before its keys are read.
type defaulter interface{ setDefaults() }

// decode reads data into v, a pointer to a struct with yaml tags. The
// document it returns takes the faults of later checks; call its err last.
// ok false means that nothing was read: there is nothing to check.
func decode(file string, data []byte, v any) (d *document, ok bool) {
	return (&document{file: file}).decode(data, v)
}

func (d *document) decode(data []byte, v any) (*document, bool) {
	d.lines = map[string]int{}
	if d.limit == 0 {
		d.limit = maxDocument
	}
	if len(data) > d.limit {
		d.fault(0, "", "is %d octets long, at most %d are read", len(data), d.limit)
		return d, false
	}
	var root yaml.Node
	if err := yaml.Unmarshal(data, &root); err != nil {
		// yaml says "yaml: line 3: did not find ..."
		text := strings.TrimPrefix(err.Error(), "yaml: ")
		line := 0
		if rest, ok := strings.CutPrefix(text, "line "); ok {
			if n, after, ok := strings.Cut(rest, ": "); ok {
				line, _ = strconv.Atoi(n)
				text = after
			}
		}
		d.fault(line, "", "not YAML: %s", text)
		return d, false
	}
	if len(root.Content) == 0 {
		d.fault(0, "", "is empty")
		return d, false
	}
	d.value(root.Content[0], reflect.ValueOf(v).Elem(), "")
	return d, root.Content[0].Kind == yaml.MappingNode
}

func (d *document) fault(line int, key, format string, a ...any) {
	d.errs = append(d.errs, &Error{d.file, line, key, fmt.Sprintf(format, a...)})
}

// bad is a fault found after decoding, at the line of the key or, if the key
// is absent, of what it should be in.
func (d *document) bad(key, format string, a ...any) {
	line := 0
	if d.faulty(key) {
		return // its value was not even read
	}
	for k := key; k != "" && line == 0; {
		line = d.lines[k]
		i := strings.LastIndexAny(k, ".[")
		k = k[:max(i, 0)]
	}
	d.fault(line, key, format, a...)
}

// absent reports whether the document does not have the key.
func (d *document) absent(key string) bool {
	_, present := d.lines[key]
	return !present
}

func (d *document) faulty(key string) bool {
	return slices.ContainsFunc(d.errs, func(e *Error) bool { return e.Key == key && key != "" })
}

// err returns all faults, by line, or nil.
func (d *document) err() error {
	if len(d.errs) == 0 {
		return nil
	}
	sort.SliceStable(d.errs, func(i, j int) bool { return d.errs[i].Line < d.errs[j].Line })
	return d.errs
}

func (d *document) value(n *yaml.Node, v reflect.Value, key string) {
	if d.nullIsDefault && n.Tag == "!!null" {
		return
	}
	d.lines[key] = n.Line
	if n.Kind == yaml.AliasNode || n.Anchor != "" {
		d.fault(n.Line, key, "anchors and aliases are not read; write the value out")
		return
	}
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			v.Set(reflect.New(v.Type().Elem()))
		}
		v = v.Elem()
	}
	u, isText := v.Addr().Interface().(encoding.TextUnmarshaler)
	if v.Kind() == reflect.Map && n.Kind == yaml.MappingNode || v.Kind() == reflect.Slice && n.Kind == yaml.SequenceNode {
		isText = false // one that may be written as one word, and is not
	}
	if isText {
		if text, ok := d.scalar(n, key); ok {
			if err := u.UnmarshalText([]byte(text)); err != nil {
				d.fault(n.Line, key, "%v", err)
			}
		}
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		d.mapping(n, key, func(name string, val *yaml.Node) { d.field(name, val, v, key) })
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		d.mapping(n, key, func(name string, val *yaml.Node) {
			elem := newValue(v.Type().Elem())
			d.value(val, elem, join(key, name))
			v.SetMapIndex(reflect.ValueOf(name), elem)
		})
	case reflect.Slice:
		d.sequence(n, v, key)
	default:
		if text, ok := d.scalar(n, key); ok {
			if err := setScalar(v, text); err != nil {
				d.fault(n.Line, key, "%v", err)
			}
		}
	}
}

// mapping calls each for every key, once.
func (d *document) mapping(n *yaml.Node, key string, each func(string, *yaml.Node)) {
	if n.Kind != yaml.MappingNode {
		d.fault(n.Line, key, "is %s; keys with values are wanted", describe(n, key))
		return
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, val := n.Content[i], n.Content[i+1]
		if seen[k.Value] {
			d.fault(k.Line, join(key, k.Value), "is given twice")
			continue
		}
		seen[k.Value] = true
		each(k.Value, val)
	}
}

func (d *document) field(name string, val *yaml.Node, v reflect.Value, key string) {
	t := v.Type()
	var allowed []string
	for i := range t.NumField() {
		tag, _, _ := strings.Cut(t.Field(i).Tag.Get("yaml"), ",")
		if tag == name && tag != "-" {
			d.value(val, v.Field(i), join(key, name))
			return
		}
		if tag != "" && tag != "-" {
			allowed = append(allowed, tag)
		}
	}
	d.fault(val.Line, join(key, name), "unknown key; allowed here: %s", strings.Join(allowed, ", "))
}

func (d *document) sequence(n *yaml.Node, v reflect.Value, key string) {
	if n.Kind != yaml.SequenceNode {
		d.fault(n.Line, key, "is %s; a list is wanted", describe(n, key))
		return
	}
	out := reflect.MakeSlice(v.Type(), 0, len(n.Content))
	for i, item := range n.Content {
		elem := newValue(v.Type().Elem())
		d.value(item, elem, fmt.Sprintf("%s[%d]", key, i))
		out = reflect.Append(out, elem)
	}
	v.Set(out)
}

// newValue is an addressable value with its defaults.
func newValue(t reflect.Type) reflect.Value {
	p := reflect.New(t)
	if def, ok := p.Interface().(defaulter); ok {
		def.setDefaults()
	}
	return p.Elem()
}

func (d *document) scalar(n *yaml.Node, key string) (string, bool) {
	if n.Kind != yaml.ScalarNode {
		d.fault(n.Line, key, "is %s; one value is wanted", describe(n, key))
		return "", false
	}
	if n.Tag == "!!null" {
		d.fault(n.Line, key, "has no value; give one, or remove the key for the default")
		return "", false
	}
	return n.Value, true
}

func setScalar(v reflect.Value, text string) error {
	switch v.Kind() {
	case reflect.String:
		v.SetString(text)
	case reflect.Bool:
		if text != "true" && text != "false" {
			return fmt.Errorf("%q is neither true nor false", text)
		}
		v.SetBool(text == "true")
	case reflect.Int, reflect.Int64:
		n, err := strconv.ParseInt(text, 0, 64)
		if err != nil {
			return fmt.Errorf("%q is not a whole number", text)
		}
		v.SetInt(n)
	case reflect.Uint8, reflect.Uint16, reflect.Uint32:
		n, err := strconv.ParseUint(text, 0, v.Type().Bits())
		if err != nil {
			return fmt.Errorf("%q is not a whole number in 0..%d", text, uint64(1)<<v.Type().Bits()-1)
		}
		v.SetUint(n)
	case reflect.Float64:
		f, err := strconv.ParseFloat(text, 64)
		if err != nil || f != f {
			return fmt.Errorf("%q is not a number", text)
		}
		v.SetFloat(f)
	default:
		return errors.New("cannot be configured") // a field of a type this decoder lacks: a test finds it
	}
	return nil
}

func join(key, name string) string {
	if key == "" {
		return name
	}
	return key + "." + name
}

func describe(n *yaml.Node, key string) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "keys with values"
	case yaml.SequenceNode:
		return "a list"
	}
	if n.Tag == "!!null" {
		return "empty"
	}
	if strings.HasPrefix(key, "spb.auth") || strings.HasPrefix(key, "fabric.auth") {
		return "one value" // perhaps a secret in the wrong place
	}
	return fmt.Sprintf("%q", n.Value)
}
