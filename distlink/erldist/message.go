package erldist

// Control message tags (ERTS user's guide, "Protocol between Connected Nodes").
// The PAYLOAD ones carry the reason behind the control message instead of in it.
const (
	OpLink                = 1
	OpSend                = 2
	OpExit                = 3
	OpRegSend             = 6
	OpGroupLeader         = 7
	OpExit2               = 8
	OpMonitorP            = 19
	OpDemonitorP          = 20
	OpMonitorPExit        = 21
	OpSendSender          = 22
	OpPayloadExit         = 24
	OpPayloadExit2        = 26
	OpPayloadMonitorPExit = 28
	OpSpawnRequest        = 29
	OpSpawnReply          = 31
	OpAliasSend           = 33
	OpUnlinkID            = 35
	OpUnlinkIDAck         = 36
)

const passThrough = 112

// Message is a control message with its payload, if it has one.
type Message struct {
	Control Tuple
	Payload Term // nil if there is none
}

// Op is the tag of the control message, 0 if it has none.
func (m Message) Op() int64 {
	if len(m.Control) == 0 {
		return 0
	}
	op, _ := m.Control[0].(int64)
	return op
}

// ParseMessage parses a packet of a connected node. ok is false for a tick.
func ParseMessage(b []byte) (m Message, ok bool, err error) {
	if len(b) == 0 {
		return m, false, nil
	}
	switch {
	case len(b) > 2 && b[0] == passThrough && b[1] == etfVersion:
		b = b[2:]
	case len(b) > 3 && b[0] == etfVersion && b[1] == 68 && b[2] == 0: // header without atom references
		b = b[3:]
	default:
		return m, false, bad("packet %x", b[:min(len(b), 4)])
	}
	t, b, err := ParseTerm(b)
	if err != nil {
		return m, false, err
	}
	if m.Control, ok = t.(Tuple); !ok {
		return m, false, bad("control message is a %T", t)
	}
	if len(b) == 0 {
		return m, true, nil
	}
	if b[0] == etfVersion {
		b = b[1:]
	}
	m.Payload, _, err = ParseTerm(b)
	if err != nil {
		if call, ok := parseUnreadableCall(b, err); ok {
			m.Payload, err = call, nil
		}
	}
	return m, err == nil, err
}

// parseUnreadableCall reads who has called a gen_server with a request that cannot
// be read: the caller is to be answered, not left to its time-out.
func parseUnreadableCall(b []byte, why error) (Tuple, bool) {
	if len(b) < 2 || b[0] != 104 || b[1] != 3 {
		return nil, false
	}
	head, _, err := parseTerms(b[2:], 2, 0)
	if err != nil || head[0] != Term(Atom("$gen_call")) {
		return nil, false
	}
	return Tuple{head[0], head[1], Unreadable{why}}, true
}

// AppendRegSend appends the packet that sends payload to a registered name.
func AppendRegSend(b []byte, from Pid, name Atom, payload Term) ([]byte, error) {
	return appendMessage(b, Tuple{int64(OpRegSend), from, Atom(""), name}, payload)
}

// AppendControl appends the packet of a control message without payload.
func AppendControl(b []byte, control ...Term) ([]byte, error) {
	return AppendTerm(append(b, passThrough, etfVersion), Tuple(control))
}

// AppendSend appends the packet that sends payload to a process.
func AppendSend(b []byte, to Pid, payload Term) ([]byte, error) {
	return appendMessage(b, Tuple{int64(OpSend), Atom(""), to}, payload)
}

func appendMessage(b []byte, control Tuple, payload Term) ([]byte, error) {
	b, err := AppendTerm(append(b, passThrough, etfVersion), control)
	if err != nil {
		return b, err
	}
	return AppendTerm(append(b, etfVersion), payload)
}
