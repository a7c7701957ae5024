package gptp

// gptpCapableIntervalSetting is GptpCapableIntervalSetting (10.4.3).
func (p *port) gptpCapableIntervalSetting(v int8) {
	if p.ask("gPTP-capable", &p.intervals.gptpCapable, v) {
		p.capableTx.intervalChanged()
	}
}
