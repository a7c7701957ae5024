package daemon

import (
	"context"
	"reflect"
	"time"

	"tsnswitch/internal/config"
	"tsnswitch/internal/nodeconfig"
	"tsnswitch/spb"
)

// keyCheck is how often the keys are looked at although none begins or ends: the
// wall clock may have been set.
const keyCheck = time.Minute

// keyring tells SPB which keys to use, from the times in the configuration.
type keyring struct {
	auth config.Auth
	told *spb.Authentication
	late bool // the key that signs is out of its time; told already
}

// tellKeys tells the control machine the keys of this moment, if they are others
// than before, and returns when to look again.
func (d *Daemon) tellKeys(now time.Time) time.Duration {
	k := &d.keys
	auth, next := nodeconfig.Keys(k.auth, now)
	if k.told == nil && len(auth.Hello.Keys)+len(auth.LSP.Keys) == 0 {
		return keyCheck
	}
	if k.told == nil || !reflect.DeepEqual(*k.told, auth) {
		k.told = &auth
		d.control.post(spb.SetKeys{Authentication: auth})
		d.log.Info("IS-IS keys", "hello", signingKey(auth.Hello), "lsp", signingKey(auth.LSP), "sendOnly", auth.LSP.SendOnly)
	}
	late := nodeconfig.KeysExpired(k.auth, now)
	if late && !k.late {
		d.log.Warn("no IS-IS key may be sent at this time: the last one is used on; give another key in spb.auth")
	}
	k.late = late
	if next.IsZero() {
		return keyCheck
	}
	return min(keyCheck, max(next.Sub(now), 0)+time.Millisecond)
}

// signingKey returns the number of the key that signs, -1 for none.
func signingKey(c spb.KeyChain) int {
	for _, k := range c.Keys {
		if k.Send {
			return int(k.ID)
		}
	}
	return -1
}

// keepKeys renews the keys when their times come, and takes new ones from a
// configuration that was read again. Nothing else of that one is taken.
func (d *Daemon) keepKeys(ctx context.Context, reload <-chan *config.Daemon) {
	timer := time.NewTimer(d.tellKeys(time.Now()))
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case c := <-reload:
			d.keys.auth = c.SPB.Auth
			d.log.Info("configuration read again; only spb.auth is taken without a restart")
		case <-timer.C:
		}
		timer.Reset(d.tellKeys(time.Now()))
	}
}
