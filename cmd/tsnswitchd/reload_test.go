package main

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

const reloadDoc = `role: bridge
name: b1
systemId: 02:00:00:00:00:01
ports:
  - {port: 1, ifname: p1, role: fabric}
spb: {baseVids: [{vid: 100}], auth: {keys: [{id: 7, secret: a}]}}
`

// SIGHUP brings the file read again; one that is not valid is logged and
// brings nothing.
func TestReload(t *testing.T) {
	file := filepath.Join(t.TempDir(), "d.yaml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	logged := make(chan string, 8)
	c := reload(ctx, file, slog.New(slog.NewTextHandler(writerFunc(func(b []byte) { logged <- string(bytes.Clone(b)) }), nil)))
	write(reloadDoc)
	select {
	case got := <-c:
		if got.SPB.Auth.Keys[0].ID != 7 {
			t.Errorf("key %d", got.SPB.Auth.Keys[0].ID)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("nothing came")
	}
	write("role: teapot\n")
	select {
	case line := <-logged:
		if !strings.Contains(line, "not valid") {
			t.Error(line)
		}
	case <-c:
		t.Error("a configuration that is not valid was taken")
	case <-time.After(10 * time.Second):
		t.Fatal("nothing was logged")
	}
}

type writerFunc func([]byte)

func (f writerFunc) Write(b []byte) (int, error) { f(b); return len(b), nil }
