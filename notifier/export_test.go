package notifier

import "encoding/base64"

// ParseUnsignedCursor is the parser behind the signature.
func ParseUnsignedCursor(raw []byte) (Cursor, error) { return parseCursor(raw) }

// UnsignedCursor returns what of a cursor is signed.
func UnsignedCursor(s *CursorSigner, c Cursor) []byte {
	raw, _ := base64.RawURLEncoding.DecodeString(s.Text(c))
	return raw[:len(raw)-cursorMAC]
}
