package mcache

import (
	"context"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"holdfast/internal/mcache"
	"holdfast/row"
	"holdfast/sink/sinktest"
)

// TestMessages holds how rows become messages, that one too large is refused by
// itself, and that a reader leaves no file behind when the sink is closed.
func TestMessages(t *testing.T) {
	dir := t.TempDir()
	s, err := Open("mcache:"+dir, Options{Dir: filepath.Join(t.TempDir(), "state")})
	if err != nil {
		t.Fatal(err)
	}
	n, err := s.Attach(context.Background(), theID, "a", row.Position{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	xdas := &row.Schema{Table: "xdas", Columns: []row.Column{{Name: "flags"}, {Name: "msg"}, {Name: "hdr_0"}}}
	other := &row.Schema{Table: "a:b", Columns: []row.Column{{Name: "x=y"}, {Name: "z"}}}
	batch := []row.Row{
		{Seq: 1, Schema: xdas, Values: []row.Value{row.Text("7"), row.Text("HDR:1:ORG:%3A:END"), row.Text("ignored")}},
		{Seq: 2, Schema: other, Values: []row.Value{row.Text("100%:\n"), row.Null}},
		{Seq: 3, Schema: other, Values: []row.Value{row.Text(strings.Repeat("x", 65_461)), row.Null}},
		{Seq: 4, Schema: xdas, Values: []row.Value{row.Text("-1"), row.Text("x"), row.Null}},
		{Seq: 5, Schema: xdas, Values: []row.Value{row.Null, row.Text(strings.Repeat("f:", 40) + "end"), row.Null}},
		{Seq: 6, Schema: xdas, Values: []row.Value{row.Null, row.Text(strings.Repeat("m", mcache.MaxMessage-1)), row.Null}},
		{Seq: 7, Schema: xdas, Values: []row.Value{row.Null, row.Text(strings.Repeat("m", mcache.MaxMessage)), row.Null}},
	}
	rejects := new(sinktest.Rejects)
	if err := n.Apply(context.Background(), sinktest.NewBatch(batch, row.Position{Seq: 7}), rejects); err != nil {
		t.Fatal(err)
	}
	got := read(t, dir)
	want := [][]string{
		{"HDR:", "1:", "ORG:", "%3A:", "END"},
		{"a%3Ab:", "x%3Dy=100%25%3A%0A:", "z"},
		append(strings.SplitAfter(strings.Repeat("f:", 32), ":")[:32], strings.Repeat("f:", 8)+"end"),
		{strings.Repeat("m", mcache.MaxMessage-1)},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("messages are %.300q, want %.300q", got, want)
	}
	q, err := mcache.Open(dir, mcache.Options{})
	if err != nil {
		t.Fatal(err)
	}
	b, err := q.Next(1 << 20)
	if err != nil || b.Records[0].Flags != 7 || b.Records[1].Flags != 0 {
		t.Fatalf("%v, flags %v", err, b.Records)
	}
	if err := q.Ack(b); err != nil {
		t.Fatal(err)
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	_ = q.Close()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*")); len(left) > 0 {
		t.Errorf("%q is left", left)
	}
}
