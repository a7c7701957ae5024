package plot

import (
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"io"
	"math"
	"strconv"

	"golang.org/x/image/font"
	"golang.org/x/image/font/basicfont"
	"golang.org/x/image/math/fixed"
	"golang.org/x/image/vector"
)

// PNG writes the chart as an image.
func (c *Chart) PNG(w io.Writer) error {
	s := &pngCanvas{img: image.NewRGBA(image.Rect(0, 0, width, c.height()))}
	c.draw(s)
	return png.Encode(w, s.img)
}

type pngCanvas struct {
	img *image.RGBA
	pen vector.Rasterizer
}

// uniform makes a colour of #rrggbb.
func uniform(colour string) *image.Uniform {
	v, _ := strconv.ParseUint(colour[1:], 16, 32)
	return image.NewUniform(color.RGBA{uint8(v >> 16), uint8(v >> 8), uint8(v), 255})
}

func (s *pngCanvas) rect(x, y, w, h float64, colour string) {
	r := image.Rect(int(math.Round(x)), int(math.Round(y)), int(math.Round(x+w)), int(math.Round(y+h)))
	draw.Draw(s.img, r, uniform(colour), image.Point{}, draw.Src)
}

func (s *pngCanvas) line(a, b xy, width float64, colour string) {
	s.polyline([]xy{a, b}, width, colour)
}

// polyline fills a quadrilateral for each piece, within its own bounds: most
// pieces are small, and the rasterizer takes time for its whole area.
func (s *pngCanvas) polyline(pts []xy, width float64, colour string) {
	src := uniform(colour)
	for k := range len(pts) - 1 {
		a, b := pts[k], pts[k+1]
		dx, dy := b.x-a.x, b.y-a.y
		d := math.Hypot(dx, dy)
		if d == 0 {
			continue
		}
		ux, uy := dx/d*width/2, dy/d*width/2
		r := image.Rect(int(min(a.x, b.x)-2), int(min(a.y, b.y)-2), int(max(a.x, b.x)+3), int(max(a.y, b.y)+3))
		o := xy{float64(r.Min.X), float64(r.Min.Y)}
		s.pen.Reset(r.Dx(), r.Dy())
		to := func(move func(x, y float32), p xy, sideX, sideY float64) {
			move(float32(p.x-o.x+sideX), float32(p.y-o.y+sideY))
		}
		to(s.pen.MoveTo, a, -ux-uy, -uy+ux)
		to(s.pen.LineTo, b, ux-uy, uy+ux)
		to(s.pen.LineTo, b, ux+uy, uy-ux)
		to(s.pen.LineTo, a, -ux+uy, -uy-ux)
		s.pen.ClosePath()
		s.pen.Draw(s.img, r, src, image.Point{})
	}
}

func (s *pngCanvas) text(x, y float64, anchor int, colour, text string) {
	d := font.Drawer{Dst: s.img, Src: uniform(colour), Face: basicfont.Face7x13}
	x -= float64(d.MeasureString(text).Round()) * float64(anchor+1) / 2
	d.Dot = fixed.P(int(math.Round(x)), int(math.Round(y)))
	d.DrawString(text)
}
