package dataplane

import (
	"slices"
	"testing"

	"golang.org/x/net/bpf"
	"pgregory.net/rapid"

	tsn "tsnswitch"
)

func drawKept(t *rapid.T) (out []tsn.ControlFrames) {
	for range rapid.IntRange(1, 4).Draw(t, "kinds") {
		f := tsn.ControlFrames{Group: tsn.MAC{1, 0x80, 0xc2, 0, rapid.Byte().Draw(t, "octet"), rapid.Byte().Draw(t, "octet")}}
		if rapid.Bool().Draw(t, "typed") {
			f.EtherType = rapid.SampledFrom([]uint16{0x22ea, 0x88f5, 0x88f6}).Draw(t, "type")
		}
		out = append(out, f)
	}
	slices.SortFunc(out, tsn.CompareControlFrames)
	return slices.Compact(out)
}

// The program drops the frames of its list and hands all others on.
func TestKeepBackProgram(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		list := drawKept(rt)
		var raw []bpf.RawInstruction
		for _, i := range keepBackProgram(list) {
			raw = append(raw, bpf.RawInstruction{Op: i.code, Jt: i.jt, Jf: i.jf, K: i.k})
		}
		program, ok := bpf.Disassemble(raw)
		if !ok {
			rt.Fatal("an instruction that there is not")
		}
		vm, err := bpf.NewVM(program)
		if err != nil {
			rt.Fatal(err)
		}
		f := rapid.SampledFrom(append(drawKept(rt), list...)).Draw(rt, "frame")
		frame := append(f.Group[:], make([]byte, 54)...)
		frame[12], frame[13] = byte(f.EtherType>>8), byte(f.EtherType)
		kept := slices.ContainsFunc(list, func(k tsn.ControlFrames) bool {
			return k.Group == f.Group && (k.EtherType == 0 || k.EtherType == f.EtherType)
		})
		v, err := vm.Run(frame)
		if err != nil || (int32(v) == verdictShot) != kept || !kept && int32(v) != verdictNext {
			rt.Fatalf("%v of %v: %d, %v", f, list, int32(v), err)
		}
	})
}

// A program is read as it was written; any other is known as such.
func TestKeptBackBy(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		list := drawKept(rt)
		p := keepBackProgram(list)
		if got, ok := keptBackBy(p); !ok || !slices.Equal(got, list) {
			rt.Fatalf("%v, %t; want %v", got, ok, list)
		}
		at := rapid.IntRange(0, len(p)-1).Draw(rt, "at")
		switch rapid.IntRange(0, 2).Draw(rt, "how") {
		case 0:
			p = p[:at]
		case 1:
			p[at].jf++
		case 2:
			p[at].code ^= 1 << rapid.IntRange(0, 15).Draw(rt, "bit")
		}
		if got, ok := keptBackBy(p); ok && slices.Equal(got, list) {
			rt.Fatalf("%v of a spoilt program", got)
		}
	})
}
