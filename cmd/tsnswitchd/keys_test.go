package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"tsnswitch/internal/api"
	"tsnswitch/internal/config"
	"tsnswitch/spb"
)

// siteKey is a key of the site, its secret in a file.
func (s *site) siteKey(t *testing.T, id uint16, a spb.AuthAlgorithm) config.AuthKey {
	t.Helper()
	file := filepath.Join(s.dir, fmt.Sprintf("isis-%d.key", id))
	if err := os.WriteFile(file, fmt.Appendf(nil, "secret of key %d\n", id), 0o600); err != nil {
		t.Fatal(err)
	}
	return config.AuthKey{ID: id, Algorithm: a, SecretFile: file}
}

// testKeys: a new key is rolled in while the bridges run, as the README says: second
// in the list everywhere, then first, then alone. The adjacency stays up, nothing
// fails to authenticate, and at the end every LSP is signed with it. A file that is
// not valid changes nothing, and no log has a secret.
func (s *site) testKeys(t *testing.T) {
	both := []*bridge{s.b1, s.b2}
	up := func() (all []int64) {
		for _, b := range both {
			n, err := b.client.Neighbours(t.Context())
			if err != nil || len(n) != 1 || n[0].State != "Up" {
				t.Fatalf("%s: %+v, %v", b.name, n, err)
			}
			all = append(all, n[0].Up)
		}
		return all
	}
	failed := func() (n uint64) {
		for _, b := range both {
			k, err := b.sum(t.Context(), "spb_drops_auth_")
			if err != nil {
				t.Fatal(err)
			}
			n += k
		}
		return n
	}
	hangUp := func(b *bridge, want string) {
		told := strings.Count(b.log.String(), want)
		if err := b.cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		b.until(t, "takes SIGHUP", func(context.Context) error {
			if strings.Count(b.log.String(), want) == told {
				return fmt.Errorf("no %q", want)
			}
			return nil
		})
	}
	since, begun, fails := up(), time.Now(), failed()
	old, young := s.siteKey(t, 1, spb.HMACSHA256), s.siteKey(t, 2, spb.HMACSHA512)
	for _, keys := range [][]config.AuthKey{{old, young}, {young, old}, {young}} {
		for _, b := range both {
			b.cfg.SPB.Auth.Keys = keys
			b.writeConfig(t, b.conf, b.cfg)
			hangUp(b, fmt.Sprintf("hello=%d lsp=%d", keys[0].ID, keys[0].ID))
		}
	}
	for _, b := range both {
		b.until(t, "holds LSPs with key 2", func(ctx context.Context) error {
			lsps, err := b.client.Database(ctx, api.DatabaseQuery{Detail: true})
			if err == nil && len(lsps) < 2 {
				err = fmt.Errorf("%d LSPs", len(lsps))
			}
			for _, l := range lsps {
				if len(l.Lines) == 0 || l.Lines[0] != "authentication key 2, 64 octets" {
					err = fmt.Errorf("%s says %q", l.ID, l.Lines)
				}
			}
			return err
		})
		write(t, b.conf, "role: teapot\n")
		hangUp(b, "nothing of it is taken")
		b.writeConfig(t, b.conf, b.cfg)
		if text := b.log.String(); strings.Contains(text, "secret of key") {
			t.Errorf("a secret is in the log of %s", b.name)
		}
	}
	now := up()
	for k, b := range both {
		if now[k] < since[k]+time.Since(begun).Nanoseconds()/2 {
			t.Errorf("%s lost its adjacency: up for %v, before %v", b.name, time.Duration(now[k]), time.Duration(since[k]))
		}
	}
	if n := failed(); n != fails {
		t.Errorf("%d PDUs failed to authenticate", n-fails)
	}
	s.b1.settled(t)
	s.b2.settled(t)
}
