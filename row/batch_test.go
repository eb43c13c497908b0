package row

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

var calls = &Schema{ID: 4, Table: "calls", Columns: []Column{{Name: "caller"}, {Name: "callee"}, {Name: "seconds", Type: "numeric"}}}

// records cuts a batch's bytes into parsed records.
func records(t *testing.T, b *Batch) []Record {
	t.Helper()
	var all []Record
	for rest := b.Bytes(); len(rest) > 0; {
		n, err := Length(rest)
		if err != nil {
			t.Fatal(err)
		}
		r, err := Parse(rest[:n], 0)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, r)
		rest = rest[n:]
	}
	return all
}

func TestBatchHoldsItsRows(t *testing.T) {
	var b Batch
	for round := range 3 {
		b.Reset()
		value := []byte("alice")
		for i := range 100 {
			if err := b.Add(calls, 0, []Value{{Text: value}, Null, Text(fmt.Sprint(round, i))}); err != nil {
				t.Fatal(err)
			}
		}
		copy(value, "mutat") // what was added was copied
		b.MarkLast(TxEnd)
		got := records(t, &b)
		if len(got) != 100 || b.Rows() != 100 || b.Len() != len(b.Bytes()) {
			t.Fatalf("%d records, %d rows, %d bytes", len(got), b.Rows(), b.Len())
		}
		for i, r := range got {
			want := []Value{Text("alice"), Null, Text(fmt.Sprint(round, i))}
			if !same(r.AppendValues(nil), want) || r.Schema != calls.ID || r.Kind != KindRow {
				t.Fatalf("row %d is %v of schema %d", i, r.AppendValues(nil), r.Schema)
			}
			if last := i == 99; last != (r.Flags == TxEnd) {
				t.Fatalf("row %d has flags %d", i, r.Flags)
			}
		}
	}
}

// TestCut drops rows and goes on as if they had never been.
func TestCut(t *testing.T) {
	for n := range 6 {
		var cut, plain Batch
		for i := range 5 {
			if i == 1 {
				cut.MarkLast(TxBegin)
			}
			if err := cut.Add(calls, 0, []Value{Text(fmt.Sprint(i)), Null, Text("42")}); err != nil {
				t.Fatal(err)
			}
			if i < n {
				if i == 1 {
					plain.MarkLast(TxBegin)
				}
				if err := plain.Add(calls, 0, []Value{Text(fmt.Sprint(i)), Null, Text("42")}); err != nil {
					t.Fatal(err)
				}
			}
		}
		cut.Cut(n)
		for _, b := range []*Batch{&cut, &plain} {
			if b.Rows() == 1 {
				b.MarkLast(TxBegin)
			}
			if err := b.Add(calls, Yields, []Value{Null, Null, Null}); err != nil {
				t.Fatal(err)
			}
			b.MarkLast(TxEnd)
		}
		if cut.Rows() != plain.Rows() || !bytes.Equal(cut.Bytes(), plain.Bytes()) {
			t.Fatalf("cut to %d rows: %d rows, want %d", n, cut.Rows(), plain.Rows())
		}
		records(t, &cut)
	}
	var b Batch
	for range 2 {
		if err := b.Add(calls, TxBegin, []Value{Null, Null, Null}); err != nil {
			t.Fatal(err)
		}
	}
	b.Cut(1)
	if got := records(t, &b); len(got) != 1 || got[0].Flags != 0 {
		t.Fatalf("the row left has flags %d", got[0].Flags)
	}
}

func TestBatchNamesEachSchemaOnce(t *testing.T) {
	var b Batch
	for round := range 2 {
		var all []*Schema
		for i := range 3 * fewSchemas {
			all = append(all, &Schema{ID: uint32(round*1000 + i), Table: fmt.Sprint("t", i), Columns: calls.Columns[:1]})
		}
		for range 3 {
			for _, s := range all {
				if err := b.Add(s, 0, []Value{Null}); err != nil {
					t.Fatal(err)
				}
			}
		}
		if got := b.Schemas(); len(got) != len(all) {
			t.Fatalf("%d schemas, want %d", len(got), len(all))
		} else {
			for i := range got {
				if got[i] != all[i] {
					t.Fatalf("schema %d is %q", i, got[i].Table)
				}
			}
		}
		b.Reset()
		if len(b.Schemas()) != 0 || b.Rows() != 0 || b.Len() != 0 {
			t.Fatal("an emptied batch is not empty")
		}
	}
}

func TestBatchRefuses(t *testing.T) {
	wide := &Schema{ID: 1, Table: "wide", Columns: make([]Column, MaxValues+1)}
	one := &Schema{ID: 2, Table: "one", Columns: calls.Columns[:1]}
	fits := strings.Repeat("x", MaxBytes-RecordHead-4)
	for _, c := range []struct {
		name   string
		schema *Schema
		values []Value
		want   string // in the error; "": none
	}{
		{"too few values", calls, []Value{Null}, `"calls": 1 values for 3 columns`},
		{"too many values", one, []Value{Null, Null}, `"one": 2 values for 1 columns`},
		{"more columns than there can be", wide, make([]Value, MaxValues+1), `"wide": 4097 values`},
		{"a row that just fits", one, []Value{Text(fits)}, ""},
		{"a byte more", one, []Value{Text(fits + "x")}, `"one": the row takes 8388609 bytes`},
	} {
		t.Run(c.name, func(t *testing.T) {
			var b Batch
			if err := b.Add(calls, 0, []Value{Text("a"), Text("b"), Text("c")}); err != nil {
				t.Fatal(err)
			}
			before := bytes.Clone(b.Bytes())
			err := b.Add(c.schema, 0, c.values)
			if c.want == "" {
				if err != nil || b.Rows() != 2 {
					t.Fatalf("%d rows, error %v", b.Rows(), err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("error %v, want %q in it", err, c.want)
			}
			if b.Rows() != 1 || !bytes.Equal(b.Bytes(), before) || len(b.Schemas()) != 1 {
				t.Fatal("a refused row changed the batch")
			}
		})
	}
}

func TestMarkLastOfNothing(t *testing.T) {
	var b Batch
	b.MarkLast(TxEnd)
	if b.Len() != 0 {
		t.Fatal("a flag without a row")
	}
}

// TestAddAllocatesNothing holds the promise that no row costs an allocation.
func TestAddAllocatesNothing(t *testing.T) {
	var b Batch
	values := []Value{Text("alice"), Text("bob"), Text("42")}
	if n := testing.AllocsPerRun(100, func() {
		b.Reset()
		for range 100 {
			if err := b.Add(calls, TxBegin, values); err != nil {
				t.Fatal(err)
			}
		}
		b.MarkLast(TxEnd)
	}); n != 0 {
		t.Fatalf("%v allocations for a hundred rows", n)
	}
}

// TestResetGivesMemoryBack holds that one large transaction does not keep its
// memory for ever.
func TestResetGivesMemoryBack(t *testing.T) {
	var b Batch
	one := &Schema{ID: 1, Table: "t", Columns: calls.Columns[:1]}
	if err := b.Add(one, 0, []Value{Text(strings.Repeat("x", 1<<20))}); err != nil {
		t.Fatal(err)
	}
	b.Reset()
	if cap(b.buf) > keepBuffer {
		t.Fatalf("an emptied batch holds %d bytes", cap(b.buf))
	}
}

func BenchmarkBatchAdd(b *testing.B) {
	var batch Batch
	values := []Value{Text(strings.Repeat("a", 90)), Text(strings.Repeat("b", 90)), Text("42")}
	b.SetBytes(int64(Size(values)))
	b.ReportAllocs()
	for i := range b.N {
		if i%100 == 0 {
			batch.Reset()
		}
		if err := batch.Add(calls, 0, values); err != nil {
			b.Fatal(err)
		}
	}
}
