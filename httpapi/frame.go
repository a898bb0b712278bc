package httpapi

import (
	"encoding/binary"
	"strconv"
)

// The first byte of a WebSocket frame that is whole: FIN and the opcode
// (RFC 6455, 5.2).
const (
	frameText  = 0x80 | 0x1
	frameClose = 0x80 | 0x8
	framePing  = 0x80 | 0x9
	framePong  = 0x80 | 0xa
)

// headerRoom is the longest header of a frame sent by a server, which does not
// mask: two bytes and a length of eight.
const headerRoom = 10

// maxReason is the longest text a close frame can carry.
const maxReason = 123

// textFrame makes a frame of what follows the first headerRoom bytes, which are
// left free for the header, without copying it.
func textFrame(buffer []byte) []byte {
	n := len(buffer) - headerRoom
	switch {
	case n < 126:
		buffer[headerRoom-2], buffer[headerRoom-1] = frameText, byte(n)
		return buffer[headerRoom-2:]
	case n <= 0xffff:
		buffer[headerRoom-4], buffer[headerRoom-3] = frameText, 126
		binary.BigEndian.PutUint16(buffer[headerRoom-2:], uint16(n))
		return buffer[headerRoom-4:]
	default:
		buffer[0], buffer[1] = frameText, 127
		binary.BigEndian.PutUint64(buffer[2:], uint64(n))
		return buffer
	}
}

// newText returns the frame of a text.
func newText(text string) []byte {
	return textFrame(append(make([]byte, headerRoom, headerRoom+len(text)), text...))
}

// newPing returns the frame of a connection's nth ping: its number is its
// payload.
func newPing(n uint32) []byte {
	frame := strconv.AppendUint([]byte{framePing, 0}, uint64(n), 10)
	frame[1] = byte(len(frame) - 2)
	return frame
}

// newClose returns a close frame.
func newClose(c closing) []byte {
	reason := c.reason[:min(len(c.reason), maxReason)]
	frame := []byte{frameClose, byte(2 + len(reason))}
	frame = binary.BigEndian.AppendUint16(frame, c.code)
	return append(frame, reason...)
}

// isClose reports whether a control frame is a close frame.
func isClose(frame []byte) bool { return len(frame) > 0 && frame[0] == frameClose }
