package rejects

import (
	"math"
	"testing"
	"unicode/utf8"

	"holdfast/row"
)

// FuzzDecode gives the decoder values that nobody wrote: it refuses them, or
// reads what it would write itself.
func FuzzDecode(f *testing.F) {
	whole := event{
		kind: edited, state: StateOpen, id: 3, columns: 2, streamID: "id", stream: "main", sink: "pg", seq: 9, received: 1, flags: 3, table: "acc",
		code: "23505", why: "words", attempts: 2, edits: 1, refusedAt: 5, at: math.MaxInt64, note: "n",
	}
	for i := range eventColumns {
		f.Add(i, []byte("x"), false)
		f.Add(i, []byte(nil), true)
		f.Add(i, []byte("-1"), false)
		f.Add(i, []byte("18446744073709551616"), false)
	}
	f.Fuzz(func(t *testing.T, column int, text []byte, null bool) {
		s := &row.Schema{Columns: eventColumns}
		values := whole.values()
		if column < 0 {
			column = -(column + 1)
		}
		values[column%len(values)] = row.Value{Text: text, Null: null}
		ev, err := decode(layout(s), values[:len(values)-column%2])
		if err != nil {
			return
		}
		again, err := decode(layout(s), ev.values())
		if err != nil {
			t.Fatalf("%+v is not read as it was written: %v", ev, err)
		}
		ev.code, ev.why, ev.note = words(ev.code, maxCode), words(ev.why, maxWords), words(ev.note, maxWords)
		if again != ev {
			t.Fatalf("wrote %+v, read %+v", ev, again)
		}
	})
}

// FuzzWords holds that any words become a value.
func FuzzWords(f *testing.F) {
	f.Add("", 10)
	f.Add("é\x00\xff", 4)
	f.Fuzz(func(t *testing.T, s string, n int) {
		if n < 4 || n > 1<<20 {
			return
		}
		got := words(s, n)
		if len(got) > n || !utf8.ValidString(got) || len(s) <= n && utf8.ValidString(s) && got != s && words(s, n) == "" {
			t.Fatalf("%q of %q", got, s)
		}
		for _, c := range got {
			if c == 0 {
				t.Fatalf("a NUL in %q", got)
			}
		}
	})
}

// TestTimes holds that every time of receipt comes back, those included that a
// broken clock gave.
func TestTimes(t *testing.T) {
	for _, n := range []int64{0, 1, -1, 1_700_000_000_123_456, math.MinInt64, math.MaxInt64, -62_167_219_200_000_000, 253_402_300_799_999_999} {
		if got, err := unstamp(stamp(n)); got != n || err != nil {
			t.Errorf("%d became %d as %q, error %v", n, got, stamp(n), err)
		}
	}
}
