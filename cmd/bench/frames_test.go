//go:build linux

package main

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

func TestNextFrame_Lengths(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 1, 125, 126, 65535, 65536, 100_000} {
		payload := []byte(strings.Repeat("x", n))
		data := append(appendServerText(nil, payload), "more"...)
		f, rest, ok, err := nextFrame(data)
		if err != nil || !ok || f.opcode != opText || !bytes.Equal(f.payload, payload) || string(rest) != "more" {
			t.Errorf("%d bytes: opcode %d, payload of %d, rest %q, %v, %v", n, f.opcode, len(f.payload), rest, ok, err)
		}
	}
}

func TestNextFrame_Incomplete(t *testing.T) {
	t.Parallel()
	for _, n := range []int{3, 300, 70_000} {
		whole := appendServerText(nil, make([]byte, n))
		for _, cut := range []int{0, 1, 2, 3, 4, 9, 10, len(whole) - 1} {
			if cut >= len(whole) {
				continue
			}
			if _, rest, ok, err := nextFrame(whole[:cut]); ok || err != nil || len(rest) != cut {
				t.Errorf("%d of %d bytes: ok %v, rest of %d, %v", cut, len(whole), ok, len(rest), err)
			}
		}
	}
}

func TestNextFrame_Refused(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		data []byte
		want error
	}{
		{"masked", appendClient(nil, opText, []byte("x")), errMasked},
		{"fragment", []byte{opText, 1, 'x'}, errFragmented},
		{"compressed", []byte{fin | 0x40 | opText, 1, 'x'}, errFragmented},
	} {
		if _, _, ok, err := nextFrame(c.data); ok || !errors.Is(err, c.want) {
			t.Errorf("%s: ok %v, %v", c.name, ok, err)
		}
	}
}

func TestNextNumber(t *testing.T) {
	t.Parallel()
	list := append(appendEvent(nil, "a", 1, 12), appendEvent(nil, "b", 2, 99_999_999_999_999)...)
	var got []uint64
	for {
		number, rest, ok, err := nextNumber(list, ernius(nil).mark)
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			break
		}
		got = append(got, number)
		list = rest
	}
	if len(got) != 2 || got[0] != 12 || got[1] != 99_999_999_999_999 {
		t.Errorf("found %v", got)
	}
	for _, bad := range []string{`"payload":"12"`, `"payload":"1234567890123x"`} {
		if _, _, ok, err := nextNumber([]byte(bad), ernius(nil).mark); ok || err == nil {
			t.Errorf("%s was a number", bad)
		}
	}
}
