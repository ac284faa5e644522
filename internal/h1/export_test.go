package h1

// Stats are a Transport's counts.
type Stats struct {
	Open, Idle    int    // connections now; Open includes Idle and upgraded ones
	Dials, Reuses uint64 // since New
}

// Stats returns the current counts.
func (t *Transport) Stats() Stats {
	t.mu.Lock()
	defer t.mu.Unlock()
	return Stats{Open: len(t.conns), Idle: len(t.idle), Dials: t.dials.Load(), Reuses: t.reuses.Load()}
}
