package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"strconv"
	"strings"
	"unicode/utf8"
)

// The bounds of a list, and so of the memory push takes: one list is on its way
// while the next is read. A line may be longer than a list, by itself.
const (
	listEvents = 1000
	listBytes  = 1 << 20
	lineBytes  = 8 << 20
)

// list is some lines of the input, or why there are no more.
type list struct {
	events      []json.RawMessage
	first, last int // the numbers of its lines, from 1
	size        int // in bytes, with what was skipped
	err         error
}

// lineError says that a line is no event.
type lineError struct {
	line int
	err  error
}

// Error names the line.
func (e *lineError) Error() string { return fmt.Sprintf("line %d: %v", e.line, e.err) }

// Unwrap returns what is wrong with it.
func (e *lineError) Unwrap() error { return e.err }

// readLists returns the input as lists. What a pipe brings goes on at once: a
// list ends where reading more could mean waiting. The channel is closed after
// the last list, or after one with an error.
func readLists(ctx context.Context, input io.Reader) <-chan list {
	lists := make(chan list)
	r := &listReader{input: bufio.NewReaderSize(input, listBytes)}
	go func() { // ends with the input or the context, or, blocked in a read that nothing interrupts, with the process
		defer close(lists)
		for {
			l, more := r.next()
			if len(l.events) > 0 || l.err != nil {
				select {
				case lists <- l:
				case <-ctx.Done():
					return
				}
			}
			if !more {
				return
			}
		}
	}()
	return lists
}

type listReader struct {
	input *bufio.Reader
	line  int
}

// next reads one list, which may be empty. After false there is nothing more.
func (r *listReader) next() (list, bool) {
	l := list{first: r.line + 1}
	for len(l.events) < listEvents && l.size < listBytes {
		text, err := r.read()
		l.size += len(text)
		if line := bytes.TrimSpace(text); len(line) > 0 && err == nil {
			err = checkEvent(line)
			l.events = append(l.events, json.RawMessage(line))
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return list{err: &lineError{r.line, err}}, false
		}
		l.last = r.line
		if err != nil {
			return l, false
		}
		if r.input.Buffered() == 0 {
			break
		}
	}
	return l, true
}

// read returns the next line, which is the caller's; the last one may lack its
// end, and comes without io.EOF.
func (r *listReader) read() ([]byte, error) {
	r.line++
	var line []byte
	for {
		part, err := r.input.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case len(line) > lineBytes:
			return nil, fmt.Errorf("longer than %d bytes", lineBytes)
		case errors.Is(err, bufio.ErrBufferFull):
		case errors.Is(err, io.EOF) && len(line) > 0:
			return line, nil
		case err != nil:
			r.line-- // there was none
			return nil, err
		default:
			return line, nil
		}
	}
}

// checkEvent finds what makes a line no event, so that it can be told by the
// line's number; the server decides what it takes.
func checkEvent(line []byte) error {
	if !utf8.Valid(line) {
		return errors.New("not valid UTF-8")
	}
	var e struct {
		AccessID  *string         `json:"accessid"`
		CreatedAt json.RawMessage `json:"created_at"`
		Payload   json.RawMessage `json:"payload"`
		Key       *string         `json:"idempotency_key"`
	}
	if err := json.Unmarshal(line, &e); err != nil {
		return fmt.Errorf("not an event: %w", err)
	}
	var missing []string
	if e.AccessID == nil {
		missing = append(missing, "accessid")
	}
	if e.CreatedAt == nil {
		missing = append(missing, "created_at")
	}
	if e.Payload == nil {
		missing = append(missing, "payload")
	}
	if len(missing) > 0 {
		return fmt.Errorf("not an event: it lacks %s", strings.Join(missing, ", "))
	}
	if !isInteger(string(e.CreatedAt)) {
		return errors.New("not an event: created_at is no 64-bit integer")
	}
	return nil
}

// isInteger tells whether a JSON value is a 64-bit integer; 1.0 and 1e3 are.
func isInteger(value string) bool {
	if _, err := strconv.ParseInt(value, 10, 64); err == nil {
		return true
	}
	// Short texts only: a huge exponent would be worked out digit by digit.
	f, err := strconv.ParseFloat(value, 64)
	if err != nil || f >= 1<<63 || f < -1<<63 || len(value) > 64 {
		return false
	}
	exact, ok := new(big.Rat).SetString(value)
	return ok && exact.IsInt()
}
