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
	// DistlinkKeys is a file of pre-shared keys; DistlinkCertificate (PEM) with
	// its key and the authorities that are trusted is the other kind of security.
	// Without both DistlinkSecurity has to be "none": for a closed network.
	DistlinkKeys        string      `yaml:"distlinkKeys,omitempty"`
	DistlinkCertificate Certificate `yaml:"distlinkCertificate,omitempty"`
	DistlinkSecurity    string      `yaml:"distlinkSecurity,omitempty"`
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
	case e.DistlinkCertificate != (Certificate{}):
		e.DistlinkCertificate.check(d, e.DistlinkSecurity+e.DistlinkKeys)
	case e.Distlink.IsValid() && e.DistlinkKeys == "" && e.DistlinkSecurity == "":
		d.bad("erlang.distlinkKeys", "is missing: a file of keys, or distlinkCertificate, or distlinkSecurity: none on a closed network")
	}
}

// Certificate is the files, in PEM, of who this is and whom it trusts.
type Certificate struct {
	Cert string `yaml:"cert,omitempty"` // and behind it those between it and the authority
	Key  string `yaml:"key,omitempty"`
	CA   string `yaml:"ca,omitempty"`
}

func (c Certificate) check(d *document, others string) {
	const at = "erlang.distlinkCertificate"
	if others != "" {
		d.bad(at, "is given beside distlinkKeys or distlinkSecurity; one of them is wanted")
	}
	if c.Cert == "" || c.Key == "" || c.CA == "" {
		d.bad(at, "cert, key and ca, files in PEM, are all wanted")
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
