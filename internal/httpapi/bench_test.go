package httpapi

import (
	"context"
	"strings"
	"testing"

	"holdfast/row"
)

// nowhere is a Store that keeps nothing, so that only the door is measured.
type nowhere struct{ rows int }

func (nowhere) Schema(table string, columns []row.Column) (*row.Schema, error) {
	return &row.Schema{Table: table, Columns: columns}, nil
}
func (nowhere) Columns(string) ([]row.Column, error)     { return nil, nil }
func (n *nowhere) Begin() Tx                             { n.rows = 0; return n }
func (n *nowhere) Insert(*row.Schema, []row.Value) error { n.rows++; return nil }
func (n *nowhere) Rows() int                             { return n.rows }
func (n *nowhere) Commit(context.Context, bool) error    { return nil }
func (n *nowhere) Rollback()                             {}

// BenchmarkPut reads a thousand rows of about 200 bytes in each format.
func BenchmarkPut(b *testing.B) {
	text := strings.Repeat("x", 80)
	for name, body := range map[string]string{
		ndjson: strings.Repeat(`{"caller":"alice","callee":"bob","seconds":42,"agent":"`+text+`","note":"`+text+`"}`+"\n", 1000),
		array:  "[" + strings.Repeat(`{"caller":"alice","callee":"bob","seconds":42,"agent":"`+text+`","note":"`+text+`"},`, 999) + `{"caller":"a"}]`,
		csv:    "caller,callee,seconds,agent,note\n" + strings.Repeat("alice,bob,42,\""+text+"\","+text+"\n", 1000),
	} {
		b.Run(strings.TrimPrefix(strings.TrimPrefix(strings.SplitN(name, ";", 2)[0], "application/"), "text/"), func(b *testing.B) {
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				if n, err := Put(b.Context(), &nowhere{}, Load{Table: "t", ContentType: name, Body: strings.NewReader(body)}); n != 1000 || err != nil {
					b.Fatal(n, err)
				}
			}
		})
	}
}
