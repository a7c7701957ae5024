package spb

import "slices"

// localStations are the stations that this node says it reaches, ascending.
func (i *Instance) localStations() []EndStation {
	return slices.DeleteFunc(slices.Clone(i.stations), func(s EndStation) bool { return i.edgeHides(s.Port) })
}
