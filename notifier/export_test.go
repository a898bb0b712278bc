package notifier

import (
	"context"
	"encoding/base64"
)

// ParseUnsignedCursor is the parser behind the signature.
func ParseUnsignedCursor(raw []byte) (Cursor, error) { return parseCursor(raw) }

// UnsignedCursor returns what of a cursor is signed.
func UnsignedCursor(s *CursorSigner, c Cursor) []byte {
	raw, _ := base64.RawURLEncoding.DecodeString(s.Text(c))
	return raw[:len(raw)-cursorMAC]
}

// RecentBytes is what the hub takes to keep for the newest events.
func RecentBytes(h *Hub) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	bytes := 0
	for _, l := range h.recent.chain {
		for _, e := range l.entries {
			bytes += e.size()
		}
	}
	return bytes
}

// LookForMissed takes one look from a cursor on, all under one lock.
func LookForMissed(h *Hub, subs []*Subscription, from Cursor, until Point) {
	w := &walk{hub: h, life: h.life, at: from.Point, anchor: from.Anchor, wanted: wantedBy(subs), until: &until}
	_, _, _, _ = w.look()
}

// MostApart is Missed, and returns how many events were held that are of one client.
func MostApart(ctx context.Context, h *Hub, subs []*Subscription, from Cursor, until Point, yield func([]Missed) error) (most int, err error) {
	w := &walk{hub: h, life: h.life, at: from.Point, anchor: from.Anchor, wanted: wantedBy(subs), until: &until}
	err = w.run(ctx, func(chunk []Missed) error {
		most = max(most, len(w.apart))
		return yield(chunk)
	})
	return most, err
}
