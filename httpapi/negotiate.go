package httpapi

import (
	"mime"
	"net/http"
	"strconv"
	"strings"
)

// textType is the content type of answers; ernius's own client refuses it
// without the charset, and spells it without a blank.
const textType = "text/plain;charset=utf-8"

// refuse answers with a line that says why. It sends no content type, as the
// real ernius server does not.
func refuse(w http.ResponseWriter, status int, why string) {
	comeAgainLater(w, status)
	w.Header()["Content-Type"] = nil // keeps net/http from guessing one
	w.WriteHeader(status)
	_, _ = w.Write([]byte(why)) // the client may be gone
}

// answer sends a text.
func answer(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", textType)
	w.WriteHeader(status)
	_, _ = w.Write([]byte(text)) // the client may be gone
}

// bare answers with a status alone.
func bare(status int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }
}

// acceptsText refuses a client that would not take the text we answer with.
func acceptsText(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !textAcceptable(r.Header.Values("Accept")) {
			w.WriteHeader(http.StatusNotAcceptable)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// sendsJSON refuses a body that is not declared to be JSON.
func sendsJSON(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !isJSON(r.Header.Values("Content-Type")) || !isIdentity(r.Header.Values("Content-Encoding")) {
			w.WriteHeader(http.StatusUnsupportedMediaType)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func isJSON(contentTypes []string) bool {
	if len(contentTypes) != 1 {
		return false
	}
	kind, params, err := mime.ParseMediaType(contentTypes[0])
	charset, named := params["charset"]
	return err == nil && kind == "application/json" && (!named || strings.EqualFold(charset, "utf-8"))
}

func isIdentity(encodings []string) bool {
	return len(encodings) == 0 || len(encodings) == 1 && strings.EqualFold(encodings[0], "identity")
}

// textAcceptable reports whether the most specific range of an Accept header
// that covers our text allows it (RFC 9110, 12.5.1).
func textAcceptable(headers []string) bool {
	best, acceptable := 0, strings.TrimSpace(strings.Join(headers, "")) == ""
	for _, header := range headers {
		for element := range strings.SplitSeq(header, ",") {
			kind, params, err := mime.ParseMediaType(element)
			if err != nil {
				continue
			}
			if rank := textRank(kind, params["charset"]); rank > best {
				best, acceptable = rank, weight(params["q"]) > 0
			}
		}
	}
	return acceptable
}

// textRank says how specifically a media range covers our text: 0 for not at
// all.
func textRank(kind, charset string) int {
	switch {
	case kind == "text/plain" && strings.EqualFold(charset, "utf-8"):
		return 4
	case kind == "text/plain" && charset == "":
		return 3
	case kind == "text/*":
		return 2
	case kind == "*/*":
		return 1
	}
	return 0
}

func weight(q string) float64 {
	if q == "" {
		return 1
	}
	value, _ := strconv.ParseFloat(q, 64) // what is no number weighs nothing
	return value
}
