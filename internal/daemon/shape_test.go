package daemon

import (
	"os"
	"reflect"
	"testing"

	"holdfast"
)

func TestShape(t *testing.T) {
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	got := shape(parsed(t, `sinks:
  a:
    type: sqlite
    path: /a
    tables: ["acc*"]
    rename: {tables: {acc: calls}, columns: {acc.src: source}}
    add: {f: $host, a: $seq, b: $received_at, c: $stream, d: $$5, e: plain}
`).Sinks["a"])
	want := holdfast.Shape{
		Tables: []string{"acc*"}, Rename: map[string]string{"acc": "calls"}, Columns: map[string]string{"acc.src": "source"},
		Add: []holdfast.Added{
			{Column: "a", Fill: holdfast.AddSeq}, {Column: "b", Fill: holdfast.AddReceivedAt}, {Column: "c", Fill: holdfast.AddStream},
			{Column: "d", Text: "$5"}, {Column: "e", Text: "plain"}, {Column: "f", Text: host},
		},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}
