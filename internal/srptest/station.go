package srptest

import "tsnswitch/internal/avbstation"

// What tests elsewhere use of internal/avbstation, under one name with the rest.
type (
	Station       = avbstation.Station
	StationConfig = avbstation.StationConfig
	Seen          = avbstation.Seen
	Flow          = avbstation.Flow
	Counter       = avbstation.Counter
	Sender        = avbstation.Sender
	Arrivals      = avbstation.Arrivals
)

// Open and Count are avbstation's.
var (
	Open  = avbstation.Open
	Count = avbstation.Count
)
