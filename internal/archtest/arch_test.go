// Package archtest enforces the import picture of the project: protocol cores
// know neither the kernel nor each other, and an arrow that is not drawn here
// is forbidden. It is a test only; it has no code to import.
//
//	cmd, lab ──> internal/{daemon,config,api,...}   internal/sim ──> node, dataplane/fake
//	               │                                       │
//	               ├──> internal/{dataplane,link,record} ─>│  netlink, AF_PACKET, files, clocks
//	               └──> internal/node <── nodeconfig ──────┘
//	                        │
//	           spb   gptp   qbv   srp   distlink     no net, os, sync, log, time.Now, go
//	            │      │
//	        isispdu  ptpmsg                          bytes <-> structs (ctlframe too)
//	            └──────┴── root package              standard library only
package archtest

import (
	"bytes"
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "tsnswitch"

// may says what each package may import of this module, by path below it;
// "" is the root package. A package that is not listed fails the test, so a
// new folder is placed in the picture on purpose.
var may = map[string][]string{
	"":                  {},
	"spb/isispdu":       {""},
	"spb/ctlframe":      {""},
	"spb":               {"", "spb/isispdu", "spb/ctlframe"},
	"gptp/ptpmsg":       {""},
	"gptp":              {"", "gptp/ptpmsg"},
	"qbv":               {""},
	"qbv/schedule":      {""},
	"qbv/gantt":         {""},
	"qbv/gatelist":      {"", "qbv/schedule"},
	"qbv/cqf":           {"", "qbv/schedule", "qbv/gatelist"},
	"qbv/srbound":       {""},
	"qbv/format":        {"", "qbv/schedule"},
	"qbv/instances":     {"", "qbv/schedule"},
	"qbv/schedtest":     {"", "qbv/schedule"},
	"qbv/verify":        {"", "qbv/schedule"},
	"qbv/synth":         {"", "qbv/schedule", "qbv/instances", "qbv/gatelist", "qbv/verify", "qbv/schedtest"},
	"qbv/framesim":      {"", "qbv/schedule"},
	"internal/pathplan": {"", "qbv/schedule", "qbv/synth", "qbv/gatelist", "qbv/verify", "qbv/framesim"},
	"srp":               {"", "srp/mrp"},
	"srp/mrp":           {""},
	"distlink":          {""},
	"distlink/udplink":  {"", "distlink", "distlink/erldist", "internal/txtime"},
	"distlink/erldist":  {"", "distlink", "distlink/udplink"},
	"distlink/hidden":   {"distlink", "distlink/erldist", "distlink/udplink", "distlink/beamtest"},
	"distlink/beamtest": {},
	"erlang":            {"", "distlink", "distlink/udplink", "distlink/erldist"},
	"internal/archtest": {},

	"internal/node": {"", "spb", "gptp", "qbv", "srp", "srp/mrp"},

	"internal/dataplane":      {""},
	"internal/dataplane/fake": {"", "internal/dataplane"},
	"internal/link":           {""},
	"internal/txtime":         {""},
	"internal/avbstation":     {"", "srp/mrp"},
	"internal/ndproxy":        {""},
	"internal/plot":           {},
	"internal/record":         {""},
	"internal/config":         {"", "spb", "gptp", "qbv", "qbv/schedule", "srp", "srp/mrp"},

	"internal/api":                                {"", "internal/api/tsnswitchv1", "internal/api/tsnswitchv1/tsnswitchv1connect"},
	"internal/erlnode":                            {"distlink/erldist", "distlink/hidden", "distlink/udplink", "distlink/beamtest", "internal/api", "internal/api/apitest"},
	"internal/api/apitest":                        {"", "internal/api"},
	"internal/api/tsnswitchv1":                    {},
	"internal/api/tsnswitchv1/tsnswitchv1connect": {"internal/api/tsnswitchv1"},

	"internal/gptplog": {"", "gptp", "internal/api", "internal/api/tsnswitchv1", "internal/api/tsnswitchv1/tsnswitchv1connect", "internal/record"},

	"internal/nodeconfig": {"", "spb", "gptp", "qbv", "srp", "internal/node", "internal/config"},

	"internal/sim": {
		"", "spb", "spb/ctlframe", "gptp", "qbv", "srp", "internal/node", "internal/nodeconfig",
		"internal/dataplane", "internal/dataplane/fake", "internal/config",
	},
	"internal/sim/spbsim": {"", "spb", "spb/isispdu", "internal/dataplane", "internal/dataplane/fake"},
	"internal/sim/srpsim": {"", "srp", "srp/mrp"},
	"internal/daemon": {
		"", "spb", "gptp", "qbv", "qbv/schedule", "qbv/format", "qbv/synth", "internal/pathplan", "srp", "srp/mrp", "internal/node", "internal/nodeconfig", "internal/dataplane", "internal/link",
		"internal/record", "internal/gptplog", "internal/ndproxy", "internal/config", "internal/erlnode", "distlink", "distlink/hidden", "distlink/udplink", "internal/api", "internal/api/tsnswitchv1", "internal/api/tsnswitchv1/tsnswitchv1connect",
	},

	"internal/chart": {"", "qbv/gantt", "qbv/gatelist", "qbv/schedule", "qbv/verify", "internal/api", "internal/api/tsnswitchv1", "internal/api/tsnswitchv1/tsnswitchv1connect"},

	"internal/gptptest":  {},
	"internal/srptest":   {"internal/avbstation"},
	"internal/distbench": {"distlink/beamtest"},
	"internal/qbvbench":  {"", "qbv/schedule", "qbv/format", "qbv/instances", "qbv/synth", "qbv/verify"},

	"internal/kerneltest":        {"", "internal/kerneltest/uml"},
	"internal/kerneltest/uml":    {"internal/kerneltest/kernel"},
	"internal/kerneltest/kernel": {},
	"internal/kerneltest/umlrun": {"internal/kerneltest/uml"},

	"cmd/tsnswitchd": {"", "distlink/beamtest", "distlink/erldist", "distlink/hidden", "distlink/udplink", "internal/config", "internal/daemon"},
	"cmd/tsnctl": {
		"", "spb", "gptp", "qbv", "qbv/schedule", "qbv/format", "qbv/synth", "qbv/gatelist", "qbv/cqf", "qbv/verify", "qbv/framesim", "qbv/gantt", "srp", "internal/config", "internal/nodeconfig", "internal/node", "internal/record", "internal/gptplog", "internal/plot", "internal/chart",
		"internal/api", "internal/api/tsnswitchv1", "internal/api/tsnswitchv1/tsnswitchv1connect",
	},
	"lab/avbstation": {"", "srp/mrp", "internal/avbstation"},
	"lab/twokernels": {"", "internal/api", "internal/config", "internal/kerneltest/uml"},
	"lab/demo": {
		"", "distlink/beamtest", "gptp/ptpmsg", "qbv/gantt", "internal/chart", "internal/config", "internal/api", "internal/kerneltest", "internal/kerneltest/uml",
		"internal/api/tsnswitchv1", "internal/api/tsnswitchv1/tsnswitchv1connect",
	},
}

// cores may use only these parts of the standard library's risky corners: none.
var cores = []string{
	"", "spb", "spb/isispdu", "spb/ctlframe", "gptp", "gptp/ptpmsg", "qbv",
	"qbv/schedule",
	"qbv/gantt",
	"qbv/format",
	"qbv/gatelist",
	"qbv/cqf",
	"qbv/srbound",
	"qbv/instances",
	"qbv/verify",
	"qbv/synth", "srp", "srp/mrp", "distlink", "internal/node",
	"qbv/framesim",
	"internal/pathplan",
	"srp", "distlink", "internal/node",
}

// forbidden in a core, with the reason a reader is told.
var forbidden = map[string]string{
	"net":          "a core opens no socket (net/netip is fine)",
	"net/http":     "a core opens no socket",
	"os":           "a core touches no file or process",
	"os/exec":      "a core starts no process",
	"sync":         "a core has one caller at a time",
	"sync/atomic":  "a core has one caller at a time",
	"context":      "a core is not cancelled, it is no longer stepped",
	"log":          "a core logs nothing, it returns tsn.Notice",
	"log/slog":     "a core logs nothing, it returns tsn.Notice",
	"math/rand":    "randomness comes from a seed: math/rand/v2 with an explicit source",
	"crypto/rand":  "randomness comes from a seed: math/rand/v2 with an explicit source",
	"time":         "a core is given the time; durations are int64 ns",
	"runtime":      "a core does not know its process",
	"syscall":      "a core does not know the kernel",
	"unsafe":       "a core needs no unsafe",
	"reflect":      "a core needs no reflection",
	"plugin":       "a core loads nothing",
	"testing":      "production code does not import testing",
	"embed":        "a core reads no file",
	"database/sql": "a core touches no file or process",
}

type pkg struct {
	ImportPath   string
	Dir          string
	GoFiles      []string
	Imports      []string
	TestImports  []string
	XTestImports []string
}

func list(t *testing.T) []pkg {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Dir,GoFiles,Imports,TestImports,XTestImports", module+"/...")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.String())
	}
	var pkgs []pkg
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return pkgs
		} else if err != nil {
			t.Fatal(err)
		}
		pkgs = append(pkgs, p)
	}
}

// rel turns an import path into the form used in the tables, and says whether
// it is of this module.
func rel(path string) (string, bool) {
	if path == module {
		return "", true
	}
	return strings.CutPrefix(path, module+"/")
}

func TestImportPicture(t *testing.T) {
	for _, p := range list(t) {
		name, _ := rel(p.ImportPath)
		allowed, known := may[name]
		if !known {
			t.Errorf("%s is not in the import picture: add it to the table in internal/archtest", p.ImportPath)
			continue
		}
		for _, imp := range p.Imports {
			if dep, ours := rel(imp); ours && !slices.Contains(allowed, dep) {
				t.Errorf("%s imports %s: not an arrow of the picture", p.ImportPath, imp)
			}
		}
		if !slices.Contains(cores, name) {
			continue
		}
		for _, imp := range p.Imports {
			if why, bad := forbidden[imp]; bad {
				t.Errorf("core %s imports %s: %s", p.ImportPath, imp, why)
			}
			if _, ours := rel(imp); !ours && strings.Contains(strings.Split(imp, "/")[0], ".") {
				t.Errorf("core %s imports %s: cores use the standard library only", p.ImportPath, imp)
			}
		}
	}
}

// testOnlyUsers are programs that may use a test package: the lab boots its
// guests with what the kernel tests use.
var testOnlyUsers = map[string][]string{
	"internal/kerneltest": {"lab/demo"},
}

// TestTestPackages keeps packages named ...test out of what is installed.
func TestTestPackages(t *testing.T) {
	for _, p := range list(t) {
		name, _ := rel(p.ImportPath)
		if strings.HasSuffix(name, "test") {
			continue // one may build on another
		}
		for _, imp := range p.Imports {
			dep, ours := rel(imp)
			if ours && strings.HasSuffix(dep, "test") && !slices.Contains(testOnlyUsers[dep], name) {
				t.Errorf("%s imports %s, which is for tests only", p.ImportPath, imp)
			}
		}
	}
}

// TestTableIsTrue finds lines of the table whose package is gone.
func TestTableIsTrue(t *testing.T) {
	var have []string
	for _, p := range list(t) {
		name, _ := rel(p.ImportPath)
		have = append(have, name)
	}
	for name := range may {
		if !slices.Contains(have, name) {
			t.Errorf("%q is in the import picture and not in the module", name)
		}
	}
}

// TestCoresStartNoGoroutine looks for go statements, channels and select.
func TestCoresStartNoGoroutine(t *testing.T) {
	fset := token.NewFileSet()
	for _, p := range list(t) {
		name, _ := rel(p.ImportPath)
		if !slices.Contains(cores, name) {
			continue
		}
		for _, file := range p.GoFiles {
			f, err := parser.ParseFile(fset, filepath.Join(p.Dir, file), nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(f, func(n ast.Node) bool {
				switch n.(type) {
				case *ast.GoStmt, *ast.SelectStmt, *ast.ChanType, *ast.SendStmt:
					t.Errorf("%s: a core has no goroutines and no channels", fset.Position(n.Pos()))
				}
				return true
			})
		}
	}
}

// TestCoresDoNotKnowEachOther guards the table itself.
func TestCoresDoNotKnowEachOther(t *testing.T) {
	five := []string{"spb", "gptp", "qbv", "srp", "distlink"}
	for _, a := range five {
		for _, b := range five {
			if a != b && slices.Contains(may[a], b) {
				t.Errorf("the picture lets core %s import core %s", a, b)
			}
		}
	}
}

// TestTheVerifierIsIndependent: who checks and who plays a schedule shares nothing
// but its vocabulary with who makes it, nor with each other.
func TestTheVerifierIsIndependent(t *testing.T) {
	checkers := []string{"qbv/verify", "qbv/framesim"}
	for _, p := range list(t) {
		name, _ := rel(p.ImportPath)
		for _, imp := range p.Imports {
			dep, ours := rel(imp)
			switch {
			case ours && slices.Contains(checkers, name) && dep != "" && dep != "qbv/schedule":
				t.Errorf("%s imports %s", name, dep)
			case slices.Contains(checkers, dep) && strings.HasPrefix(name, "qbv"):
				t.Errorf("%s imports %s: schedulers do not check themselves", name, dep)
			}
		}
	}
}
