package daemon

import (
	"context"
	"strings"

	"tsnswitch"
	"tsnswitch/internal/api"
	"tsnswitch/srp"
	"tsnswitch/srp/mrp"
)

// registrationModes are the words of Administrative Control (802.1Q 8.8.2).
var registrationModes = map[srp.RegistrationMode]string{mrp.Normal: "normal", mrp.Fixed: "fixed", mrp.Forbidden: "forbidden"}

// Registrations implements api.Switch.
func (d *Daemon) Registrations(ctx context.Context, application string) ([]api.Registration, error) {
	out := []api.Registration{}
	runs := false
	err := d.control.call(ctx, func() {
		var all []srp.Registration
		switch {
		case application == "mvrp" && d.machine.MVRP != nil:
			runs, all = true, d.machine.MVRP.Registrations()
		case application == "mmrp" && d.machine.MMRP != nil:
			runs, all = true, d.machine.MMRP.Registrations()
		}
		for _, r := range all {
			out = append(out, d.registration(application, r))
		}
	})
	if err == nil && !runs {
		err = api.Errorf(api.CodeUnsupported, "%s does not run %s: see srp.%s", d.cfg.Name, strings.ToUpper(application), application)
	}
	return out, err
}

func (d *Daemon) registration(application string, r srp.Registration) api.Registration {
	v := api.Registration{
		Port: r.Port, Ifname: ifnameOf(d.cfg, r.Port), VLAN: r.VID, Mode: registrationModes[r.Mode],
		Registered: r.Registered, Declared: r.Declared, Failed: r.Failed, Applicant: r.Applicant, Registrar: r.Registrar,
	}
	switch {
	case application == "mvrp":
	case r.Group != tsn.MAC{}:
		v.Group = r.Group.String()
	case r.Require == mrp.AllGroups:
		v.Group = "all groups"
	default:
		v.Group = "unregistered groups"
	}
	return v
}
