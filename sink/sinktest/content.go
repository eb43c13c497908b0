package sinktest

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"

	"holdfast/row"
)

// oddNames are what a client may call a table or a column, on purpose or by
// mistake. 63 bytes is the longest name that PostgreSQL has.
var oddNames = []string{
	`x"; DROP TABLE y;--`,
	`it's`,
	"a`b",
	"a b",
	"[x]",
	"select",
	"Order",
	"%s?;:$1",
	"a.b",
	"été中文🙂",
	strings.Repeat("n", 63),
	strings.Repeat("é", 31) + "n",
}

// contentRules are about what a row is when it has arrived.
var contentRules = []rule{
	{"tables and columns that are missing are created",
		"a row that was accepted must have a place to go; and rows of one table come in several schemas",
		func(t *testing.T, h Harness, d Destination) {
			n := attach(t, open(t, d), stream, "a", row.Position{})
			ab, b, bc := schema("t", "a", "b"), schema("t", "b"), schema("t", "c", "b")
			rows := []row.Row{
				{Seq: 1, Schema: ab, Values: []row.Value{row.Text("a1"), row.Text("b1")}},
				{Seq: 2, Schema: b, Values: []row.Value{row.Text("b2")}},
				{Seq: 3, Schema: bc, Values: []row.Value{row.Text("c3"), row.Text("b3")}},
				{Seq: 4, Schema: ab, Values: []row.Value{row.Text("a4"), row.Text("b4")}},
			}
			apply(t, n, rows...)
			apply(t, n, row.Row{Seq: 5, Schema: schema("t", "d", "a"), Values: []row.Value{row.Text("d5"), row.Text("a5")}})
			want := "[a1 b1 NULL NULL] [NULL b2 NULL NULL] [NULL b3 c3 NULL] [a4 b4 NULL NULL] [a5 NULL NULL d5]"
			if got := show(d.Rows(t, "t", "a", "b", "c", "d")); got != want {
				t.Fatalf("got  %s\nwant %s", got, want)
			}
		}},
	{"a schema is known by what it says, not by its address",
		"a reader decodes a schema anew in each segment",
		func(t *testing.T, h Harness, d Destination) {
			n := attach(t, open(t, d), stream, "a", row.Position{})
			var rows []row.Row
			for seq := uint64(1); seq <= 700; seq++ {
				rows = append(rows, numbered(schema("t", "v"), seq, seq)...)
			}
			apply(t, n, rows...)
			wantNumbered(t, d, "t", 700)
		}},
	{"NULL is not the empty string",
		"a database without a value is not one with an empty value",
		func(t *testing.T, h Harness, d Destination) {
			n := attach(t, open(t, d), stream, "a", row.Position{})
			apply(t, n,
				row.Row{Seq: 1, Schema: schema("t", "a", "b"), Values: []row.Value{row.Null, row.Text("")}},
				row.Row{Seq: 2, Schema: schema("t", "a", "b"), Values: []row.Value{{}, row.Text("NULL")}})
			got := d.Rows(t, "t", "a", "b")
			if !got[0][0].Null || got[0][1].Null || got[1][0].Null || len(got[1][0].Text) != 0 || string(got[1][1].Text) != "NULL" {
				t.Fatalf("got %s with NULLs %v %v %v", show(got), got[0][0].Null, got[0][1].Null, got[1][0].Null)
			}
		}},
	{"text arrives byte for byte",
		"Holdfast gives on what it was given; what looks like a number or like SQL is text all the same",
		func(t *testing.T, h Harness, d Destination) {
			values := []string{
				"007", "1.50", "+1", " 1 ", "1e5", "0x10", "NaN", "Infinity", "-0", "12345678901234567890.123", "99999999999999999999",
				"", " ", "NULL", "null", `\N`, `\\`, "'", "''", `"`, "`", "a\nb", "a\r\nb", "\t", "tab\there", ";--", "'); DROP TABLE t; --", "$1 ? :x %s",
				"été", "中文", "🙂", "e\u0301", "\u00a0", "\ufeffbom", "\x01\x7f", strings.Repeat("x", 1<<20), strings.Repeat("🙂", 1<<18),
			}
			random := rand.New(rand.NewPCG(1, 2))
			for range 200 {
				values = append(values, randomText(random))
			}
			n := attach(t, open(t, d), stream, "a", row.Position{})
			var rows []row.Row
			for i, v := range values {
				rows = append(rows, row.Row{Seq: uint64(i + 1), Schema: schema("t", "v"), Values: []row.Value{row.Text(v)}})
			}
			apply(t, n, rows...)
			for i, got := range d.Rows(t, "t", "v") {
				if got[0].Null || string(got[0].Text) != values[i] {
					t.Errorf("value %d: got %.60q, want %.60q", i, got[0], values[i])
				}
			}
		}},
	{"numbers keep their value",
		"a column for numbers must not round what does not fit the database's own numbers",
		func(t *testing.T, h Harness, d Destination) {
			values := []string{"0", "42", "-1", "9223372036854775807", "-9223372036854775808", "123456789012345", "1.5", "-0.25", "0.1"}
			s := &row.Schema{Table: "t", Columns: []row.Column{{Name: "v", Type: "numeric"}}}
			n := attach(t, open(t, d), stream, "a", row.Position{})
			var rows []row.Row
			for i, v := range values {
				rows = append(rows, row.Row{Seq: uint64(i + 1), Schema: s, Values: []row.Value{row.Text(v)}})
			}
			apply(t, n, rows...)
			wantColumn(t, d, "t", "v", values)
		}},
	{"odd names are names",
		"a name comes from a client, and must never be read as SQL or as another name",
		func(t *testing.T, h Harness, d Destination) {
			n := attach(t, open(t, d), stream, "a", row.Position{})
			apply(t, n, numbered(schema("y", "v"), 1, 1)...)
			seq := uint64(1)
			for _, name := range h.names() {
				seq++
				apply(t, n, numbered(schema(name, name, "v"), seq, seq)...)
				wantColumn(t, d, name, name, []string{fmt.Sprint(seq)})
				if d.Tables(t, name) != 1 {
					t.Errorf("there is no table %q", name)
				}
				seq++
				apply(t, n, numbered(schema("columns", name), seq, seq)...)
			}
			wantNumbered(t, d, "y", 1)
		}},
	{"many tables in one batch keep their order",
		"a batch is whatever clients wrote, table by table or mixed",
		func(t *testing.T, h Harness, d Destination) {
			const tables, each = 300, 20
			n := attach(t, open(t, d), stream, "a", row.Position{})
			var rows []row.Row
			want := map[string][]string{}
			random := rand.New(rand.NewPCG(3, 4))
			for seq := uint64(1); seq <= tables*each; seq++ {
				name := fmt.Sprintf("t%d", random.IntN(tables))
				if seq%7 == 0 {
					name = "hot"
				}
				s := schema(name, "v", "w")
				if seq%3 == 0 {
					s = schema(name, "w", "v")
				}
				rows = append(rows, numbered(s, seq, seq)...)
				want[name] = append(want[name], fmt.Sprint(seq))
			}
			apply(t, n, rows...)
			for name, column := range want {
				wantColumn(t, d, name, "v", column)
			}
		}},
	{"wide rows",
		"PostgreSQL takes up to 1600 columns, so clients have tables that have them",
		func(t *testing.T, h Harness, d Destination) {
			var names []string
			for i := range 1000 {
				names = append(names, fmt.Sprintf("c%d", i))
			}
			n := attach(t, open(t, d), stream, "a", row.Position{})
			apply(t, n, numbered(schema("wide", names...), 1, 70)...)
			wantColumn(t, d, "wide", "c0", upTo(70))
			wantColumn(t, d, "wide", "c999", upTo(70))
		}},
	{"a large batch takes little memory",
		"a client's transaction is one batch, and may be larger than memory",
		func(t *testing.T, h Harness, d Destination) {
			n := attach(t, open(t, d), stream, "a", row.Position{})
			s := schema("t", "v", "w")
			pad := row.Value{Text: bytes.Repeat([]byte("x"), 200)}
			end := row.Position{Seq: uint64(h.Large), Chain: 1}
			var before, peak uint64
			b := NewLargeBatch(h.Large, func(i int) row.Row {
				if i%(h.Large/20) == h.Large/40 {
					live := liveBytes()
					if before == 0 {
						before = live
					}
					peak = max(peak, live)
				}
				return row.Row{Seq: uint64(i + 1), Schema: s, Values: []row.Value{row.Text(fmt.Sprint(i + 1)), pad}}
			}, end)
			if err := n.Apply(context.Background(), b, new(Rejects)); err != nil {
				t.Fatalf("Apply of %d rows: %v", h.Large, err)
			}
			if grown := int64(peak) - int64(before); grown > 4<<20 {
				t.Errorf("the heap grew by %d bytes over %d rows, want less than 4 MiB", grown, h.Large)
			}
			if c := cursor(t, n); c.Position != end {
				t.Fatalf("cursor stands at %+v, want %+v", c.Position, end)
			}
			wantNumbered(t, d, "t", uint64(h.Large))
		}},
	{"a batch without rows moves the cursor",
		"the rows of a batch may all be for other sinks",
		func(t *testing.T, h Harness, d Destination) {
			n := attach(t, open(t, d), stream, "a", row.Position{})
			end := row.Position{Seq: 12, Chain: chain(12)}
			if err := n.Apply(context.Background(), NewBatch(nil, end), new(Rejects)); err != nil {
				t.Fatalf("Apply: %v", err)
			}
			if c := cursor(t, n); c.Position != end {
				t.Fatalf("cursor stands at %+v, want %+v", c.Position, end)
			}
		}},
}

// randomText returns up to 40 characters, many of them with a meaning somewhere.
func randomText(r *rand.Rand) string {
	const special = "'\"\\`;,|()%_$?:-+.0123456789eE \t\n\rNULLxé中🙂"
	runes := []rune(special)
	var b strings.Builder
	for range r.IntN(40) {
		b.WriteRune(runes[r.IntN(len(runes))])
	}
	return b.String()
}

func liveBytes() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func show(rows [][]row.Value) string {
	var parts []string
	for _, r := range rows {
		parts = append(parts, fmt.Sprint(r))
	}
	return strings.Join(parts, " ")
}
