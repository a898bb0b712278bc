package httpapi

import (
	"encoding/json"
	"math"
	"math/big"
	"strings"
	"testing"
	"time"
)

func TestParseInteger(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int64{
		"0": 0, "-0": 0, "2000": 2000, "-17": -17, "1.0": 1, "1e3": 1000, "1E+3": 1000, "12.50e1": 125, "-1.2e1": -12,
		"100e-2": 1, "0e999999999999": 0, "0.000": 0, "0.0001e4": 1, "0e-5": 0,
		"9223372036854775807": math.MaxInt64, "-9223372036854775808": math.MinInt64,
		"9.223372036854775807e18": math.MaxInt64, "922337203685477580700e-2": math.MaxInt64,
	} {
		if got, ok := parseInteger([]byte(text)); !ok || got != want {
			t.Errorf("%s: got %d %v, want %d", text, got, ok, want)
		}
	}
	for _, text := range []string{
		"", "1.5", `"1"`, "null", "true", "[]", "{}", "1e-1", "9223372036854775808", "-9223372036854775809", "1e19",
		"1e999999999", "-1e999999999999999999999", "1e-999999999999999999999", "0.1e-2147483648",
	} {
		if got, ok := parseInteger([]byte(text)); ok {
			t.Errorf("%s: taken as %d", text, got)
		}
	}
}

func FuzzParseInteger(f *testing.F) {
	for _, seed := range []string{"1", "1.0", "1e3", "1e999999999", "-0.0e-0", "12.50e1", "1e-400"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, ok := parseInteger([]byte(text))
		if !json.Valid([]byte(text)) || kindOf([]byte(text)) != "a number" || strings.TrimSpace(text) != text {
			return // it is only asked about values of valid JSON
		}
		_, exponent, _ := splitNumber(text)
		if exponent > 5000 || exponent < -5000 {
			return // too slow for the reference
		}
		exact, fine := new(big.Rat).SetString(text)
		if !fine {
			t.Skip("the reference does not take it")
		}
		if want := exact.IsInt() && exact.Num().IsInt64(); ok != want || ok && exact.Num().Int64() != got {
			t.Errorf("%s: got %d %v, want %v %v", text, got, ok, exact, want)
		}
	})
}

func TestMembers(t *testing.T) {
	t.Parallel()
	text := ` { "a" : "x\"}" , "b\u0062":[1,{"c":"]"},"}"],"n":-1.5e3 ,"t":true,"e":{},"f":[],"s":"","a":null } `
	want := []string{"a", `"x\"}"`, "bb", `[1,{"c":"]"},"}"]`, "n", "-1.5e3", "t", "true", "e", "{}", "f", "[]", "s", `""`, "a", "null"}
	var got []string
	for key, value := range members([]byte(text)) {
		got = append(got, key, string(value))
	}
	if strings.Join(got, "|") != strings.Join(want, "|") {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	for _, text := range []string{"", "[]", "1", `"{"`, "{}", " { } "} {
		for key := range members([]byte(text)) {
			t.Errorf("%q has a member %q", text, key)
		}
	}
}

func FuzzMembers(f *testing.F) {
	f.Add(`{"a":{"b":[1,"]"]},"c":"\\","d":1e5}`)
	f.Fuzz(func(t *testing.T, text string) {
		if !json.Valid([]byte(text)) {
			return // it is only asked about valid JSON
		}
		var want map[string]json.RawMessage
		if json.Unmarshal([]byte(text), &want) != nil {
			return
		}
		got := make(map[string]string)
		for key, value := range members([]byte(text)) {
			got[strings.ToValidUTF8(key, "\ufffd")] = string(value)
		}
		for key, value := range want {
			if got[key] != string(value) && strings.ToValidUTF8(text, "") == text {
				t.Errorf("%q: got %q, want %q", key, got[key], value)
			}
		}
	})
}

func TestElements(t *testing.T) {
	t.Parallel()
	var got []string
	for element := range elements([]byte(" [ 1 , [2,[3]] ,{\"a\":[4]},\"]\" ,null ] ")) {
		got = append(got, string(element))
	}
	if want := `1|[2,[3]]|{"a":[4]}|"]"|null`; strings.Join(got, "|") != want {
		t.Errorf("got %q, want %q", got, want)
	}
	for _, text := range []string{"", "{}", "1", "[]", " [ ] "} {
		for element := range elements([]byte(text)) {
			t.Errorf("%q has an element %q", text, element)
		}
	}
}

func TestAppendString(t *testing.T) {
	t.Parallel()
	var all strings.Builder
	all.WriteString("ü€😀 <b>&'\"\\/\u2028\x7f")
	for c := range rune(0x20) {
		all.WriteString(string(c))
	}
	quoted := appendString(nil, all.String())
	var back string
	if err := json.Unmarshal(quoted, &back); err != nil || back != all.String() {
		t.Errorf("%s: %q, %v", quoted, back, err)
	}
	if !strings.Contains(string(quoted), "<b>&") {
		t.Errorf("%s: HTML is escaped", quoted)
	}
}

func TestSinceTime_BeyondWhatCanBeStored(t *testing.T) {
	t.Parallel()
	for seconds, want := range map[int64]time.Time{
		math.MinInt64: {}, -210866803200: {}, 2000: time.Unix(2000, 0).UTC(), -62135596801: time.Unix(-62135596801, 0).UTC(),
	} {
		if got := sinceTime(seconds); !got.Equal(want) || got.IsZero() != want.IsZero() {
			t.Errorf("%d: %v, want %v", seconds, got, want)
		}
	}
	if got := sinceTime(-62135596800); got.IsZero() {
		t.Error("the beginning of the year 1 means any time")
	}
	if got := sinceTime(math.MaxInt64); got.Year() < 294276 {
		t.Errorf("the end of time is %v", got)
	}
}
