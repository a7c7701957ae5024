package config

import (
	"strings"
)

// Erlang makes the daemon a hidden Erlang node; without a name it is none.
type Erlang struct {
	Name       string `yaml:"name,omitempty"` // name@host
	CookieFile string `yaml:"cookieFile,omitempty"`
	// Cookie is what the file holds; ParseDaemon leaves it empty.
	Cookie Secret `yaml:"-"`
	// Distlink (UDP) and TCP are where nodes connect to, by either carrier.
	Distlink AddrPort `yaml:"distlink,omitempty"`
	TCP      AddrPort `yaml:"tcp,omitempty"`
	// DistlinkKeys is a file of pre-shared keys; without it DistlinkSecurity
	// has to be "none": for a closed network.
	DistlinkKeys     string `yaml:"distlinkKeys,omitempty"`
	DistlinkSecurity string `yaml:"distlinkSecurity,omitempty"`
	// EPMD is the port mapper to tell; of both carriers it is told Distlink's
	// port. Without it nodes have to know the port (-erl_epmd_port).
	EPMD AddrPort `yaml:"epmd,omitempty"`
	// Write allows calls that change something.
	Write bool `yaml:"write,omitempty"`
}

func (e Erlang) check(d *document) {
	if e.Name == "" {
		if e != (Erlang{}) {
			d.bad("erlang.name", "is missing; a node name like tsnswitchd@10.255.0.1")
		}
		return
	}
	if name, host, ok := strings.Cut(e.Name, "@"); !ok || name == "" || host == "" || len(e.Name) > 255 || strings.ContainsAny(e.Name, " '\"") {
		d.bad("erlang.name", "%q is no node name like tsnswitchd@10.255.0.1", e.Name)
	}
	if e.CookieFile == "" {
		d.bad("erlang.cookieFile", "is missing: nodes prove that they know the cookie")
	}
	if !e.Distlink.IsValid() && !e.TCP.IsValid() {
		d.bad("erlang", "nodes can connect nowhere; give distlink or tcp, an address and port")
	}
	switch {
	case e.DistlinkSecurity != "" && e.DistlinkSecurity != "none":
		d.bad("erlang.distlinkSecurity", "%q is not none", e.DistlinkSecurity)
	case e.DistlinkSecurity != "" && e.DistlinkKeys != "":
		d.bad("erlang.distlinkKeys", "with distlinkSecurity: none there are no keys")
	case e.Distlink.IsValid() && e.DistlinkKeys == "" && e.DistlinkSecurity == "":
		d.bad("erlang.distlinkKeys", "is missing: a file of keys, or distlinkSecurity: none on a closed network")
	}
}

func (e *Erlang) readSecrets(d *document) {
	if e.CookieFile == "" {
		return
	}
	cookie, err := readSecret(e.CookieFile)
	if err != nil {
		d.bad("erlang.cookieFile", "%v", err)
	}
	e.Cookie = cookie
}
