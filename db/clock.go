package db

import (
	"fmt"
	"strconv"
	"time"

	"example.com/notifier/notifier"
)

// clockNow selects the database's time in microseconds. A time as text would be
// as the session's settings have it.
const clockNow = `(extract(epoch FROM clock_timestamp()) * 1000000)::bigint`

// clock follows the database's clock, from pulse to pulse.
type clock struct {
	of    notifier.Clock // of the batch that is read
	taken time.Time      // when the position was taken that the batch ends at
}

// read takes the clock's reading that came with a position, just now.
func (c *clock) read(microseconds []byte) error {
	n, err := strconv.ParseInt(string(microseconds), 10, 64)
	if err != nil {
		return fmt.Errorf("read the database's clock: %w", err)
	}
	c.taken = time.UnixMicro(n)
	c.of.Ahead = time.Until(c.taken)
	return nil
}

// turn is for the end of a batch: the next one begins where it has ended.
func (c *clock) turn() { c.of.Since = c.taken }
