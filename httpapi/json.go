package httpapi

import (
	"bytes"
	"encoding/json"
	"iter"
	"math"
	"strconv"
	"strings"
)

// encoding/json decodes structs by keys in any case and hides which key was
// missing, so members of an object are walked here, over JSON that it has
// already found valid.

// members yields the members of an object in order, with their values as they
// were written. The text must be valid JSON; of anything but an object it
// yields nothing.
func members(text []byte) iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		i := skipBlank(text, 0)
		if i == len(text) || text[i] != '{' {
			return
		}
		i = skipBlank(text, i+1)
		for i < len(text) && text[i] != '}' {
			end := skipValue(text, i)
			key := unquote(text[i:end])
			i = skipBlank(text, skipBlank(text, end)+1) // the colon
			end = skipValue(text, i)
			if !yield(key, text[i:end:end]) {
				return
			}
			i = skipBlank(text, end)
			if i < len(text) && text[i] == ',' {
				i = skipBlank(text, i+1)
			}
		}
	}
}

// elements yields the elements of a list in order, as they were written. The
// text must be valid JSON; of anything but a list it yields nothing.
func elements(text []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		i := skipBlank(text, 0)
		if i == len(text) || text[i] != '[' {
			return
		}
		i = skipBlank(text, i+1)
		for i < len(text) && text[i] != ']' {
			end := skipValue(text, i)
			if !yield(text[i:end:end]) {
				return
			}
			i = skipBlank(text, end)
			if i < len(text) && text[i] == ',' {
				i = skipBlank(text, i+1)
			}
		}
	}
}

func skipBlank(text []byte, i int) int {
	for i < len(text) && (text[i] == ' ' || text[i] == '\n' || text[i] == '\t' || text[i] == '\r') {
		i++
	}
	return i
}

// skipValue returns where the value that begins at i ends.
func skipValue(text []byte, i int) int {
	depth := 0
	for i < len(text) {
		switch text[i] {
		case '"':
			i = skipString(text, i)
		case '{', '[':
			depth++
			i++
		case '}', ']':
			depth--
			i++
		case ',', ':', ' ', '\n', '\t', '\r':
			i++
		default:
			i = skipScalar(text, i)
		}
		if depth <= 0 {
			return i
		}
	}
	return i
}

func skipString(text []byte, i int) int {
	for i++; i < len(text) && text[i] != '"'; i++ {
		if text[i] == '\\' {
			i++
		}
	}
	return min(i+1, len(text))
}

func skipScalar(text []byte, i int) int {
	if n := bytes.IndexAny(text[i:], ",:]} \n\t\r"); n >= 0 {
		return i + n
	}
	return len(text)
}

// unquote returns the value of a valid JSON string.
func unquote(quoted []byte) string {
	if len(quoted) >= 2 && bytes.IndexByte(quoted, '\\') < 0 {
		return string(quoted[1 : len(quoted)-1])
	}
	var s string
	_ = json.Unmarshal(quoted, &s) // it is valid
	return s
}

// kindOf names what a valid JSON value is.
func kindOf(value []byte) string {
	switch i := skipBlank(value, 0); {
	case i == len(value):
		return "nothing"
	case value[i] == '{':
		return "an object"
	case value[i] == '[':
		return "a list"
	case value[i] == '"':
		return "a string"
	case value[i] == 't', value[i] == 'f':
		return "a boolean"
	case value[i] == 'n':
		return "null"
	default:
		return "a number"
	}
}

// parseString returns the value of a JSON string.
func parseString(value []byte) (string, bool) {
	if len(value) == 0 || value[0] != '"' {
		return "", false
	}
	return unquote(value), true
}

// parseInteger returns the value of a JSON number that is an integer of 64
// bits, however it is written: 1.0 and 1e3 count. Its cost depends on the
// length of the text alone, not on the exponent.
func parseInteger(value []byte) (int64, bool) {
	text := string(value)
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return n, text[0] != '+'
	}
	mantissa, exponent, ok := splitNumber(text)
	if !ok {
		return 0, false
	}
	whole, fraction, _ := strings.Cut(strings.TrimPrefix(mantissa, "-"), ".")
	digits := strings.TrimLeft(whole+fraction, "0")
	scale := exponent - len(fraction)
	trimmed := strings.TrimRight(digits, "0")
	scale += len(digits) - len(trimmed)
	switch {
	case trimmed == "":
		return 0, true
	case scale < 0, len(trimmed)+scale > len("9223372036854775807"):
		return 0, false
	}
	sign := mantissa[:len(mantissa)-len(strings.TrimPrefix(mantissa, "-"))]
	n, err := strconv.ParseInt(sign+trimmed+strings.Repeat("0", scale), 10, 64)
	return n, err == nil
}

// splitNumber parts a JSON number at its exponent. An exponent too large to
// matter is cut to one that is still beyond every integer.
func splitNumber(text string) (mantissa string, exponent int, ok bool) {
	if text == "" || text[0] != '-' && (text[0] < '0' || text[0] > '9') {
		return "", 0, false // not a number
	}
	at := strings.IndexAny(text, "eE")
	if at < 0 {
		return text, 0, true
	}
	n, err := strconv.ParseInt(text[at+1:], 10, 32)
	if err != nil {
		n = math.MaxInt32
		if strings.HasPrefix(text[at+1:], "-") {
			n = math.MinInt32
		}
	}
	return text[:at], int(n), true
}

// appendString appends a JSON string. Unlike encoding/json it leaves HTML's
// characters as they are.
func appendString(dst []byte, s string) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	done := 0
	for i := range len(s) {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' {
			continue
		}
		dst = append(dst, s[done:i]...)
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\t':
			dst = append(dst, '\\', 't')
		case '\r':
			dst = append(dst, '\\', 'r')
		default:
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&0xf])
		}
		done = i + 1
	}
	return append(append(dst, s[done:]...), '"')
}
