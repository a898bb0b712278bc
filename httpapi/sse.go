package httpapi

import (
	"bytes"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"

	"example.com/notifier/notifier"
)

// Server-Sent Events, for EventSource and curl: a stream of blocks of lines. A
// block with data and no event field is what a page's onmessage sees, so these are
// the events and nothing else is; all that the server itself has to say is of the
// event sseNotice. The id of a block is the cursor behind it: EventSource sends it
// back, as Last-Event-ID, when it reconnects.

const (
	sseType   = "text/event-stream"
	sseNotice = "notifier"
	// sseComment keeps those between from taking a silent stream for dead.
	sseComment = ":\n\n"
)

// How long EventSource shall wait before it comes again. The first is what a stream
// begins with; the others hold for the next time.
const (
	sseRetry        = 2 * time.Second
	sseRetryDropped = time.Minute
	sseRetryOutage  = 5 * time.Second
)

// sse encodes events; one value serves all streams.
type sse struct{ signer *notifier.CursorSigner }

// Encode returns the block of an event. Its id is its cursor; if it was not read in
// the log's order it has none, and EventSource keeps the id it has.
func (c sse) Encode(events []*notifier.Event) []byte { return sseBlock(events[0], c.signer) }

// Joins is false: each event is a message.
func (sse) Joins() bool { return false }

// sseBlock has all keys, those that are absent with null.
func sseBlock(e *notifier.Event, signer *notifier.CursorSigner) []byte {
	const keysAndTime = 320 // and the cursor
	size := keysAndTime + len(e.Type) + len(e.Action) + len(e.Key) + len(e.Principal) + len(e.Payload) + len(e.Original)
	buffer := make([]byte, 0, size)
	if at, ok := e.Cursor(); ok {
		buffer = append(signer.Append(append(buffer, "id: "...), at), '\n')
	}
	buffer = strconv.AppendInt(append(buffer, `data: {"id":`...), e.ID, 10)
	buffer = appendString(append(buffer, `,"type":`...), e.Type)
	buffer = appendString(append(buffer, `,"action":`...), e.Action)
	buffer = appendString(append(buffer, `,"key":`...), e.Key)
	buffer = appendStringOrNull(append(buffer, `,"recipient":`...), e.Recipient)
	buffer = appendStringOrNull(append(buffer, `,"dataset_id":`...), e.DatasetID)
	var principal *string
	if e.Principal != "" {
		principal = &e.Principal
	}
	buffer = appendStringOrNull(append(buffer, `,"principal":`...), principal)
	buffer = appendDRPTime(append(buffer, `,"created_at":"`...), e.CreatedAt)
	buffer = appendOneLine(append(buffer, `","payload":`...), e.Payload)
	buffer = appendOneLine(append(buffer, `,"original":`...), e.Original)
	return append(buffer, "}\n\n"...)
}

func appendStringOrNull(dst []byte, s *string) []byte {
	if s == nil {
		return append(dst, "null"...)
	}
	return appendString(dst, *s)
}

// appendOneLine appends JSON with its line breaks made blanks. They can only lie
// between its tokens: a string holds none.
func appendOneLine(dst, value []byte) []byte {
	begin := len(dst)
	dst = appendOrNull(dst, value)
	added := dst[begin:]
	for {
		i := bytes.IndexAny(added, "\r\n")
		if i < 0 {
			return dst
		}
		added[i] = ' '
		added = added[i+1:]
	}
}

// sseCursor is a block that only moves the id on: no handler of a page sees it.
func sseCursor(cursor string) []byte { return []byte("id: " + cursor + "\n\n") }

// sseVerdict is what a stream tells of its cursor, with the one that it goes on
// from, if there is one yet.
func sseVerdict(v verdict) []byte {
	var id string
	if v.cursor != "" {
		id = "id: " + v.cursor + "\n"
	}
	return []byte(id + "event: " + sseNotice + "\ndata: {" + string(appendVerdict(nil, v)) + "}\n\n")
}

// sseRevoked tells that topics have ended.
func sseRevoked(topics []string) []byte {
	block := []byte("event: " + sseNotice + `` + "\ndata: " + `{"revoked":[`)
	for i, topic := range topics {
		if i > 0 {
			block = append(block, ',')
		}
		block = appendString(block, topic)
	}
	return append(block, "]}\n\n"...)
}

// sseEnd is the last block: why the stream ends, and when to come again.
func sseEnd(word, reason string, retry time.Duration) []byte {
	block := []byte("event: " + sseNotice + "\ndata: " + `{"end":`)
	block = appendString(block, word)
	block = appendString(append(block, `,"reason":`...), reason)
	return append(append(block, '}', '\n'), sseRetryLine(retry)...)
}

// sseRetryLine is also the end of a block.
func sseRetryLine(retry time.Duration) string {
	return "retry: " + strconv.FormatInt(retry.Milliseconds(), 10) + "\n\n"
}

// sseBeginning is the first block of a stream that goes on: when to come again, and
// how often something comes at least. EventSource knows no such field, and passes
// over it.
func sseBeginning(heartbeat time.Duration) string {
	return "heartbeat: " + strconv.FormatInt(heartbeat.Milliseconds(), 10) + "\n" + sseRetryLine(sseRetry)
}

// sseRetryAfter says when the client of a stream that has ended should come again.
// There is no telling EventSource not to; but what it comes with may be refused
// then, and that is final for it. Those who were dropped may come, only not at
// once. When the server stops they come to another, or to the next: not all in one
// moment.
func sseRetryAfter(reason notifier.Ending) time.Duration {
	switch reason {
	case notifier.EndedByDrop:
		return sseRetryDropped
	case notifier.EndedByOutage:
		return sseRetryOutage
	case notifier.EndedByShutdown:
		return comeAgain + rand.N(comeAgainMost-comeAgain)
	}
	return sseRetry
}

// sseHeader sets what a stream's answer begins with.
func sseHeader(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Type", sseType)
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // nginx would hold events back
	if r.ProtoMajor == 1 {
		h.Set("Connection", "close") // a client that comes again may be sent to another instance
	}
}

// turnStreamAway refuses a client for now, and counts that. EventSource gives up for
// ever after any status but 200, so it gets an empty stream that says when to come
// again.
func (s *Server) turnStreamAway(w http.ResponseWriter, r *http.Request, why Refusal) {
	s.refusals.note(why, "remote", r.RemoteAddr, "path", r.URL.Path)
	told, ok := turnedAways[why]
	if !ok {
		told = turnedAway{http.StatusServiceUnavailable, errUnavailable.Error(), sseRetry}
	}
	if why == RefusedDraining {
		w.Header().Set("Connection", "close") // also for HTTP/2: come by another connection
	}
	if !strings.Contains(r.Header.Get("Accept"), sseType) {
		retryAfter(w, told.again)
		refuse(w, told.status, told.text)
		return
	}
	sseHeader(w, r)
	_, _ = w.Write(sseEnd(string(why), told.text, told.again+rand.N(told.again))) // the client may be gone
}
