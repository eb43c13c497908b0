package row

import (
	"bytes"
	"testing"
)

// TestFlatForms holds both forms of flat text, byte for byte.
func TestFlatForms(t *testing.T) {
	for _, c := range []struct {
		name           string
		values         []Value
		flat, kamailio string
		bad            int
	}{
		{"plain", []Value{Text("INVITE"), Text(""), Text("200")}, "INVITE||200", "INVITE||200", -1},
		{"NULL and what looks like it", []Value{Null, Text(""), Text(`\N`), Text("NULL")}, `\N||\\N|NULL`, `||\N|NULL`, -1},
		{"bar", []Value{Text("Pipe|in|UA"), Text("%7C")}, `Pipe\x7Cin\x7CUA|%7C`, "Pipe%7Cin%7CUA|%7C", -1},
		{"backslash", []Value{Text(`back\slash\n`), Text(`\x7C`)}, `back\\slash\\n|\\x7C`, `back\slash\n|\x7C`, -1},
		{"line ends", []Value{Text("a"), Text("\r\n x|")}, `a|\r\n x\x7C`, "", 1},
		{"return alone", []Value{Text("a\rb")}, `a\rb`, "a\rb", -1},
		{"end of COPY", []Value{Text(`\.`)}, `\\.`, `\.`, -1},
		{"no values", nil, `\N`, "", -1},
		{"Unicode", []Value{Text("Ünïcödé ☎ UA"), Text("\t\x01")}, "Ünïcödé ☎ UA|\t\x01", "Ünïcödé ☎ UA|\t\x01", -1},
	} {
		if got := string(AppendFlat([]byte("x"), c.values)); got != "x"+c.flat {
			t.Errorf("%s: AppendFlat made %q, want %q", c.name, got[1:], c.flat)
		}
		got, bad := AppendKamailio([]byte("x"), c.values)
		if string(got) != "x"+c.kamailio || bad != c.bad {
			t.Errorf("%s: AppendKamailio made %q, %d, want %q, %d", c.name, got[1:], bad, c.kamailio, c.bad)
		}
		back, err := ParseFlat(nil, []byte(c.flat))
		if err != nil || len(c.values) > 0 && !sameValues(back, c.values) {
			t.Errorf("%s: ParseFlat gave %v, %v, want %v", c.name, back, err, c.values)
		}
		if n := FlatFields([]byte(c.flat)); n != max(len(c.values), 1) {
			t.Errorf("%s: FlatFields counts %d", c.name, n)
		}
	}
}

// TestFlatRefuses holds that what AppendFlat never makes is no row.
func TestFlatRefuses(t *testing.T) {
	for _, line := range []string{`\`, `a\`, `\a`, `\x`, `\x7`, `\x7c`, `\x41`, `\N\`, `a\N`, `ok|\q`} {
		if values, err := ParseFlat(nil, []byte(line)); err == nil {
			t.Errorf("ParseFlat of %q gave %v and no error", line, values)
		}
	}
}

// FuzzFlat holds that every row has one line and comes back from it, and that
// every line that is read is the one that would be written.
func FuzzFlat(f *testing.F) {
	f.Add([]byte("a"), []byte(`\N`), true)
	f.Add([]byte("|\\\r\n"), []byte(""), false)
	f.Fuzz(func(t *testing.T, a, b []byte, null bool) {
		values := []Value{{Text: a}, {Null: null}, {Text: b}}
		line := AppendFlat(nil, values)
		if bytes.IndexByte(line, '\n') >= 0 || FlatFields(line) != 3 {
			t.Fatalf("%q is not one line of 3 fields", line)
		}
		back, err := ParseFlat(nil, line)
		if err != nil || !sameValues(back, values) {
			t.Fatalf("%q came back as %v, %v", values, back, err)
		}
		if back, err = ParseFlat(nil, a); err == nil && bytes.IndexByte(a, '\n') < 0 && bytes.IndexByte(a, '\r') < 0 {
			if again := AppendFlat(nil, back); !bytes.Equal(again, a) {
				t.Fatalf("%q was read as %v, which is written %q", a, back, again)
			}
		}
	})
}

func sameValues(a, b []Value) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i].Null != b[i].Null || !a[i].Null && !bytes.Equal(a[i].Text, b[i].Text) {
			return false
		}
	}
	return true
}
