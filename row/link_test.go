package row_test

import (
	"math"
	"math/rand/v2"
	"strconv"
	"testing"

	"holdfast/row"
)

// TestParseLink holds links against strconv, at the ends of their range too.
func TestParseLink(t *testing.T) {
	texts := []string{"", "-", "+", "0", "007", "-0", "+5", "5.0", " 5", "5 ", "1e3", "9223372036854775807", "9223372036854775808",
		"-9223372036854775808", "-9223372036854775809", "99999999999999999999999", "--1", "٣"}
	r := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		texts = append(texts, strconv.FormatInt(int64(r.Uint64())>>r.IntN(64), 10))
	}
	for _, text := range texts {
		want, err := strconv.ParseInt(text, 10, 64)
		got, ok := row.ParseLink([]byte(text))
		if ok != (err == nil) || ok && got != want {
			t.Errorf("ParseLink(%q) = %d, %t; strconv says %d, %v", text, got, ok, want, err)
		}
	}
}

// TestLinkAt holds that any column's link is found by its offset, without memory.
func TestLinkAt(t *testing.T) {
	rec := row.AppendRecord(nil, row.KindRow, 9, 0, []row.Value{row.Null, row.Text("-12"), row.Text("x"), row.Text(strconv.Itoa(math.MaxInt64))})
	for at, want := range map[int]int64{1: -12, 3: math.MaxInt64} {
		if got, ok := row.LinkAt(rec, at); !ok || got != want {
			t.Errorf("column %d: %d, %t", at, got, ok)
		}
	}
	for _, at := range []int{-1, 0, 2, 4, 1 << 30} {
		if got, ok := row.LinkAt(rec, at); ok {
			t.Errorf("column %d has the link %d", at, got)
		}
	}
	for n := range rec { // cut off anywhere it must not panic
		row.LinkAt(rec[:n], 3)
	}
	if n := testing.AllocsPerRun(100, func() { row.LinkAt(rec, 3) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
