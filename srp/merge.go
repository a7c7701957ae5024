package srp

import "tsnswitch/srp/mrp"

// On a LAN with more than two systems the listeners of a stream are one attribute,
// whose declaration is not part of its value: a Registrar knows what was declared
// last, by whomever (10.7.8), and ends it when, after a leave, nobody has declared
// within LeaveTime. A station that is ready and one that asks in vain so alternate
// with each word of theirs; as they hear the same talker they rarely differ.
// Listeners of version 1 have their declaration in the value and are merged, like
// those of different ports.

// mergeTable is what a bridge declares towards a talker for what two listeners
// declare (802.1Q table 35-15).
var mergeTable = [4][4]mrp.Param{
	mrp.ListenerIgnore: {
		mrp.ListenerIgnore, mrp.ListenerAskingFailed, mrp.ListenerReady, mrp.ListenerReadyFailed,
	},
	mrp.ListenerAskingFailed: {
		mrp.ListenerAskingFailed, mrp.ListenerAskingFailed, mrp.ListenerReadyFailed, mrp.ListenerReadyFailed,
	},
	mrp.ListenerReady: {
		mrp.ListenerReady, mrp.ListenerReadyFailed, mrp.ListenerReady, mrp.ListenerReadyFailed,
	},
	mrp.ListenerReadyFailed: {
		mrp.ListenerReadyFailed, mrp.ListenerReadyFailed, mrp.ListenerReadyFailed, mrp.ListenerReadyFailed,
	},
}

// wants reports whether a listener's declaration asks for a reservation.
func wants(p mrp.Param) bool { return p == mrp.ListenerReady || p == mrp.ListenerReadyFailed }

// heardBehind is what a declaration counts as where we declare the talker as
// failed: nobody behind that port can have the stream (35.2.4.4).
func heardBehind(p mrp.Param, failed bool) mrp.Param {
	if failed && wants(p) {
		return mrp.ListenerAskingFailed
	}
	return p
}
