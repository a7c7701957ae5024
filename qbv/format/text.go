package format

import "fmt"

// MaxOctets bounds a file: more than the largest problem needs.
const MaxOctets = 1 << 28

// Error is what is wrong with a file, and where.
type Error struct {
	File   string
	Line   int // 0: the file as a whole
	Reason string
	// Mismatch: the file is well-formed, but does not fit the problem.
	Mismatch bool
}

func (e *Error) Error() string {
	if e.Line == 0 {
		return e.File + ": " + e.Reason
	}
	return fmt.Sprintf("%s:%d: %s", e.File, e.Line, e.Reason)
}

func tooLong(file string, data []byte) error {
	if len(data) <= MaxOctets {
		return nil
	}
	return &Error{File: file, Reason: fmt.Sprintf("is %d octets long, at most %d are read", len(data), MaxOctets)}
}
