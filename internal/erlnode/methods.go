package erlnode

import (
	"slices"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// snake turns GetGPTPHistory into get_gptp_history.
func snake(s string) string {
	var b strings.Builder
	upper := func(i int) bool { return i >= 0 && i < len(s) && s[i] >= 'A' && s[i] <= 'Z' }
	for i := range len(s) {
		if upper(i) && i > 0 && (!upper(i-1) || i+1 < len(s) && !upper(i+1)) {
			b.WriteByte('_')
		}
		b.WriteString(strings.ToLower(s[i : i+1]))
	}
	return b.String()
}

func snakeName(m protoreflect.MethodDescriptor) string { return snake(string(m.Name())) }

// tells are the first words of methods that change nothing.
var tells = []string{"get", "list", "find", "watch", "why", "doctor", "diff", "plan", "ping", "trace", "explain"}

func changes(m protoreflect.MethodDescriptor) bool {
	first, _, _ := strings.Cut(snakeName(m), "_")
	return !slices.Contains(tells, first)
}

// endless methods stream until somebody stops them.
func endless(m protoreflect.MethodDescriptor) bool {
	return strings.HasPrefix(string(m.Name()), "Watch")
}
