package main

import (
	"net"
	"os"
)

// notifyReady tells systemd, if it asked, that calls are answered (sd_notify).
func notifyReady() {
	name := os.Getenv("NOTIFY_SOCKET")
	if name == "" {
		return
	}
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		return // who started us is not listening
	}
	defer c.Close()
	_, _ = c.Write([]byte("READY=1"))
}
