package main

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"testing"

	"tsnswitch"
)

// Nothing of the picture lies below its end, however many rows the tables
// have, and it is well-formed whatever the names are.
func TestPictureHoldsEverything(t *testing.T) {
	for rows := range 7 {
		table := &latencyTable{LineRate: 100 * tsn.Mbps}
		for i := range rows {
			r := &latencyRow{Name: fmt.Sprintf("row <%d> & more", i), usage: usage{IdleCPU: float64(i) / 10}}
			r.fill([]int64{900, 1000, 30000})
			table.Rows = append(table.Rows, r)
		}
		gantt := `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1000 300"></svg>`
		height, lowest := extent(t, picture("Lab", gantt, []*latencyTable{table, table}))
		if lowest > height {
			t.Errorf("%d rows: text at %d, height %d", rows, lowest, height)
		}
	}
}

// extent returns the height of a picture and where its lowest text stands.
func extent(t *testing.T, svg string) (height, lowest int) {
	t.Helper()
	attr := func(e xml.StartElement, name string) string {
		for _, a := range e.Attr {
			if a.Name.Local == name {
				return a.Value
			}
		}
		return ""
	}
	var shifts []int
	for d := xml.NewDecoder(strings.NewReader(svg)); ; {
		tok, err := d.Token()
		if errors.Is(err, io.EOF) {
			return height, lowest
		}
		if err != nil {
			t.Fatal(err)
		}
		switch e := tok.(type) {
		case xml.StartElement:
			shift := 0
			if s := attr(e, "transform"); s != "" {
				if _, err := fmt.Sscanf(s, "translate(0,%d)", &shift); err != nil {
					t.Fatalf("transform %q: %v", s, err)
				}
			}
			if len(shifts) > 0 {
				shift += shifts[len(shifts)-1]
			} else if height, err = strconv.Atoi(attr(e, "height")); err != nil {
				t.Fatal(err)
			}
			shifts = append(shifts, shift)
			if e.Name.Local == "text" {
				y, err := strconv.ParseFloat(attr(e, "y"), 64)
				if err != nil {
					t.Fatal(err)
				}
				lowest = max(lowest, shift+int(y))
			}
		case xml.EndElement:
			shifts = shifts[:len(shifts)-1]
		}
	}
}
