package main

import (
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// progress is a bar on a terminal, for input that is longer than one list;
// elsewhere it is nothing.
type progress struct {
	w    *os.File
	size int64 // of the input in bytes; -1: unknown
	done int64
	bar  *progressbar.ProgressBar
}

func newProgress(w *os.File, size int64) *progress { return &progress{w: w, size: size} }

// add records that many bytes more as done.
func (p *progress) add(n int) {
	p.done += int64(n)
	if p.bar == nil {
		if p.done >= p.size && p.size >= 0 || p.done < listBytes || !isTerminal(p.w) {
			return
		}
		p.bar = progressbar.NewOptions64(p.size,
			progressbar.OptionSetWriter(p.w),
			progressbar.OptionSetDescription("pushing"),
			progressbar.OptionShowBytes(true),
			progressbar.OptionUseIECUnits(true),
			progressbar.OptionThrottle(100*time.Millisecond),
			progressbar.OptionSetSpinnerChangeInterval(0), // no goroutine of its own
			progressbar.OptionFullWidth(),
			progressbar.OptionClearOnFinish(),
		)
	}
	_ = p.bar.Set64(p.done) // a bar that can't be drawn is no reason to stop
}

// finish removes the bar.
func (p *progress) finish() {
	if p.bar != nil {
		_ = p.bar.Finish()
	}
}

// isTerminal tells whether a person reads or writes there.
func isTerminal(stream any) bool {
	file, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}
