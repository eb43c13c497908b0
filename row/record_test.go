package row

import (
	"bytes"
	"encoding/binary"
	"reflect"
	"strings"
	"testing"
)

// samples are values that a record must give back as they were.
var samples = []struct {
	name   string
	values []Value
}{
	{"none", nil},
	{"one", []Value{Text("alice")}},
	{"an empty string is not NULL", []Value{Text(""), Null, Text(""), Null}},
	{"only NULL", []Value{Null, Null, Null}},
	{"NULL between", []Value{Text("a"), Null, Text("bc"), Null, Text("d")}},
	{"any bytes", []Value{{Text: []byte{0xff, 0, '\n', '\t'}}, Text("ä日本")}},
	{"long", []Value{Text(strings.Repeat("x", 100_000)), Text("y")}},
	{"as many as there can be", make([]Value, MaxValues)},
}

func same(a, b []Value) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i].Null != b[i].Null || !bytes.Equal(a[i].Text, b[i].Text) {
			return false
		}
	}
	return true
}

func TestRecordRoundTrip(t *testing.T) {
	for _, s := range samples {
		t.Run(s.name, func(t *testing.T) {
			rec := AppendRecord([]byte("before"), KindRow, 7, TxBegin|Malformed, s.values)[len("before"):]
			if len(rec) != Size(s.values) {
				t.Fatalf("record has %d bytes, Size says %d", len(rec), Size(s.values))
			}
			Stamp(rec, 123456, 0)
			n, err := Length(append(bytes.Clone(rec), "behind"...))
			if err != nil || n != len(rec) {
				t.Fatalf("length %d, error %v, want %d", n, err, len(rec))
			}
			r, err := Parse(rec, 0)
			if err != nil {
				t.Fatal(err)
			}
			if r.Kind != KindRow || r.Schema != 7 || r.Flags != TxBegin|Malformed || r.Index != 123456 || r.Len() != len(s.values) {
				t.Fatalf("record says %+v", r)
			}
			if got := r.AppendValues(nil); !same(got, s.values) {
				t.Fatalf("got %v, want %v", got, s.values)
			}
			for i := len(s.values) - 1; i >= 0; i-- { // any value without the others
				if got := r.Value(i); !same([]Value{got}, s.values[i:i+1]) {
					t.Fatalf("value %d is %v, want %v", i, got, s.values[i])
				}
			}
		})
	}
}

// TestEveryFlippedBitIsNoticed holds the promise that a flipped bit is found,
// wherever in a record it is.
func TestEveryFlippedBitIsNoticed(t *testing.T) {
	for _, index := range []uint32{0, 1, 4711, 1<<32 - 1} {
		rec := AppendRecord(nil, KindRow, 3, TxEnd, []Value{Text("alice"), Null, Text("42"), Text("")})
		Stamp(rec, index, 0)
		for bit := range len(rec) * 8 {
			rec[bit/8] ^= 1 << (bit % 8)
			if _, err := Parse(rec, 0); err == nil {
				t.Errorf("index %d: bit %d flipped and nobody noticed", index, bit)
			}
			rec[bit/8] ^= 1 << (bit % 8)
		}
		if _, err := Parse(rec, 0); err != nil {
			t.Fatalf("index %d: the record itself is refused: %v", index, err)
		}
	}
}

// TestParseRefuses holds what no checksum protects from: records whose
// checksum is right and whose numbers cannot be.
func TestParseRefuses(t *testing.T) {
	base := func() []byte { return AppendRecord(nil, KindRow, 1, 0, []Value{Text("ab"), Text("cd")}) }
	for _, c := range []struct {
		name   string
		damage func(rec []byte)
	}{
		{"more values than bytes", func(rec []byte) { binary.LittleEndian.PutUint32(rec[20:], 1<<31) }},
		{"one value more", func(rec []byte) { binary.LittleEndian.PutUint32(rec[20:], 3) }},
		{"one value less", func(rec []byte) { binary.LittleEndian.PutUint32(rec[20:], 1) }},
		{"ends fall", func(rec []byte) { binary.LittleEndian.PutUint32(rec[24:], 5) }},
		{"last end too low", func(rec []byte) { binary.LittleEndian.PutUint32(rec[28:], 3) }},
		{"last end too high", func(rec []byte) { binary.LittleEndian.PutUint32(rec[28:], 1<<30) }},
	} {
		rec := base()
		c.damage(rec)
		binary.LittleEndian.PutUint32(rec[8:], sum(rec))
		if _, err := Parse(rec, 0); err == nil {
			t.Errorf("%s: accepted", c.name)
		}
	}
	rec := base()
	for n := range len(rec) {
		if _, err := Parse(rec[:n], 0); err == nil {
			t.Errorf("cut off after %d bytes: accepted", n)
		}
	}
	if _, err := Parse(append(rec, 0), 0); err == nil {
		t.Error("with a byte behind it: accepted")
	}
}

func TestLengthRefuses(t *testing.T) {
	buf := make([]byte, 64)
	for _, n := range []uint32{0, 1, RecordHead - 1, 65, MaxBytes + 1, 1 << 31, 1<<32 - 1} {
		binary.LittleEndian.PutUint32(buf, n)
		if got, err := Length(buf); err == nil {
			t.Errorf("length %d in 64 bytes: got %d", n, got)
		}
	}
}

// TestStampMatters holds that a record copied over another one of the same
// block does not pass, once its index is checked: two indexes give two
// checksums.
func TestStampMatters(t *testing.T) {
	one := AppendRecord(nil, KindRow, 1, 0, []Value{Text("a")})
	two := bytes.Clone(one)
	Stamp(one, 1, 0)
	Stamp(two, 2, 0)
	copy(two[4:8], one[4:8]) // the index alone
	if _, err := Parse(two, 0); err == nil {
		t.Fatal("a record passes under the index of another")
	}
}

func TestSchemaRoundTrip(t *testing.T) {
	for _, s := range []*Schema{
		{ID: 1, Table: "calls"},
		{ID: 1<<32 - 1, Table: "a\"b", Columns: []Column{{Name: "x", Type: "text"}, {Name: "y"}, {Name: "ä", Type: "varchar(64)"}}},
	} {
		rec, err := Parse(AppendSchema(nil, s), 0)
		if err != nil {
			t.Fatal(err)
		}
		got, err := ParseSchema(rec)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, s) {
			t.Fatalf("got %+v, want %+v", got, s)
		}
	}
	for name, rec := range map[string][]byte{
		"a row":          AppendRecord(nil, KindRow, 1, 0, []Value{Text("t")}),
		"without values": AppendRecord(nil, KindSchema, 1, 0, nil),
		"half a column":  AppendRecord(nil, KindSchema, 1, 0, []Value{Text("t"), Text("c")}),
	} {
		r, err := Parse(rec, 0)
		if err != nil {
			t.Fatal(err)
		}
		if s, err := ParseSchema(r); err == nil {
			t.Errorf("%s was taken for the schema %+v", name, s)
		}
	}
}

func TestSchemaKeys(t *testing.T) {
	col := func(names ...string) (all []Column) {
		for _, n := range names {
			name, typ, _ := strings.Cut(n, " ")
			all = append(all, Column{Name: name, Type: typ})
		}
		return all
	}
	distinct := []*Schema{
		{Table: "t"}, {Table: "u"}, {Table: "t", Columns: col("a")}, {Table: "t", Columns: col("a", "b")}, {Table: "t", Columns: col("b", "a")},
		{Table: "t", Columns: col("ab")}, {Table: "t", Columns: col("a int")}, {Table: "t", Columns: col("a", "b int")}, {Table: "t", Columns: col("a int", "b")},
	}
	seen := map[string]int{}
	for i, s := range distinct {
		if j, ok := seen[s.Key()]; ok {
			t.Errorf("%+v and %+v have one key", s, distinct[j])
		}
		seen[s.Key()] = i
		if again := (&Schema{ID: 9, Table: s.Table, Columns: s.Columns}); again.Key() != s.Key() {
			t.Errorf("equal schemas have two keys: %q, %q", s.Key(), again.Key())
		}
	}
}

// FuzzParse holds that no bytes make Parse panic, and that what it accepts
// encodes to the same bytes again wherever encoding has only one form.
func FuzzParse(f *testing.F) {
	for _, s := range samples[:6] {
		rec := AppendRecord(nil, KindRow, 1, TxBegin, s.values)
		Stamp(rec, 5, 0)
		f.Add(rec, false)
		f.Add(rec[:len(rec)-1], true)
	}
	f.Fuzz(func(t *testing.T, b []byte, fix bool) {
		rec := bytes.Clone(b)
		if n, err := Length(rec); fix && err == nil && n == len(rec) { // get past the checksum
			binary.LittleEndian.PutUint32(rec[8:], sum(rec)^binary.LittleEndian.Uint32(rec[4:])*indexMix)
		}
		r, err := Parse(rec, 0)
		if err != nil {
			return
		}
		values := r.AppendValues(nil)
		again := AppendRecord(nil, r.Kind, r.Schema, r.Flags, values)
		p, err := Parse(again, 0)
		if err != nil || !same(p.AppendValues(nil), values) {
			t.Fatalf("%v does not survive a round trip: %v", values, err)
		}
		if s, err := ParseSchema(r); err == nil && 1+2*len(s.Columns) != r.Len() {
			t.Fatalf("a schema of %d columns in %d values", len(s.Columns), r.Len())
		}
	})
}

// FuzzLength holds that Length never returns more than there is.
func FuzzLength(f *testing.F) {
	f.Add([]byte{})
	f.Add(make([]byte, RecordHead))
	f.Add(append([]byte{RecordHead, 0, 0, 0}, make([]byte, RecordHead)...))
	f.Add(append([]byte{0xff, 0xff, 0xff, 0xff}, make([]byte, RecordHead)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		if n, err := Length(b); err == nil && (n < RecordHead || n > len(b) || n > MaxBytes) {
			t.Fatalf("length %d of %d bytes", n, len(b))
		}
	})
}
