package instances

// Drawn by the sets.
var (
	small  = []int{50}
	medium = []int{100, 200, 300, 400, 500}
	large  = []int{200, 300, 400, 500, 600, 700, 800, 900, 1000, 1100, 1200, 1300, 1400, 1500}

	oneSlow   = []int64{2_000_000}
	harmonic  = []int64{500_000, 1_000_000, 2_000_000, 4_000_000}
	fast      = []int64{100_000, 200_000, 400_000, 800_000}
	unlike    = []int64{250_000, 500_000, 1_250_000, 2_500_000, 4_000_000}
	fastMixed = []int64{50_000, 100_000, 250_000, 500_000, 800_000}

	tight = []int64{0, 10_000, 20_000, 25_000, 50_000}
)

// SetA is easy.
func SetA() (out []Spec) {
	sizes := [][2]int{{9, 10}, {9, 40}, {16, 100}, {36, 200}, {64, 500}}
	for i, n := range sizes {
		for k, shape := range Shapes {
			s := Spec{Set: "A", Shape: shape, Bridges: n[0], Streams: n[1], Periods: harmonic, Sizes: medium, Seed: uint64(1 + i)}
			switch k % 3 {
			case 1:
				s.Periods, s.Sizes = oneSlow, large
			case 2:
				s.Sizes = small
			}
			if (shape == Line || shape == Ring || shape == Tree) && n[1] > 100 {
				s.Sizes = small // few links carry most of it
			}
			out = append(out, s)
		}
	}
	return out
}

// SetB is tight: periods of 50 to 800 us, and at most 50 us to wait on the way.
// Sizes, periods and shapes are where a first fit begins to fail; nothing says
// that all of them can be solved.
func SetB() (out []Spec) {
	kind := func(shape Shape, bridges, streams int, periods []int64, sizes []int) {
		for seed := range uint64(2) {
			out = append(out, Spec{
				Set: "B", Shape: shape, Bridges: bridges, Streams: streams, Periods: periods, Sizes: sizes, Slack: tight, Seed: 1 + seed,
			})
		}
	}
	kind(Mesh2D, 9, 10, fastMixed, large)
	kind(Tree, 9, 20, fastMixed, large)
	kind(Ring, 9, 40, fastMixed, large)
	kind(Ring, 16, 40, fastMixed, large)
	kind(Tree, 16, 40, fastMixed, large)
	kind(Line, 16, 40, fast, large)
	kind(Mesh, 16, 60, fastMixed, large)
	kind(Mesh2D, 25, 60, fastMixed, large)
	kind(Line, 25, 60, fastMixed, medium)
	kind(Ring, 36, 80, fast, large)
	kind(Line, 36, 80, fastMixed, medium)
	kind(Mesh, 36, 80, fastMixed, large)
	return out
}

// SetC has a hyperperiod of 20 ms.
func SetC() (out []Spec) {
	sizes := [][2]int{{9, 20}, {16, 60}, {36, 200}}
	for i, n := range sizes {
		for _, shape := range []Shape{Line, Ring, Mesh, Mesh2D} {
			out = append(out, Spec{Set: "C", Shape: shape, Bridges: n[0], Streams: n[1], Periods: unlike, Sizes: medium, Seed: uint64(1 + i)})
		}
	}
	return out
}

// SetX is large.
func SetX() []Spec {
	x := func(shape Shape, bridges, streams int) Spec {
		return Spec{Set: "X", Shape: shape, Bridges: bridges, Streams: streams, Periods: harmonic, Sizes: small, Seed: 1}
	}
	return []Spec{x(Mesh2D, 64, 1000), x(Ring, 64, 1000), x(Mesh2D, 100, 2000), x(Mesh, 100, 5000), x(Mesh2D, 100, 10000)}
}
