package erlnode

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"math/big"
	"slices"
	"strings"
	"unicode/utf8"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"

	"tsnswitch/distlink/erldist"
)

const (
	atomTrue  = erldist.Atom("true")
	atomFalse = erldist.Atom("false")
	atomNull  = erldist.Atom("null")
)

// text takes what Erlang programmers write for a string: an atom, a binary, or
// a list of characters.
func text(t erldist.Term) (string, bool) {
	switch t := t.(type) {
	case erldist.Atom:
		return string(t), true
	case []byte:
		return string(t), utf8.Valid(t)
	case erldist.List:
		var b strings.Builder
		for _, c := range t {
			r, ok := c.(int64)
			if !ok || r < 0 || r > utf8.MaxRune {
				return "", false
			}
			b.WriteRune(rune(r))
		}
		return b.String(), true
	}
	return "", false
}

// message makes a message of that kind from a map.
func message(desc protoreflect.MessageDescriptor, t erldist.Term) (*dynamicpb.Message, error) {
	fields, ok := t.(erldist.Map)
	if !ok {
		return nil, fmt.Errorf("%s: a map is wanted, not %s", desc.Name(), show(t))
	}
	m := dynamicpb.NewMessage(desc)
	for _, f := range fields {
		name, _ := text(f.Key)
		fd := desc.Fields().ByTextName(name)
		if fd == nil {
			return nil, fmt.Errorf("%s has no field %s; it has %s", desc.Name(), show(f.Key), fieldNames(desc))
		}
		if err := setField(m, fd, f.Value); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	return m, nil
}

func fieldNames(desc protoreflect.MessageDescriptor) string {
	var names []string
	for i := range desc.Fields().Len() {
		names = append(names, desc.Fields().Get(i).TextName())
	}
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

func setField(m *dynamicpb.Message, fd protoreflect.FieldDescriptor, t erldist.Term) error {
	switch {
	case fd.IsMap():
		return fmt.Errorf("fields of kind map cannot be given")
	case fd.IsList():
		items, ok := t.(erldist.List)
		if !ok {
			return fmt.Errorf("a list is wanted, not %s", show(t))
		}
		list := m.Mutable(fd).List()
		for i, item := range items {
			v, err := value(fd, item)
			if err != nil {
				return fmt.Errorf("element %d: %w", i+1, err)
			}
			list.Append(v)
		}
		return nil
	}
	v, err := value(fd, t)
	if err == nil {
		m.Set(fd, v)
	}
	return err
}

// value is a single one of a field.
func value(fd protoreflect.FieldDescriptor, t erldist.Term) (v protoreflect.Value, err error) {
	wrong := func(want string) error { return fmt.Errorf("%s is wanted, not %s", want, show(t)) }
	switch fd.Kind() {
	case protoreflect.BoolKind:
		if t != erldist.Term(atomTrue) && t != erldist.Term(atomFalse) {
			return v, wrong("true or false")
		}
		return protoreflect.ValueOfBool(t == erldist.Term(atomTrue)), nil
	case protoreflect.StringKind:
		s, ok := text(t)
		if !ok {
			return v, wrong("a string")
		}
		return protoreflect.ValueOfString(s), nil
	case protoreflect.BytesKind:
		b, ok := t.([]byte)
		if !ok {
			return v, wrong("a binary")
		}
		return protoreflect.ValueOfBytes(b), nil
	case protoreflect.MessageKind, protoreflect.GroupKind:
		m, err := message(fd.Message(), t)
		if err != nil {
			return v, err
		}
		return protoreflect.ValueOfMessage(m), nil
	case protoreflect.EnumKind:
		name, _ := text(t)
		if e := fd.Enum().Values().ByName(protoreflect.Name(name)); e != nil {
			return protoreflect.ValueOfEnum(e.Number()), nil
		}
		return v, wrong("a name of " + string(fd.Enum().Name()))
	case protoreflect.DoubleKind, protoreflect.FloatKind:
		f, ok := t.(float64)
		if n, whole := t.(int64); whole {
			f, ok = float64(n), true
		}
		if !ok {
			return v, wrong("a number")
		}
		if fd.Kind() == protoreflect.FloatKind {
			return protoreflect.ValueOfFloat32(float32(f)), nil
		}
		return protoreflect.ValueOfFloat64(f), nil
	}
	return integer(fd.Kind(), t)
}

func integer(kind protoreflect.Kind, t erldist.Term) (v protoreflect.Value, err error) {
	n := new(big.Int)
	switch t := t.(type) {
	case int64:
		n.SetInt64(t)
	case *big.Int:
		n = t
	default:
		return v, fmt.Errorf("an integer is wanted, not %s", show(t))
	}
	low, high := int64(math.MinInt64), uint64(math.MaxInt64)
	switch kind {
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		low, high = math.MinInt32, math.MaxInt32
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		low, high = 0, math.MaxUint32
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		low, high = 0, math.MaxUint64
	}
	if n.Cmp(big.NewInt(low)) < 0 || n.Cmp(new(big.Int).SetUint64(high)) > 0 {
		return v, fmt.Errorf("%v is outside %d..%d", n, low, high)
	}
	switch kind {
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		return protoreflect.ValueOfInt32(int32(n.Int64())), nil
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		return protoreflect.ValueOfUint32(uint32(n.Uint64())), nil
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		return protoreflect.ValueOfUint64(n.Uint64()), nil
	}
	return protoreflect.ValueOfInt64(n.Int64()), nil
}

// show is a term for an error text, cut short.
func show(t erldist.Term) string {
	s := erldist.Format(t)
	if len(s) > 60 {
		s = s[:60] + "..."
	}
	return s
}

// answer is a message as a term: a View as what its JSON says, any other as a
// map of the fields that are set.
func answer(m protoreflect.Message) (erldist.Term, error) {
	if m.Descriptor().Name() == "View" {
		return fromJSON(m.Get(m.Descriptor().Fields().ByName("json")).String())
	}
	out := erldist.Map{}
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		fd := fields.Get(i)
		if !m.Has(fd) && (fd.HasPresence() || fd.IsList() || fd.IsMap()) {
			continue
		}
		t, err := fieldTerm(fd, m.Get(fd))
		if err != nil {
			return nil, err
		}
		out = append(out, erldist.Pair{Key: []byte(fd.JSONName()), Value: t})
	}
	return out, nil
}

func fieldTerm(fd protoreflect.FieldDescriptor, v protoreflect.Value) (erldist.Term, error) {
	switch {
	case fd.IsList():
		list := erldist.List{}
		for i := range v.List().Len() {
			t, err := single(fd, v.List().Get(i))
			if err != nil {
				return nil, err
			}
			list = append(list, t)
		}
		return list, nil
	case fd.IsMap():
		entries := map[string]erldist.Term{}
		var failed error
		v.Map().Range(func(k protoreflect.MapKey, v protoreflect.Value) bool {
			entries[k.String()], failed = single(fd.MapValue(), v)
			return failed == nil
		})
		return sorted(entries), failed
	}
	return single(fd, v)
}

func sorted(entries map[string]erldist.Term) erldist.Map {
	m := erldist.Map{}
	for _, k := range slices.Sorted(maps.Keys(entries)) {
		m = append(m, erldist.Pair{Key: []byte(k), Value: entries[k]})
	}
	return m
}

func single(fd protoreflect.FieldDescriptor, v protoreflect.Value) (erldist.Term, error) {
	switch x := v.Interface().(type) {
	case bool:
		if x {
			return atomTrue, nil
		}
		return atomFalse, nil
	case string:
		return []byte(x), nil
	case []byte:
		return x, nil
	case int32:
		return int64(x), nil
	case uint32:
		return int64(x), nil
	case int64:
		return x, nil
	case uint64:
		return unsigned(x), nil
	case float32:
		return number(float64(x)), nil
	case float64:
		return number(x), nil
	case protoreflect.EnumNumber:
		if e := fd.Enum().Values().ByNumber(x); e != nil {
			return []byte(e.Name()), nil
		}
		return int64(x), nil
	case protoreflect.Message:
		return answer(x)
	}
	return nil, fmt.Errorf("field %s has no term", fd.FullName())
}

func unsigned(u uint64) erldist.Term {
	if u > math.MaxInt64 {
		return new(big.Int).SetUint64(u)
	}
	return int64(u)
}

// number: Erlang's floats are finite.
func number(f float64) erldist.Term {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return atomNull
	}
	return f
}

// fromJSON is a JSON text as a term.
func fromJSON(s string) (erldist.Term, error) {
	d := json.NewDecoder(bytes.NewReader([]byte(s)))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, fmt.Errorf("answer of the API: %w", err)
	}
	return jsonTerm(v)
}

func jsonTerm(v any) (erldist.Term, error) {
	switch v := v.(type) {
	case nil:
		return atomNull, nil
	case bool:
		return map[bool]erldist.Atom{true: atomTrue, false: atomFalse}[v], nil
	case string:
		return []byte(v), nil
	case json.Number:
		if n, ok := new(big.Int).SetString(v.String(), 10); ok {
			if n.IsInt64() {
				return n.Int64(), nil
			}
			return n, nil
		}
		f, err := v.Float64()
		return number(f), err
	case []any:
		list := erldist.List{}
		for _, e := range v {
			t, err := jsonTerm(e)
			if err != nil {
				return nil, err
			}
			list = append(list, t)
		}
		return list, nil
	case map[string]any:
		entries := map[string]erldist.Term{}
		for k, e := range v {
			t, err := jsonTerm(e)
			if err != nil {
				return nil, err
			}
			entries[k] = t
		}
		return sorted(entries), nil
	}
	return nil, fmt.Errorf("a JSON value of %T", v)
}
