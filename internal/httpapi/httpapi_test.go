package httpapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"

	"holdfast/internal/fault"
	"holdfast/row"
)

// post sends body to a fresh handler over f.
func post(f *fake, path, kind string, body io.Reader) *httptest.ResponseRecorder {
	r := httptest.NewRequest("POST", "http://localhost"+path, body)
	if kind != "" {
		r.Header.Set("Content-Type", kind)
	}
	w := httptest.NewRecorder()
	New(Options{Store: f, Admin: f}).Public().ServeHTTP(w, r)
	return w
}

const (
	ndjson = "application/x-ndjson"
	array  = "application/json"
	csv    = "text/csv; charset=utf-8"
)

func TestStored(t *testing.T) {
	for _, test := range []struct {
		name, kind, body string
		want             []string
	}{
		{"ndjson", ndjson, "{\"a\":\"x\",\"b\":null}\n{\"a\":\"y\",\"b\":\"\"}\n", []string{"t(a text='x', b =NULL)", "t(a text='y', b ='')"}},
		{"no last line feed", ndjson, `{"a":"x"}`, []string{"t(a text='x')"}},
		{"empty lines and CRLF", ndjson, "\n{\"a\":\"x\"}\r\n  \n", []string{"t(a text='x')"}},
		{"nothing", ndjson, "", nil},
		{"byte order mark", ndjson, "\xef\xbb\xbf{\"a\":\"x\"}", []string{"t(a text='x')"}},
		{"numbers keep their text", ndjson, `{"a":1.50,"b":-0,"c":1e400,"d":123456789012345678901234567890,"e":0.10E+5}`,
			[]string{"t(a numeric='1.50', b numeric='-0', c numeric='1e400', d numeric='123456789012345678901234567890', e numeric='0.10E+5')"}},
		{"a number in quotes is text", ndjson, `{"a":"007"}`, []string{"t(a text='007')"}},
		{"booleans", ndjson, `{"a":true,"b":false}`, []string{"t(a text='true', b text='false')"}},
		{"nested", ndjson, `{"a": {"x" : [1, 2.0 ,"y z\n", {} , [ ] ], "ü":null} , "b":[ ]}`, []string{`t(a text='{"x":[1,2.0,"y z\n",{},[]],"ü":null}', b text='[]')`}},
		{"escapes", ndjson, `{"a":"\"\\\/\b\f\n\r\t\u00e4\ud83d\ude00ß"}`, []string{"t(a text='\"\\/\b\f\n\r\tä😀ß')"}},
		{"escaped key", ndjson, `{"\u0061":"x"}`, []string{"t(a text='x')"}},
		{"missing keys are omitted", ndjson, "{\"a\":1,\"b\":2}\n{\"b\":3}\n{\"b\":4,\"a\":5}\n",
			[]string{"t(a numeric='1', b numeric='2')", "t(b numeric='3')", "t(a numeric='5', b numeric='4')"}},
		{"the first value decides the type", ndjson, "{\"a\":1}\n{\"a\":\"x\"}\n", []string{"t(a numeric='1')", "t(a numeric='x')"}},
		{"NULL decides nothing", ndjson, "{\"a\":null}\n{\"a\":1,\"b\":2}\n", []string{"t(a =NULL)", "t(a numeric='1', b numeric='2')"}},
		{"array", array, "[{\"a\":\"x\"},\n {\"a\":\"y]}\"} ]\n", []string{"t(a text='x')", "t(a text='y]}')"}},
		{"empty array", array, " [ ] ", nil},
		{"one object", array, "{\"a\":\n\"x\"}\n", []string{"t(a text='x')"}},
		{"array with escapes", array, `[{"a":"\"},{"},{"a":"\\"}]`, []string{`t(a text='"},{')`, `t(a text='\')`}},
		{"csv", csv, "a,b\n1,x\n", []string{"t(a text='1', b text='x')"}},
		{"csv NULL and empty", csv, "a,b,c\n,\"\",x\"\"\n", []string{"t(a text=NULL, b text='', c text='x')"}},
		{"csv quoting", csv, "a,b\r\n\"x, \"\"y\"\"\nz\",\"\r\n\"\r\n", []string{"t(a text='x, \"y\"\nz', b text='\r\n')"}},
		{"csv without last line feed", csv, "a,b\n1,", []string{"t(a text='1', b text=NULL)"}},
		{"csv one column NULL", csv, "a\n\nx\n", []string{"t(a text=NULL)", "t(a text='x')"}},
		{"csv header alone", csv, "a,b\n", nil},
		{"csv nothing", csv, "", nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := &fake{}
			w := post(f, "/v1/tables/t/rows", test.kind, strings.NewReader(test.body))
			if want := fmt.Sprintf("{\"rows\":%d}\n", len(test.want)); w.Code != 200 || w.Body.String() != want {
				t.Errorf("answer %d %s, want 200 %s", w.Code, w.Body, want)
			}
			if !reflect.DeepEqual(f.rows, test.want) {
				t.Errorf("\n got %q\nwant %q", f.rows, test.want)
			}
			if f.begun != f.ended {
				t.Errorf("%d transactions begun, %d ended", f.begun, f.ended)
			}
		})
	}
}

func TestKnownTypes(t *testing.T) {
	f := &fake{columns: map[string][]row.Column{"t": {{Name: "a", Type: "timestamptz"}}}}
	post(f, "/v1/tables/t/rows", ndjson, strings.NewReader(`{"a":1,"b":1}`))
	post(f, "/v1/tables/t/rows", csv, strings.NewReader("b,a\n1,2\n"))
	want := []string{"t(a timestamptz='1', b numeric='1')", "t(b text='1', a timestamptz='2')"}
	if !reflect.DeepEqual(f.rows, want) {
		t.Errorf("got %q, want %q", f.rows, want)
	}
}

// good is a first row, so that a later refusal must take it back.
const good = "{\"a\":\"x\"}\n"

func TestRefused(t *testing.T) {
	deep := strings.Repeat("[", maxDepth+1)
	for _, test := range []struct {
		name, kind, body string
		status           int
		code             string
		line             int
		says             string
	}{
		{"not JSON", ndjson, good + "a|b\n", 400, "22P02", 2, "byte 1"},
		{"not an object", ndjson, good + "[1]\n", 400, "22P02", 2, "object"},
		{"cut off", ndjson, good + "{\"a\":\n", 400, "22P02", 2, "the end"},
		{"two on a line", ndjson, good + "{\"a\":1}{\"a\":2}\n", 400, "22P02", 2, "nothing more"},
		{"key twice", ndjson, good + `{"a":1,"a":2}`, 400, "42701", 2, `"a"`},
		{"key twice, once escaped", ndjson, good + `{"a":1,"\u0061":2}`, 400, "42701", 2, `"a"`},
		{"empty object", ndjson, good + "{}", 400, "42601", 2, "no column"},
		{"leading zero", ndjson, good + `{"a":007}`, 400, "22P02", 2, "string"},
		{"not a number", ndjson, good + `{"a":NaN}`, 400, "22P02", 2, "'N'"},
		{"bare point", ndjson, good + `{"a":1.}`, 400, "22P02", 2, "decimal point"},
		{"bare exponent", ndjson, good + `{"a":1e}`, 400, "22P02", 2, "exponent"},
		{"trailing comma", ndjson, good + `{"a":1,}`, 400, "22P02", 2, "key"},
		{"control character", ndjson, good + "{\"a\":\"\t\"}", 400, "22P02", 2, "escapes"},
		{"bad escape", ndjson, good + `{"a":"\x"}`, 400, "22P02", 2, "escape"},
		{"short escape", ndjson, good + `{"a":"\u12"}`, 400, "22P02", 2, "hexadecimal"},
		{"invalid UTF-8", ndjson, good + "{\"a\":\"\xff\"}", 400, "22021", 2, "0xff"},
		{"NUL byte", ndjson, good + "{\"a\":\"\x00\"}", 400, "22021", 2, "NUL"},
		{"NUL escape", ndjson, good + `{"a":"\u0000"}`, 400, "22021", 2, "NUL"},
		{"half a surrogate pair", ndjson, good + `{"a":"\ud800x"}`, 400, "22021", 2, "surrogate"},
		{"nested duplicate is text", ndjson, good + `{"a":{"b":1,}}`, 400, "22P02", 2, ""},
		{"deep", ndjson, good + `{"a":` + deep, 400, "22P02", 2, "deeper"},
		{"very deep", ndjson, good + `{"a":` + strings.Repeat(`{"a":`, 500000), 400, "22P02", 2, "deeper"},
		{"very deep array", array, `[{"a":` + strings.Repeat(`[`, 3000000), 400, "22P02", 1, "middle"},
		{"long line", ndjson, good + `{"a":"` + strings.Repeat("x", maxRecord) + `"}`, 413, "54000", 2, "larger"},
		{"long array element", array, "[\n{\"a\":\"" + strings.Repeat("x", maxRecord) + `"}]`, 413, "54000", 2, "larger"},
		{"long space", ndjson, good + strings.Repeat(" ", maxRecord+1), 413, "54000", 2, "larger"},
		{"columns", ndjson, good + "{" + strings.TrimSuffix(manyKeys(maxColumns+1), ",") + "}", 400, "54011", 2, "1600"},
		{"key sets", ndjson, manySets(maxSets + 1), 413, "54000", maxSets + 1, "different ways"},
		{"array cut off", array, `[{"a":1},`, 400, "22P02", 1, "middle"},
		{"array, empty element", array, "[{\"a\":1},\n]", 400, "22P02", 2, ""},
		{"array, second line", array, "[{\"a\":1},\n{\"a\":x}]", 400, "22P02", 2, "'x'"},
		{"after the array", array, "[{\"a\":1}]\n{}", 400, "22P02", 2, "after the end"},
		{"array of numbers", array, "[1]", 400, "22P02", 1, "object"},
		{"json nothing", array, "", 400, "22P02", 1, "middle"},
		{"csv short record", csv, "a,b\n1,2\n3\n", 400, "22P04", 3, "1 fields"},
		{"csv long record", csv, "a,b\n1,2,3\n", 400, "22P04", 2, "3 fields"},
		{"csv open quote", csv, "a,b\n1,\"2\n3,4\n", 400, "22P04", 2, "does not end"},
		{"csv line after a long value", csv, "a,b\n1,\"2\n3\"\n4\n", 400, "22P04", 4, "1 fields"},
		{"csv lone CR", csv, "a\nx\ry\n", 400, "22P04", 2, "carriage return"},
		{"csv NUL", csv, "a\nx\x00\n", 400, "22021", 2, "NUL"},
		{"csv invalid UTF-8", csv, "a\n\xc3\x28\n", 400, "22021", 2, "0xc3"},
		{"csv split character", csv, "a,b\n\xc3,\xa4\n", 400, "22021", 2, "field 1"},
		{"csv long value", csv, "a\n\"" + strings.Repeat("x", maxRecord+1), 413, "54000", 2, "larger"},
		{"csv nameless column", csv, "a,\n1,2\n", 400, "42602", 1, "column 2"},
		{"csv column twice", csv, "a,a\n1,2\n", 400, "42701", 1, `"a"`},
		{"csv columns", csv, strings.Repeat("a,", maxColumns) + "a\n", 400, "54011", 1, "1600"},
		{"no content type", "", good, 415, "0A000", 0, "x-ndjson"},
		{"form", "application/x-www-form-urlencoded", "a=b", 415, "0A000", 0, "x-ndjson"},
		{"broken content type", "text/csv; =", "a\n", 415, "0A000", 0, "cannot be read"},
		{"charset", "text/csv; charset=latin1", "a\n", 415, "0A000", 0, "latin1"},
		{"csv without header", "text/csv; header=absent", "a\n", 415, "0A000", 0, "header"},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := &fake{}
			w := post(f, "/v1/tables/t/rows", test.kind, strings.NewReader(test.body))
			checkRefusal(t, w, test.status, test.code, test.line)
			if !strings.Contains(w.Body.String(), strings.Trim(fmt.Sprintf("%q", test.says), `"`)) {
				t.Errorf("it does not say %q: %.300s", test.says, w.Body)
			}
			if len(f.rows) > 0 || f.begun != f.ended {
				t.Errorf("%d rows are stored; %d transactions begun, %d ended", len(f.rows), f.begun, f.ended)
			}
		})
	}
}

func checkRefusal(t *testing.T, w *httptest.ResponseRecorder, status int, code string, line int) {
	t.Helper()
	var e errorBody
	if err := json.Unmarshal(w.Body.Bytes(), &e); err != nil {
		t.Fatalf("the answer is not JSON: %v: %s", err, w.Body)
	}
	if w.Code != status || e.Error.Code != code || e.Error.Line != line || e.Error.Message == "" {
		t.Errorf("got %d %.300s, want %d, code %s, line %d", w.Code, w.Body, status, code, line)
	}
}

func manyKeys(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "\"c%d\":1,", i)
	}
	return b.String()
}

func manySets(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "{\"c%d\":1}\n", i)
	}
	return b.String()
}

func TestStoreErrors(t *testing.T) {
	for _, test := range []struct {
		name   string
		f      *fake
		status int
		code   string
		line   int
	}{
		{"unknown table", &fake{schemaErr: fault.New(fault.UndefinedTable, "no")}, 404, "42P01", 1},
		{"unknown column", &fake{schemaErr: fault.New(fault.UndefinedColumn, "no")}, 400, "42703", 1},
		{"not null", &fake{insertErr: fault.New(fault.NotNullViolation, "no")}, 400, "23502", 1},
		{"two streams", &fake{insertErr: fault.New(fault.FeatureNotSupported, "no")}, 400, "0A000", 1},
		{"disk full", &fake{commitErr: fault.New(fault.DiskFull, "no")}, 507, "53100", 0},
		{"disk failing", &fake{commitErr: fault.New(fault.IOError, "no")}, 503, "58030", 0},
		{"transaction too large", &fake{insertErr: fault.New(fault.LimitExceeded, "no")}, 413, "54000", 1},
		{"outcome unknown", &fake{commitErr: fault.New(fault.OutcomeUnknown, "no")}, 503, "40003", 0},
		{"stopping", &fake{commitErr: fault.New(fault.CannotConnectNow, "no")}, 503, "57P03", 0},
		{"memory", &fake{commitErr: fault.New(fault.OutOfMemory, "no")}, 503, "53200", 0},
		{"connections", &fake{commitErr: fault.New(fault.TooManyConnections, "no")}, 429, "53300", 0},
		{"anything else", &fake{commitErr: errors.New("boom")}, 500, "XX000", 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := post(test.f, "/v1/tables/t/rows", ndjson, strings.NewReader(good))
			checkRefusal(t, w, test.status, test.code, test.line)
			again := test.status == 429 || test.status == 503 || test.status == 507
			if got := w.Header().Get("Retry-After") != ""; got != again {
				t.Errorf("Retry-After is there: %v, want %v", got, again)
			}
			if test.f.begun != test.f.ended {
				t.Error("the transaction is left open")
			}
		})
	}
}

func TestSynchronousCommit(t *testing.T) {
	for query, want := range map[string]bool{"": true, "?synchronous_commit=on": true, "?synchronous_commit=off": false} {
		f := &fake{}
		post(f, "/v1/tables/t/rows"+query, ndjson, strings.NewReader(good))
		if !reflect.DeepEqual(f.durable, []bool{want}) {
			t.Errorf("%q commits durably: %v, want %v", query, f.durable, want)
		}
	}
	checkRefusal(t, post(&fake{}, "/v1/tables/t/rows?synchronous_commit=maybe", ndjson, strings.NewReader(good)), 400, "22023", 0)
}

// cutOff is a body that breaks off, as when a client dies.
type cutOff struct{ io.Reader }

func (c cutOff) Read(b []byte) (int, error) {
	n, err := c.Reader.Read(b)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

func TestBodyCutOff(t *testing.T) {
	for kind, body := range map[string]string{ndjson: good + good, array: "[{\"a\":1}, ", csv: "a\n1\n2\n"} {
		f := &fake{}
		w := post(f, "/v1/tables/t/rows", kind, cutOff{strings.NewReader(body)})
		checkRefusal(t, w, 400, "08P01", 0)
		if len(f.rows) > 0 || f.begun != f.ended {
			t.Errorf("%s: %q are stored of a body that broke off", kind, f.rows)
		}
	}
}

func TestTableNames(t *testing.T) {
	f := &fake{}
	if w := post(f, "/v1/tables/a%2Fb%20%C3%A4/rows", ndjson, strings.NewReader(good)); w.Code != 200 || f.rows[0] != "a/b ä(a text='x')" {
		t.Errorf("got %d, rows %q", w.Code, f.rows)
	}
	checkRefusal(t, post(f, "/v1/tables/%00/rows", ndjson, strings.NewReader(good)), 400, "22021", 0)
	checkRefusal(t, post(f, "/v1/tables/%ff/rows", ndjson, strings.NewReader(good)), 400, "22021", 0)
}

func TestSchemasAreShared(t *testing.T) {
	f := &fake{}
	post(f, "/v1/tables/t/rows", ndjson, strings.NewReader(strings.Repeat("{\"a\":1,\"b\":2}\n{\"b\":1,\"a\":2}\n", 100)))
	if f.schemas != 1 || len(f.rows) != 200 {
		t.Errorf("%d schemas for %d rows with the same columns", f.schemas, len(f.rows))
	}
}

func TestRoutes(t *testing.T) {
	f := &fake{status: Status{Version: "v1", Streams: []StreamStatus{{Name: "main", EndSeq: 7, State: "ok"}}, Sinks: []SinkStatus{{Name: "default", Stream: "main", LagRows: 3}}}}
	api := New(Options{Store: f, Admin: f, Hosts: []string{"db.example"}})
	public, private := api.Public(), api.Private()
	get := func(h http.Handler, method, url string, header ...string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(method, url, nil)
		for i := 0; i+1 < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w
	}
	for _, test := range []struct {
		h           http.Handler
		method, url string
		header      []string
		status      int
		says        string
	}{
		{public, "GET", "http://localhost:8433/ping", nil, 200, "true"},
		{public, "HEAD", "http://127.0.0.1/ping", nil, 200, ""},
		{public, "GET", "http://[::1]:8433/ready", nil, 200, "true"},
		{public, "GET", "http://DB.example:8433/ping", nil, 200, ""},
		{public, "GET", "http://localhost/v1/status", nil, 200, `"end_seq":7`},
		{public, "GET", "http://localhost/metrics", nil, 200, `holdfast_sink_lag_rows{sink="default",stream="main"} 3`},
		{public, "GET", "http://localhost/nowhere", nil, 404, "nothing is at"},
		{public, "GET", "http://localhost/v1/tables/t/rows", nil, 405, "use POST"},
		{public, "DELETE", "http://localhost/v1/status", nil, 405, "use GET"},
		{public, "GET", "http://rebound.example/v1/status", nil, 421, "rebound.example"},
		{public, "GET", "http://127.0.0.1.example/ping", nil, 421, "not this server"},
		{public, "POST", "http://localhost/v1/tables/t/rows", []string{"Sec-Fetch-Site", "cross-site"}, 403, ""},
		{public, "POST", "http://localhost/v1/tables/t/rows", []string{"Origin", "http://evil.example"}, 403, ""},
		{public, "POST", "http://localhost/v1/tables/t/rows", []string{"Content-Encoding", "br"}, 415, "br"},
		{public, "GET", "http://localhost/v1/streams/main/rows", nil, 404, ""},
		{public, "POST", "http://localhost/v1/verify", nil, 404, ""},
		{public, "POST", "http://localhost/v1/seal", nil, 404, ""},
		{private, "GET", "http://localhost/v1/streams/main/rows", nil, 200, ""},
		{private, "GET", "http://localhost/v1/streams/main/rows?from=x", nil, 400, "not a seq"},
		{private, "GET", "http://localhost/v1/streams/main/rows?limit=-1", nil, 400, "not a number"},
		{private, "POST", "http://localhost/v1/seal", nil, 200, "true"},
		{private, "GET", "http://localhost/v1/seal", nil, 405, ""},
	} {
		w := get(test.h, test.method, test.url, test.header...)
		if w.Code != test.status || !strings.Contains(strings.ReplaceAll(w.Body.String(), `\"`, `"`), test.says) {
			t.Errorf("%s %s %q: got %d %.200s, want %d with %q", test.method, test.url, test.header, w.Code, w.Body, test.status, test.says)
		}
	}
	f.readyErr = fault.New(fault.CannotConnectNow, "stream %q is full", "main")
	if w := get(public, "GET", "http://localhost/ready"); w.Code != 503 || !strings.Contains(w.Body.String(), "is full") {
		t.Errorf("not ready answers %d %s", w.Code, w.Body)
	}
	f.adminErr = errors.New("gone")
	if w := get(public, "GET", "http://localhost/v1/status"); w.Code != 500 {
		t.Errorf("a failing status answers %d", w.Code)
	}
	if w := get(public, "GET", "http://localhost/metrics"); !bytes.Contains(w.Body.Bytes(), []byte("holdfast_http_requests_total")) {
		t.Errorf("where the status fails, the other metrics are gone too: %d %s", w.Code, w.Body)
	}
}
