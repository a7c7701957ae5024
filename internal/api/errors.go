package api

import (
	"errors"
	"fmt"
	"strings"

	"connectrpc.com/connect"

	"tsnswitch"
	pb "tsnswitch/internal/api/tsnswitchv1"
)

// Error is a call that failed, with a code that scripts may compare.
type Error struct {
	Code string
	Text string // what failed, where, and what to do about it

	// Of a refused stream: why (802.1Q table 35-6), which, and where.
	Failure tsn.FailureCode
	Stream  tsn.StreamID
	Hop     PathHop

	err error // the cause in this process; not sent
}

// The codes, a closed set.
const (
	CodeBadRequest  = "bad-request"  // the call cannot be meant
	CodeRefused     = "refused"      // a stream or schedule was not admitted
	CodeNotFound    = "not-found"    // no such stream, station, port
	CodeUnknownNode = "unknown-node" // no such node in the fabric
	CodeConflict    = "conflict"     // in use, older than what is held, or busy
	CodeWrongOrder  = "wrong-order"  // a call that must come later, or never
	CodeUnsupported = "unsupported"  // this kernel or role lacks it
	CodeUnavailable = "unavailable"  // the daemon or node does not answer
	CodeDenied      = "denied"       // the certificate is another's
	CodeCanceled    = "canceled"     // the caller went away or ran out of time
	CodeInternal    = "internal"
)

func (e *Error) Error() string {
	s := e.Text
	if e.Failure != tsn.FailureNone {
		s += fmt.Sprintf(" (code %d: %s)", uint8(e.Failure), e.Failure)
	}
	return s
}

func (e *Error) Unwrap() error { return e.err }

// Errorf makes an Error; %w keeps a cause.
func Errorf(code, format string, a ...any) *Error {
	err := fmt.Errorf(format, a...)
	return &Error{Code: code, Text: err.Error(), err: errors.Unwrap(err)}
}

// Refuse makes the Error of a stream that was not admitted.
func Refuse(f tsn.FailureCode, id tsn.StreamID, at PathHop, format string, a ...any) *Error {
	return &Error{Code: CodeRefused, Text: fmt.Sprintf(format, a...), Failure: f, Stream: id, Hop: at}
}

// ErrorCode returns the code of an error from this package, else CodeInternal.
func ErrorCode(err error) string {
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return CodeInternal
}

// connectCodes maps to the transport's codes; gRPC clients see these.
var connectCodes = map[string]connect.Code{
	CodeBadRequest:  connect.CodeInvalidArgument,
	CodeRefused:     connect.CodeResourceExhausted,
	CodeNotFound:    connect.CodeNotFound,
	CodeUnknownNode: connect.CodeNotFound,
	CodeConflict:    connect.CodeAborted,
	CodeWrongOrder:  connect.CodeFailedPrecondition,
	CodeUnsupported: connect.CodeUnimplemented,
	CodeUnavailable: connect.CodeUnavailable,
	CodeDenied:      connect.CodePermissionDenied,
	CodeCanceled:    connect.CodeCanceled,
	CodeInternal:    connect.CodeInternal,
}

// toConnect gives err the form that crosses the wire.
func toConnect(err error) error {
	if err == nil {
		return nil
	}
	var e *Error
	if !errors.As(err, &e) {
		code := CodeInternal
		if isCanceled(err) {
			code = CodeCanceled
		}
		e = &Error{Code: code, Text: err.Error()}
	}
	// What wraps the error says where it happened.
	text := err.Error()
	if before, ok := strings.CutSuffix(text, e.Error()); ok {
		text = before + e.Text
	}
	ce := connect.NewError(connectCodes[e.Code], errors.New(text))
	d := &pb.Error{Code: e.Code, Text: text, FailureCode: uint32(e.Failure)}
	if e.Stream != (tsn.StreamID{}) {
		d.StreamId = e.Stream.String()
	}
	if e.Hop != (PathHop{}) {
		d.Hop = hopToPB(e.Hop)
	}
	if detail, err := connect.NewErrorDetail(d); err == nil {
		ce.AddDetail(detail)
	}
	return ce
}

// fromConnect is the inverse; where names the daemon for errors that did not
// come from it.
func fromConnect(err error, where string) error {
	if err == nil {
		return nil
	}
	var ce *connect.Error
	if !errors.As(err, &ce) {
		return err
	}
	for _, d := range ce.Details() {
		if m, err := d.Value(); err == nil {
			if p, ok := m.(*pb.Error); ok {
				return errorFromPB(p)
			}
		}
	}
	switch ce.Code() {
	case connect.CodeUnavailable:
		return &Error{Code: CodeUnavailable, Text: where + " does not answer: " + ce.Message(), err: ce}
	case connect.CodeCanceled, connect.CodeDeadlineExceeded:
		return &Error{Code: CodeCanceled, Text: where + ": " + ce.Message(), err: ce}
	case connect.CodeInvalidArgument:
		return &Error{Code: CodeBadRequest, Text: where + ": " + ce.Message(), err: ce}
	case connect.CodeUnimplemented:
		return &Error{Code: CodeUnsupported, Text: where + ": " + ce.Message(), err: ce}
	}
	return &Error{Code: CodeInternal, Text: where + ": " + ce.Message(), err: ce}
}

func errorFromPB(p *pb.Error) *Error {
	e := &Error{Code: p.Code, Text: p.Text, Failure: tsn.FailureCode(min(p.FailureCode, 255))}
	if _, known := connectCodes[e.Code]; !known {
		e.Code = CodeInternal // a newer daemon's code
	}
	if p.StreamId != "" {
		e.Stream, _ = tsn.ParseStreamID(p.StreamId)
	}
	if p.Hop != nil {
		var d decoder
		e.Hop = d.hop(p.Hop)
	}
	return e
}
