//go:build linux

package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
)

// The opcodes that occur (RFC 6455, 5.2), and the bit that says that a frame is
// whole.
const (
	opText  = 0x1
	opClose = 0x8
	opPing  = 0x9
	opPong  = 0xa
	fin     = 0x80
	masked  = 0x80
)

var (
	errMasked     = errors.New("the frame is masked")
	errFragmented = errors.New("the frame is a fragment, or has reserved bits")
	errNumber     = errors.New("a payload is not a number of ours")
)

// frame is one WebSocket frame from a server.
type frame struct {
	opcode  byte
	payload []byte
}

// nextFrame cuts the first frame off what was received; ok is false as long as
// it is not complete.
func nextFrame(data []byte) (f frame, rest []byte, ok bool, err error) {
	if len(data) < 2 {
		return f, data, false, nil
	}
	if data[0]&0xf0 != fin {
		return f, data, false, errFragmented
	}
	if data[1]&masked != 0 {
		return f, data, false, errMasked
	}
	size, header := uint64(data[1]), 2
	switch {
	case size == 126 && len(data) >= 4:
		size, header = uint64(binary.BigEndian.Uint16(data[2:])), 4
	case size == 127 && len(data) >= 10:
		size, header = binary.BigEndian.Uint64(data[2:]), 10
	case size >= 126:
		return f, data, false, nil
	}
	if uint64(len(data)-header) < size {
		return f, data, false, nil
	}
	end := header + int(size) //nolint:gosec // not more than len(data)
	return frame{data[0] & 0xf, data[header:end]}, data[end:], true, nil
}

// appendServerText appends the text frame that a server would send.
func appendServerText(dst, payload []byte) []byte {
	dst = append(dst, fin|opText)
	switch n := len(payload); {
	case n < 126:
		dst = append(dst, byte(n))
	case n <= 0xffff:
		dst = append(dst, 126)
		dst = binary.BigEndian.AppendUint16(dst, uint16(n))
	default:
		dst = append(dst, 127)
		dst = binary.BigEndian.AppendUint64(dst, uint64(n))
	}
	return append(dst, payload...)
}

// appendClient appends a short frame of a client. Clients must mask; the mask
// is zero, which spares the work.
func appendClient(dst []byte, opcode byte, payload []byte) []byte {
	dst = append(dst, fin|opcode)
	if n := len(payload); n < 126 {
		dst = append(dst, masked|byte(n))
	} else {
		dst = append(dst, masked|126)
		dst = binary.BigEndian.AppendUint16(dst, uint16(n))
	}
	dst = append(dst, 0, 0, 0, 0)
	return append(dst, payload...)
}

// Every event's payload is its number as a JSON string of that many digits, so
// that all frames have one length and numbers are found without parsing JSON.
const numberDigits = 14

// appendEvent appends an event in the form of the ernius protocol, as the server
// sends it.
func appendEvent(dst []byte, accessID string, createdAt int64, number uint64) []byte {
	return fmt.Appendf(dst, `[{"accessid":%q,"created_at":%d,"payload":"%0*d"}]`, accessID, createdAt, numberDigits, number)
}

// nextNumber finds the next event's number in a list, behind a mark; ok is false
// if none is left.
func nextNumber(list, mark []byte) (number uint64, rest []byte, ok bool, err error) {
	_, digits, found := bytes.Cut(list, mark)
	if !found {
		return 0, nil, false, nil
	}
	if len(digits) < numberDigits {
		return 0, nil, false, errNumber
	}
	for _, d := range digits[:numberDigits] {
		if d < '0' || d > '9' {
			return 0, nil, false, errNumber
		}
		number = number*10 + uint64(d-'0')
	}
	return number, digits[numberDigits:], true, nil
}
