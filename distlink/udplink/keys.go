package udplink

import (
	"bufio"
	"encoding/hex"
	"fmt"
	"os"
	"strings"

	"tsnswitch/distlink"
)

// ReadKeys reads pre-shared keys: lines of a key id, a blank and the key in
// hexadecimal; # begins a comment. A side that dials uses the first. To change a
// key, add the new one behind the old on every node, then put it first, then
// remove the old.
func ReadKeys(path string) ([]distlink.Key, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("distlink keys: %w", err)
	}
	defer func() { _ = f.Close() }()
	var keys []distlink.Key
	s := bufio.NewScanner(f)
	for n := 1; s.Scan(); n++ {
		line, _, _ := strings.Cut(s.Text(), "#")
		fields := strings.Fields(line)
		if len(fields) == 0 {
			continue
		}
		if len(fields) != 2 {
			return nil, fmt.Errorf("distlink keys %s:%d: want a key id and a key in hexadecimal", path, n)
		}
		secret, err := hex.DecodeString(fields[1])
		if err != nil { // not told: it would print parts of the key
			return nil, fmt.Errorf("distlink keys %s:%d: key %q is not hexadecimal", path, n, fields[0])
		}
		k := distlink.Key{ID: fields[0], Secret: secret}
		if err := k.Valid(); err != nil {
			return nil, fmt.Errorf("distlink keys %s:%d: key %q: %w", path, n, k.ID, err)
		}
		keys = append(keys, k)
	}
	if err := s.Err(); err != nil {
		return nil, fmt.Errorf("distlink keys %s: %w", path, err)
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("distlink keys %s: no key", path)
	}
	return keys, nil
}
