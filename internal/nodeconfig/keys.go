package nodeconfig

import (
	"time"

	"tsnswitch/internal/config"
	"tsnswitch/spb"
)

// Keys is what spb.auth means at a time, and when that changes next (the zero
// time: never).
//
// The key that signs is the first of the list whose sending time has come and
// is not over. If there is none it is the one that was over last, and if none
// has ever begun, the first: a network without authentication, or without
// control traffic, would be worse (RFC 8177 s4). That key is acceptable as well.
func Keys(a config.Auth, at time.Time) (auth spb.Authentication, next time.Time) {
	hello, lsp := a.Chains()
	auth = spb.Authentication{Hello: chain(hello, a.SendOnly, at), LSP: chain(lsp, a.SendOnly, at)}
	for _, keys := range [][]config.AuthKey{hello, lsp} {
		for _, k := range keys {
			for _, t := range []config.Time{k.SendFrom, k.SendUntil, k.AcceptFrom, k.AcceptUntil} {
				if t.After(at) && (next.IsZero() || t.Before(next)) {
					next = t.Time
				}
			}
		}
	}
	return auth, next
}

func chain(keys []config.AuthKey, sendOnly bool, at time.Time) spb.KeyChain {
	c := spb.KeyChain{SendOnly: sendOnly && len(keys) > 0}
	for _, k := range keys {
		c.Keys = append(c.Keys, spb.Key{
			ID: k.ID, Algorithm: k.Algorithm, Secret: k.Octets(), Accept: open(k.AcceptFrom, k.AcceptUntil, at),
		})
	}
	if n, _ := sender(keys, at); n >= 0 {
		c.Keys[n].Send, c.Keys[n].Accept = true, true
	}
	return c
}

// KeysExpired reports that a chain signs with a key whose time is over, or has
// not come.
func KeysExpired(a config.Auth, at time.Time) bool {
	hello, lsp := a.Chains()
	for _, keys := range [][]config.AuthKey{hello, lsp} {
		if n, inTime := sender(keys, at); n >= 0 && !inTime {
			return true
		}
	}
	return false
}

func sender(keys []config.AuthKey, at time.Time) (n int, inTime bool) {
	n = -1
	for i, k := range keys {
		if open(k.SendFrom, k.SendUntil, at) {
			return i, true
		}
		over := func(k config.AuthKey) bool { return !k.SendUntil.IsZero() && !k.SendUntil.After(at) }
		if n < 0 || (over(k) && (!over(keys[n]) || k.SendUntil.After(keys[n].SendUntil.Time))) {
			n = i
		}
	}
	return n, false
}

func open(from, until config.Time, at time.Time) bool {
	return !from.After(at) && (until.IsZero() || until.After(at))
}
