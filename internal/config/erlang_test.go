package config

import (
	"strings"
	"testing"
)

// Exactly one kind of security is given, and all of it.
func TestErlangSecurity(t *testing.T) {
	for text, want := range map[string]string{
		"":                       "erlang.distlinkKeys: is missing",
		"distlinkKeys: f":        "",
		"distlinkSecurity: none": "",
		"distlinkCertificate: {cert: a, key: b, ca: c}":                         "",
		"distlinkSecurity: some":                                                "\"some\" is not none",
		"distlinkKeys: f, distlinkSecurity: none":                               "there are no keys",
		"distlinkCertificate: {cert: a, key: b}":                                "are all wanted",
		"distlinkKeys: f, distlinkCertificate: {cert: a, key: b, ca: c}":        "one of them is wanted",
		"distlinkSecurity: none, distlinkCertificate: {cert: a, key: b, ca: c}": "one of them is wanted",
	} {
		doc := strings.TrimSuffix(minimal, "\n") + "\nerlang: {name: n@h, cookieFile: c, distlink: \"127.0.0.1:1\", " + text + "}\n"
		_, err := ParseDaemon("d", []byte(doc))
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v", text, err)
		}
	}
}
