package uml

import (
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// modules are what a switch and its tests may use, of which a distribution's kernel
// has most as modules. A kernel does not always ask for a missing one (cls_matchall
// is an example), and there may be no modprobe to ask.
var modules = strings.Fields(`
	af_packet af_packet_diag unix tun veth dummy ifb macvlan netdevsim
	8021q bridge hsr
	sch_taprio sch_cbs sch_etf sch_mqprio sch_prio sch_tbf sch_ets sch_ingress sch_multiq
	sch_fq sch_fq_codel sch_netem
	cls_flower cls_matchall cls_u32 cls_basic cls_bpf
	act_mirred act_skbedit act_gact act_police act_vlan act_gate act_pedit act_bpf
	ptp ptp_mock
`)

// insertModules inserts what the running kernel has of modules, with what they
// depend on. A kernel without modules has all it will ever have built in.
func insertModules() {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return
	}
	dir := filepath.Join("/usr/lib/uml/modules", unix.ByteSliceToString(u.Release[:]))
	text, err := os.ReadFile(filepath.Join(dir, "modules.dep"))
	if err != nil {
		return
	}
	deps := parseDeps(string(text))
	done := map[string]bool{}
	var insert func(name string)
	insert = func(name string) {
		d, ok := deps[name]
		if !ok || done[name] {
			return
		}
		done[name] = true
		for _, need := range d.needs {
			insert(need)
		}
		insertFile(filepath.Join(dir, d.path))
	}
	for _, m := range modules {
		insert(m)
	}
}

type module struct {
	path  string // relative to the folder of modules.dep
	needs []string
}

// parseDeps reads modules.dep: "path.ko: path.ko path.ko" by module name.
func parseDeps(text string) map[string]module {
	deps := map[string]module{}
	for line := range strings.Lines(text) {
		path, rest, ok := strings.Cut(line, ":")
		if !ok {
			continue
		}
		m := module{path: path}
		for _, p := range strings.Fields(rest) {
			m.needs = append(m.needs, moduleName(p))
		}
		deps[moduleName(path)] = m
	}
	return deps
}

// moduleName is the file name without .ko or .ko.xz, in which - and _ are the same.
func moduleName(path string) string {
	name, _, _ := strings.Cut(filepath.Base(path), ".")
	return strings.ReplaceAll(name, "-", "_")
}

// insertFile inserts one module. A failure is left to show where it is missed: the
// probe or the test that needs the feature names it better.
func insertFile(path string) {
	f, err := os.Open(path)
	if err != nil {
		return
	}
	defer f.Close()
	flags := 0
	if filepath.Ext(path) != ".ko" {
		flags = unix.MODULE_INIT_COMPRESSED_FILE
	}
	_ = unix.FinitModule(int(f.Fd()), "", flags)
}
