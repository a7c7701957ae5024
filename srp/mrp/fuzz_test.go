package mrp

import (
	"testing"

	tsn "tsnswitch"
)

// check looks at what has to be true of a participant between any two calls.
func (p *Participant) check(t *testing.T, now tsn.Instant) {
	t.Helper()
	leaving, anxious := map[*attribute]bool{}, map[*attribute]bool{}
	last := tsn.Instant(0)
	for a := p.attrs.leaving.next; a != &p.attrs.leaving; a = a.next {
		if a.reg.leave < last {
			t.Fatal("leavetimers are out of order")
		}
		leaving[a], last = true, a.reg.leave
	}
	for _, a := range p.attrs.anxious {
		if anxious[a] {
			t.Fatalf("%v is anxious twice", a.value)
		}
		anxious[a] = true
	}
	n := 0
	p.attrs.each(func(a *attribute) {
		n++
		switch {
		case p.attrs.byValue[a.value] != a:
			t.Fatalf("%v is not what is known of it", a.value)
		case leaving[a] != (a.reg.leave != tsn.Never) || leaving[a] != (a.reg.state == lv):
			t.Fatalf("%+v: leavetimer in the list: %v", a, leaving[a])
		case a.app.wants() && !anxious[a]:
			t.Fatalf("%+v has something to say and is not asked", a)
		case p.started && a.app.wants() && p.due == tsn.Never:
			t.Fatalf("%+v waits for an opportunity that never comes", a)
		case a.forgettable():
			t.Fatalf("%+v is remembered", a)
		case p.cfg.ApplicantOnly && (a.app == lo || a.reg.state != mt):
			t.Fatalf("%+v in an applicant-only participant", a)
		}
		delete(leaving, a)
	})
	if n != len(p.attrs.byValue) || len(leaving) > 0 {
		t.Fatalf("%d listed, %d known, %d leaving that are not", n, len(p.attrs.byValue), len(leaving))
	}
	if len(p.attrs.order) > 2*n+16 || len(p.attrs.anxious) > 2*n+16 {
		t.Fatalf("%d in order, %d anxious, %d known", len(p.attrs.order), len(p.attrs.anxious), n)
	}
}

// Any calls in any order, PDUs among them: nothing known is lost or kept for
// ever, what is sent can be read, and no more is sent than may be.
func FuzzParticipant(f *testing.F) {
	f.Add([]byte{0, 0, 3, 2, 40, 2, 4, 5, 1, 60, 1, 3, 0, 2, 255, 1, 9, 4, 2, 100, 7, 1})
	f.Add([]byte{1, 0, 3, 0, 3, 1, 3, 2, 2, 255, 6, 1, 2, 255, 7, 2, 9, 3, 8, 2, 9, 2, 9, 0, 2, 0})
	f.Add([]byte{2, 0, 3, 2, 10, 3, 4, 9, 1, 11, 1, 2, 50, 0, 2, 255, 2, 255, 3, 0, 2, 255})
	f.Fuzz(func(t *testing.T, in []byte) {
		next := func() (x byte) {
			if len(in) > 0 {
				x, in = in[0], in[1:]
			}
			return x
		}
		flags := next()
		app := []*Application{MSRP(), MVRP(), variable()}[int(next())%3]
		c := Config{
			PointToPoint: flags&1 == 0, ApplicantOnly: flags&2 != 0, MaxAttributes: 20, MaxPDU: 1, MaxBurst: 1 + int(flags>>6), Seed: uint64(flags),
			Mode: func(v Value) Mode { return Mode(v.Octet[len(v.Octet)-1] % 8 / 6) },
		}
		p, echo := NewParticipant(app, c), NewParticipant(app, Config{PointToPoint: true})
		echo.Start(0)
		value := func() Value {
			typ := app.Types[int(next())%len(app.Types)]
			o := make([]byte, typ.Length)
			o[len(o)-1] = next() % 32
			return Value{typ.Type, string(o)}
		}
		var now tsn.Instant
		var sent []tsn.Instant
		for len(in) > 0 {
			switch next() % 10 {
			case 0:
				p.Start(now)
			case 1:
				p.Stop()
			case 2, 3:
				now = now.Add(int64(next()) * 20 * ms)
				for n := 0; p.Deadline() <= now; n++ {
					if n > 20*len(in)+100 {
						t.Fatalf("at %v the deadline stays %v", now, p.Deadline())
					}
					pdu, _ := p.Tick(now)
					if pdu == nil {
						continue
					}
					if len(pdu) > leastPDU {
						t.Fatalf("%d octets", len(pdu))
					}
					if len(sent) == 0 || sent[len(sent)-1] != p.sentAt[2] {
						sent = append(sent, p.sentAt[2])
					}
					readAll(t, app, pdu)
					echo.Receive(now, pdu)
				}
				for echo.Deadline() <= now {
					if pdu, _ := echo.Tick(now); pdu != nil && next()%4 > 0 {
						p.Receive(now, pdu)
					}
				}
			case 4:
				p.Join(now, value(), Param(next()%4), next()%2 == 0)
			case 5:
				p.Leave(now, value())
			case 6:
				echo.Join(now, value(), Param(next()%4), next()%2 == 0)
			case 7:
				echo.Leave(now, value())
			case 8:
				p.Redeclare(now)
			case 9:
				n := min(int(next()), len(in))
				p.Receive(now, in[:n])
				in = in[n:]
			}
			p.check(t, now)
		}
		for i := 3; c.PointToPoint && i < len(sent); i++ {
			if d := sent[i] - sent[i-3]; int64(d) < Standard().Join*3/2 {
				t.Fatalf("four opportunities within %v ns", d)
			}
		}
	})
}
