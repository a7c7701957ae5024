package main

import (
	"fmt"
	"os"
	"strings"
)

// cpuTimes are the jiffies of /proc/stat's first line.
type cpuTimes struct{ idle, total uint64 }

func readCPU() (cpuTimes, error) {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return cpuTimes{}, err
	}
	line, _, _ := strings.Cut(string(b), "\n")
	var c cpuTimes
	for i, f := range strings.Fields(line)[1:] {
		var v uint64
		if _, err := fmt.Sscan(f, &v); err != nil {
			return cpuTimes{}, fmt.Errorf("/proc/stat: %q: %w", f, err)
		}
		if i == 3 || i == 4 { // idle, iowait
			c.idle += v
		}
		if i < 8 { // guest time is already in user time
			c.total += v
		}
	}
	return c, nil
}

// idleSince is the share of CPU time nobody used since c, 0..1.
func (c cpuTimes) idleSince() (float64, error) {
	now, err := readCPU()
	if err != nil || now.total == c.total {
		return 0, err
	}
	return float64(now.idle-c.idle) / float64(now.total-c.total), nil
}
