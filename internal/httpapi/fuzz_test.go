package httpapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"testing"

	"holdfast/internal/fault"
)

// FuzzObject holds the parser against encoding/json: what it takes is JSON,
// and each value is the one that encoding/json finds.
func FuzzObject(f *testing.F) {
	for _, s := range []string{
		`{"a":1.50,"b":null,"c":"x\u00e4\ud83d\ude00","d":{"x":[1, true]},"e":false}`,
		`{"a":1,"\u0061":2}`, `{"a":-0e+1}`, `{"":""}`, `{"a":01}`, `{`, `{"a":"\ud800"}`, ` { } `, `{"a":{"b":{}}}x`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var p objectParser
		before := bytes.Clone(text)
		fields, err := p.parse(text)
		if err == nil {
			err = distinct(fields)
		}
		if !bytes.Equal(before, text) {
			t.Fatal("the parser changed its input")
		}
		if err != nil {
			if c := fault.Code(err); c == "" || c == fault.InternalError {
				t.Fatalf("%v is no refusal", err)
			}
			if fault.Code(err) == fault.InvalidTextRepr && json.Valid(text) && bytes.HasPrefix(bytes.TrimLeft(text, " \t\r\n"), []byte("{")) && !bytes.Contains([]byte(err.Error()), []byte("deeper")) {
				t.Fatalf("%q is an object, but is refused: %v", text, err)
			}
			return
		}
		d := json.NewDecoder(bytes.NewReader(text))
		d.UseNumber()
		var want map[string]any
		if err := d.Decode(&want); err != nil || len(want) != len(fields) {
			t.Fatalf("%q is taken with %d fields; encoding/json finds %d: %v", text, len(fields), len(want), err)
		}
		for _, field := range fields {
			v, ok := want[string(field.name)]
			if !ok {
				t.Fatalf("%q has no key %q", text, field.name)
			}
			check(t, field, v)
		}
	})
}

func check(t *testing.T, got field, want any) {
	same := false
	switch w := want.(type) {
	case nil:
		same = got.value.Null && got.kind == isNull
	case json.Number:
		same = string(got.value.Text) == w.String() && got.kind == isNumber
	case string:
		same = string(got.value.Text) == w && got.kind == isOther
	case bool:
		same = string(got.value.Text) == map[bool]string{true: "true", false: "false"}[w]
	default:
		var compact bytes.Buffer
		same = json.Valid(got.value.Text) && json.Compact(&compact, got.value.Text) == nil && bytes.Equal(compact.Bytes(), got.value.Text)
	}
	if !same || want != nil && got.value.Null {
		t.Fatalf("key %q has %q, want %v", got.name, got.value, want)
	}
}

// FuzzBody holds that any body of any kind is stored whole or refused with a
// line, and that the transaction is ended once.
func FuzzBody(f *testing.F) {
	f.Add(uint8(0), []byte("{\"a\":1}\n\n{\"b\":\"x\"}"))
	f.Add(uint8(1), []byte("[{\"a\":1},\n{\"a\":\"]\"}]\n"))
	f.Add(uint8(2), []byte("a,b\n\"x\"\"\n\",\n"))
	kinds := []string{ndjson, array, csv}
	f.Fuzz(func(t *testing.T, kind uint8, body []byte) {
		store := &fake{}
		n, err := Put(t.Context(), store, Load{Table: "t", ContentType: kinds[int(kind)%len(kinds)], Body: bytes.NewReader(body)})
		if store.begun != 1 || store.ended != 1 {
			t.Fatalf("%d transactions begun, %d ended", store.begun, store.ended)
		}
		if n != len(store.rows) || err != nil && n != 0 {
			t.Fatalf("%d rows are told, %d stored, error %v", n, len(store.rows), err)
		}
		var refused *Refused
		if err != nil && (!errors.As(err, &refused) || refused.Line < 1 || refused.Line > bytes.Count(body, []byte("\n"))+1) {
			t.Fatalf("%#v names no line of the body", err)
		}
	})
}
