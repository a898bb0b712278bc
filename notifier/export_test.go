package notifier

import "encoding/base64"

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
