package httpapi

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"example.com/notifier/notifier"
)

func TestDRPFilter_Grammar(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		filter string
		events string // type action key, parted by |: those it wants; after !, those it does not
	}{
		{`*.*.*`, `a|b|c || websocket|register|x`},
		{`a.b.c`, `a|b|c ! A|b|c a|B|c a|b|C ab|b|c a|b| |b|c`},
		{`a.*.*`, `a|b|c a|| ! b|b|c aa|b|c |b|c`},
		{`*.b.*`, `x|b|y ! b|x|b`},
		{`*.*.c`, `x|y|c ! c|c|x`},
		{`a.b.c.d`, `a|b|c.d ! a|b|c a.b|c|d`},
		{`a.b.*.d`, `a|b|*.d ! a|b|c.d`},
		{`a.b..`, `a|b|. ! a|b|`},
		{`..`, `|| ! a|| |a| ||a`},
		{`a,b.c,d.e,f`, `a|c|e b|d|f a|d|f ! a,b|c|e e|c|a c|a|e`},
		{`a,*.b.c`, `*|b|c a|b|c ! x|b|c`},
		{`mach*.*.*`, `mach*|x|y ! machines|x|y`},
		{`*,.*.*`, `*|x|y |x|y ! a|x|y`},
		{` * .x.y`, `*|x|y ! a|x|y`},
		{`a, b ,c.x.y`, `a|x|y b|x|y c|x|y ! x|x|y`},
		{`,.x.y`, `|x|y ! ,|x|y`},
		{`a\1b.c\1d.e\1f`, `a.b|c.d|e.f ! a|b|c`},
		{`a\2b,c.x.y`, `a,b|x|y c|x|y ! a|x|y b|x|y`},
		{`\3.x.y`, `*|x|y ! a|x|y`},
		{`\3,a.x.\1\2\3`, `*|x|.,* a|x|.,* ! *|x|*`},
		{`\4.\\1.\`, `\4|\.|\ ! 4|.|\`},
		{`\11.\12.\\2`, `.1|.2|\, ! .|.|,`},
		{`*.*. a `, `x|y|a`},
	} {
		filter, ok := parseDRPFilter(c.filter)
		if !ok {
			t.Errorf("%q is no filter", c.filter)
			continue
		}
		wanted := true
		for text := range strings.FieldsSeq(c.events) {
			if text == "!" {
				wanted = false
				continue
			}
			parts := strings.Split(text, "|")
			e := notifier.Event{Type: parts[0], Action: parts[1], Key: parts[2]}
			if got := filter.Matches(&e); got != wanted {
				t.Errorf("%q wants %q: %t", c.filter, text, got)
			}
		}
	}
	for _, text := range []string{"", "*", "a", "a.b", "*.*", ".", "a,b,c"} {
		if _, ok := parseDRPFilter(text); ok {
			t.Errorf("%q is a filter", text)
		}
	}
}

// matchesDRP says what a filter means, letter by letter and without any list.
func matchesDRP(filter string, values [3]string) bool {
	for i, value := range values {
		part, rest := filter, ""
		if i < 2 {
			at := strings.IndexByte(filter, '.')
			if at < 0 {
				return false
			}
			part, rest = filter[:at], filter[at+1:]
		}
		if part != "*" && !hasDRPLiteral(part, value) {
			return false
		}
		filter = rest
	}
	return true
}

func hasDRPLiteral(list, value string) bool {
	var literal strings.Builder
	for i := 0; i <= len(list); i++ {
		switch {
		case i == len(list) || list[i] == ',':
			if strings.TrimFunc(literal.String(), unicode.IsSpace) == value {
				return true
			}
			literal.Reset()
		case list[i] == '\\' && i+1 < len(list) && list[i+1] >= '1' && list[i+1] <= '3':
			i++
			literal.WriteByte(".,*"[list[i]-'1'])
		default:
			literal.WriteByte(list[i])
		}
	}
	return false
}

// A filter matches exactly what the grammar says, in the hub's terms.
func FuzzDRPFilter(f *testing.F) {
	for _, seed := range [][4]string{
		{"*.*.*", "a", "b", "c"}, {`a,b.c\1d.*`, "b", "c.d", ""}, {`\3, x ,.\\2.a.b.c`, "*", `\,`, "a.b.c"}, {"a.b", "a", "b", ""}, {" * .,.,", "*", "", ""},
	} {
		f.Add(seed[0], seed[1], seed[2], seed[3])
	}
	f.Fuzz(func(t *testing.T, text, eventType, action, key string) {
		filter, ok := parseDRPFilter(text)
		e := notifier.Event{Type: eventType, Action: action, Key: key}
		got, want := ok && filter.Matches(&e), matchesDRP(text, [3]string{eventType, action, key})
		if got != want {
			t.Errorf("%q wants (%q, %q, %q): %t", text, eventType, action, key, got)
		}
		if n := len(filter.Types) + len(filter.Actions) + len(filter.Keys); n > len(text)+3 {
			t.Errorf("%d values of %d bytes", n, len(text))
		}
	})
}

// Whatever a client sends, it is a command exactly if it says so, and then it is
// acknowledged with its own text.
func FuzzDRPDecode(f *testing.F) {
	for _, seed := range []string{
		"register *.*.*", "deregister a.b.c", " register  a.b ", "register", "register ", "Register x.y.z", "", "register \xff", "register a\x00.\n.\u2028x", "deregister a",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, message []byte) {
		cmd, err := drp{}.decode(message)
		if err != nil || cmd.fault != nil || cmd.shown || cmd.replay || cmd.about != nil || cmd.user != "" {
			t.Fatalf("%+v, %v", cmd, err)
		}
		fields := strings.SplitN(strings.TrimSpace(string(message)), " ", 2)
		isCommand := len(fields) == 2 && (fields[0] == "register" || fields[0] == "deregister") && strings.TrimSpace(fields[1]) != "" && utf8.Valid(message)
		if isCommand != (cmd.action != nothing) {
			t.Fatalf("%q is a command: %t", message, isCommand)
		}
		frame := drp{}.reply(cmd, result{}, nil)
		if !isCommand {
			if frame != nil {
				t.Errorf("%q was answered", message)
			}
			return
		}
		said := drpMessage(t, frame)
		if said.Type != "websocket" || said.Action != fields[0] || said.Key != strings.TrimSpace(fields[1]) {
			t.Errorf("%q was answered by %+v", message, said)
		}
		if cmd.action == subscribe && len(cmd.wants) > 0 && strings.Count(cmd.wants[0].name, ".") < 2 {
			t.Errorf("%q wants something", message)
		}
	})
}
