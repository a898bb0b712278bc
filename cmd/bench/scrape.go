//go:build linux

package main

import (
	"bufio"
	"context"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	waitingBytes = "notifier_outbox_bytes"
	scrapeEvery  = 100 * time.Millisecond
)

// mostWaiting returns the most bytes that the outboxes of a server held, by its
// metrics, until the context ends.
func mostWaiting(ctx context.Context, admin string) (most int64) {
	tick := time.NewTicker(scrapeEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			most = max(most, metric(ctx, admin, waitingBytes))
		case <-ctx.Done():
			return most
		}
	}
}

// metric reads one figure without labels; 0: it is not there.
func metric(ctx context.Context, admin, name string) int64 {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+admin+"/metrics", http.NoBody)
	if err != nil {
		return 0
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0 // the next time, or it ends
	}
	defer response.Body.Close()
	lines := bufio.NewScanner(response.Body)
	for lines.Scan() {
		if value, ok := strings.CutPrefix(lines.Text(), name+" "); ok {
			n, _ := strconv.ParseFloat(value, 64)
			return int64(n)
		}
	}
	return 0
}
