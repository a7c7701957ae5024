package daemon

import (
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tsnswitch/gptp"
	"tsnswitch/internal/link"
	"tsnswitch/spb"
	"tsnswitch/srp"
)

func TestSnake(t *testing.T) {
	for in, want := range map[string]string{
		"DroppedQueue": "dropped_queue", "SPFRuns": "spf_runs", "LSPs": "ls_ps", "Rx": "rx", "BadLSPChecksum": "bad_lsp_checksum",
		"TLV240": "tlv240", "A": "a", "": "",
	} {
		if got := snake(in); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}

func TestFlatten(t *testing.T) {
	type inner struct{ Bad, Good uint64 }
	got := flatten("x", struct {
		Z       uint64
		Drops   inner
		ByCode  [2]uint64
		Name    string
		Port    uint16
		private uint64
	}{Z: 1, Drops: inner{2, 3}, ByCode: [2]uint64{0, 4}, private: 9})
	want := []flat{{"x_by_code_0", 0}, {"x_by_code_1", 4}, {"x_drops_bad", 2}, {"x_drops_good", 3}, {"x_z", 1}}
	if d := cmp.Diff(want, got, cmp.AllowUnexported(flat{})); d != "" {
		t.Error(d)
	}
}

// No core counts in a way that flatten does not see.
func TestFlattenSeesAll(t *testing.T) {
	// Link's counters say which socket they are of.
	labels := map[string]bool{"Port": true, "Protocol": true}
	for _, v := range []any{spb.Counters{}, srp.Counters{}, gptp.Counters{}, link.Counters{}} {
		leaves := 0
		var walk func(path string, typ reflect.Type)
		walk = func(path string, typ reflect.Type) {
			switch typ.Kind() {
			case reflect.Uint64:
				leaves++
			case reflect.Struct:
				for i := range typ.NumField() {
					if f := typ.Field(i); !labels[f.Name] {
						walk(path+"."+f.Name, f.Type)
					}
				}
			case reflect.Array:
				before := leaves
				walk(path+"[]", typ.Elem())
				leaves = before + (leaves-before)*typ.Len()
			default:
				t.Errorf("%s is a %s: it would be in no status and no metric", path, typ)
			}
		}
		walk(reflect.TypeOf(v).String(), reflect.TypeOf(v))
		names := map[string]bool{}
		for _, f := range flatten("x", v) {
			names[f.name] = true
		}
		if len(names) != leaves || leaves == 0 {
			t.Errorf("%T: %d names for %d counters", v, len(names), leaves)
		}
	}
}
