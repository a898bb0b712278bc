package dbtest

// watchdog does nothing here: what a killed test leaves is reaped by the next one.
type watchdog struct{}

func newWatchdog(string) (*watchdog, error) { return &watchdog{}, nil }

func (w *watchdog) release() {}
