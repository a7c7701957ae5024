package schedule

import (
	"strings"
	"testing"

	tsn "tsnswitch"
)

func line() *Problem {
	link := func(from, to NodeID) Link {
		return Link{From: from, To: to, Rate: tsn.Gbps, Queues: 8, Scheduled: 0x80}
	}
	return &Problem{
		Nodes:   []Node{{Name: "h0"}, {Name: "b", Bridge: true}, {Name: "h1"}, {Name: "h2"}},
		Links:   []Link{link(0, 1), link(1, 2), link(1, 3), link(2, 1), link(1, 0)},
		Streams: []Stream{{Talker: 0, Listeners: []NodeID{2, 3}, Size: 84, Period: 1e6, Deadline: 1e6, Routes: [][]LinkID{{0, 1, 2}}}},
	}
}

func TestValidate(t *testing.T) {
	if err := line().Validate(); err != nil {
		t.Fatal(err)
	}
	for want, spoil := range map[string]func(*Problem){
		"does not join two nodes":             func(p *Problem) { p.Links[1].To = 9 },
		"link 1 (b-h1): a rate":               func(p *Problem) { p.Links[1].Rate = 0 },
		"0 queues":                            func(p *Problem) { p.Links[0].Queues = 0 },
		"none or not there":                   func(p *Problem) { p.Links[0].Queues = 7 },
		"control queue 7":                     func(p *Problem) { p.Links[0].Control, p.Links[0].ControlOctets = 7, 64 },
		"a max-SDU is out of range":           func(p *Problem) { p.Links[0].MaxSDU[2] = -1 },
		"longer than their queue's max-SDU":   func(p *Problem) { p.Links[0].ControlOctets, p.Links[0].MaxSDU[0] = 64, 63 },
		"stream 0: is there twice":            func(p *Problem) { p.Streams = append(p.Streams, p.Streams[0]) },
		"is named twice":                      func(p *Problem) { p.Streams[0].Listeners = []NodeID{2, 2} },
		"release window":                      func(p *Problem) { p.Streams[0].Release = [2]int64{5, 1e6} },
		"period, deadline":                    func(p *Problem) { p.Streams[0].Period = 0 },
		"begins where":                        func(p *Problem) { p.Streams[0].Routes = [][]LinkID{{1, 0, 2}} },
		"does not reach h2":                   func(p *Problem) { p.Streams[0].Routes = [][]LinkID{{0, 1}} },
		"ends where there is no listener":     func(p *Problem) { p.Streams[0].Listeners = []NodeID{2} },
		"leaves an end station":               func(p *Problem) { p.Streams[0].Routes = [][]LinkID{{0, 1, 3}}; p.Links[3].To = 3 },
		"comes back":                          func(p *Problem) { p.Streams[0].Routes = [][]LinkID{{0, 4}} },
		"sync error, jitter or longest cycle": func(p *Problem) { p.Jitter = -1 },
	} {
		p := line()
		spoil(p)
		if err := p.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

// Guard is the least of what may be in the way.
func TestGuard(t *testing.T) {
	l := Link{GuardOctets: 1542, Preemptible: 0b0011}
	l.MaxSDU = [8]int{0, 100, 300, 2000}
	for q, want := range []int{UncutOctets, 100, 300, 1542, 1542} {
		if got := l.Guard(tsn.TrafficClass(q)); got != want {
			t.Errorf("queue %d: %d octets, want %d", q, got, want)
		}
	}
}
