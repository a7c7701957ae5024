package main

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"tsnswitch"
	"tsnswitch/internal/api"
)

// The pictures are files for other programs: they are as last reviewed, and
// the drawing is well-formed.
func TestPictures(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	t.Cleanup(daemon(t, socket))
	file := filepath.Join(t.TempDir(), "fabric.svg")
	var dot, out bytes.Buffer
	if code := run(t.Context(), []string{"--socket", socket, "spb", "topology", "--dot"}, &dot, &dot); code != exitOK {
		t.Fatal(dot.String())
	}
	golden(t, "testdata/golden/topology.dot", dot.String())
	if code := run(t.Context(), []string{"--socket", socket, "spb", "topology", "--svg", file}, &out, &out); code != exitOK || out.Len() > 0 {
		t.Fatal(out.String())
	}
	svg, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "testdata/golden/topology.svg", string(svg))
}

// Whatever the graph and the names, the drawing parses, stays in the picture
// and is the same again.
func TestDrawing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := &api.Topology{Node: "b1"}
		n := rapid.IntRange(0, 12).Draw(t, "bridges")
		for k := range n {
			v.Nodes = append(v.Nodes, api.TopologyNode{
				System: tsn.MAC{2, 0, 0, 0, 0, byte(k)}, Name: rapid.String().Draw(t, "name"), Reachable: rapid.Bool().Draw(t, "reachable"),
			})
		}
		for range rapid.IntRange(0, 2*n).Draw(t, "links") {
			a, b := rapid.IntRange(0, n-1).Draw(t, "a"), rapid.IntRange(0, n-1).Draw(t, "b")
			v.Links = append(v.Links, api.TopologyLink{A: v.Nodes[a].System, B: v.Nodes[b].System, Metric: 1})
		}
		svg := svgText(v)
		if svg != svgText(v) {
			t.Fatal("drawn differently")
		}
		d := xml.NewDecoder(strings.NewReader(svg))
		for {
			tok, err := d.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("%v in\n%s", err, svg)
			}
			if e, ok := tok.(xml.StartElement); ok {
				for _, a := range e.Attr {
					if strings.Contains(a.Value, "NaN") || strings.Contains(a.Value, "Inf") || strings.HasPrefix(a.Value, "-") {
						t.Fatalf("%s=%s in\n%s", a.Name.Local, a.Value, svg)
					}
				}
			}
		}
	})
}

// A ring is drawn as a ring: neighbours are nearer than others.
func TestLayoutOfARing(t *testing.T) {
	var links [][2]int
	const n = 8
	for k := range n {
		links = append(links, [2]int{k, (k + 1) % n})
	}
	at := layout(n, links)
	near := func(a, b int) float64 {
		return (at[a].x-at[b].x)*(at[a].x-at[b].x) + (at[a].y-at[b].y)*(at[a].y-at[b].y)
	}
	for k := range n {
		if near(k, (k+1)%n) >= near(k, (k+4)%n) {
			t.Errorf("%d: its neighbour is as far as the opposite: %v", k, at)
		}
	}
}

// A tree of any depth fits the page.
func TestDeepTree(t *testing.T) {
	v := &api.Tree{Source: tsn.MAC{2}}
	for k := range 200 {
		n := api.TreeNode{System: tsn.MAC{2, 0, 0, 0, 0, byte(k)}, Name: fmt.Sprintf("bridge-%d", k), Hops: k}
		if k > 0 {
			n.Parent, n.ParentPort = v.Nodes[k-1].System, 1
		}
		v.Nodes = append(v.Nodes, n)
	}
	var out bytes.Buffer
	printTree(&page{w: &out}, v)
	fits(t, out.String())
	if n := strings.Count(out.String(), "bridge-"); n != 200 {
		t.Errorf("%d of 200 bridges:\n%s", n, out.String())
	}
}
