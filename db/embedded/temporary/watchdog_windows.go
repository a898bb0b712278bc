package temporary

const endCluster = ""

// Watchdog does nothing here: what a killed test leaves is reaped by the next one.
type Watchdog struct{}

// Watch returns one.
func Watch(string, ...string) (*Watchdog, error) { return &Watchdog{}, nil }

// Release does nothing.
func (w *Watchdog) Release() {}
