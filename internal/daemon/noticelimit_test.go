package daemon

import (
	"testing"
	"time"

	"tsnswitch"
)

// A storm of one notice costs no other, and is told as a number.
func TestNoticeLimit(t *testing.T) {
	var l noticeLimit
	now := time.Unix(1000, 0)
	storm, other := tsn.Notice{Kind: "grand-master", Port: 1}, tsn.Notice{Kind: "grand-master", Port: 2}
	passed := 0
	for range 1000 {
		if _, ok := l.admit(storm, now); ok {
			passed++
		}
	}
	if passed != noticeBurst {
		t.Errorf("%d passed at once", passed)
	}
	if _, ok := l.admit(other, now); !ok {
		t.Error("another port's was held back")
	}
	if held, ok := l.admit(storm, now.Add(noticeEvery)); !ok || held != 1000-noticeBurst {
		t.Errorf("after a while: %t, %d held back", ok, held)
	}
	if _, ok := l.admit(storm, now.Add(noticeEvery)); ok {
		t.Error("two at once after a while")
	}
	now = now.Add(time.Hour)
	for n := range noticeBurst {
		if _, ok := l.admit(storm, now); !ok {
			t.Fatalf("after an hour only %d", n)
		}
	}
}
