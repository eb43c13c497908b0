package pgwire

import (
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"
)

// TestEncodings holds that text in a client's encoding is stored as UTF-8 on
// every way that it comes in, and refused where it cannot be.
func TestEncodings(t *testing.T) {
	store := newMemStore(true)
	_, addr := startServer(t, store)
	c := connect(t, addr, "client_encoding", "latin1")
	rows := func(what, answer, wantAnswer, wantRows string) {
		t.Helper()
		want(t, what, answer, wantAnswer)
		want(t, what+": rows", strings.Join(store.taken(), " "), wantRows)
	}
	rows("literal", c.query("insert into t(a) values ('caf\xe9'), ('plain')"), "INSERT 0 2; ready I", "t(a)=caf\u00e9 t(a)=plain")
	rows("parameter", c.send(&pgproto3.Parse{Query: "insert into t(a) values ($1 )"}, &pgproto3.Bind{Parameters: [][]byte{[]byte("\xfc")}}, &pgproto3.Execute{}, &pgproto3.Sync{}),
		"parsed; bound; INSERT 0 1; ready I", "t(a)=\u00fc")
	rows("text in binary form", c.send(&pgproto3.Parse{Query: "insert into t(a) values ($1)", ParameterOIDs: []uint32{25}},
		&pgproto3.Bind{ParameterFormatCodes: []int16{1}, Parameters: [][]byte{[]byte("\xe4")}}, &pgproto3.Execute{}, &pgproto3.Sync{}),
		"parsed; bound; INSERT 0 1; ready I", "t(a)=\u00e4")
	rows("COPY", c.copyIn("copy t(a) from stdin", "\xe9\n", "x\xe8", "y\n"), "COPY 2; ready I", "t(a)=\u00e9 t(a)=x\u00e8y")
	rows("COPY in another one", c.copyIn("copy t(a) from stdin (encoding 'koi8r')", "\xc1\n"), "COPY 1; ready I", "t(a)=\u0430")
	rows("COPY in UTF-8", c.copyIn("copy t(a) from stdin (encoding 'utf8')", "\u00e9\n"), "COPY 1; ready I", "t(a)=\u00e9")
	rows("binary COPY", c.query("copy t(a) from stdin (format binary)"), `ERROR 22021 COPY in binary form is taken with text in UTF8 only, not "LATIN1"; ready I`, "")
	rows("too large", c.query("insert into t(a) values ('\xe9"+strings.Repeat("x", maxConverted)+"')"), "ERROR 54000 text of 1048606 bytes in encoding \"LATIN1\", more than 1048576; ready I", "")
	want(t, "an answer", c.query("select '\xe9'"), c.query("select '\xe9'"))
	want(t, "an error", c.query("insert into t(a) values (nonsense\xe9)"), strings.ReplaceAll(c.query("insert into t(a) values (nonsense\xe9)"), "\u00e9", "\xe9"))
	want(t, "set", c.query("set client_encoding = win1252"), "set client_encoding=WIN1252; SET; ready I")
	rows("euro", c.query("insert into t(a) values ('\x80')"), "INSERT 0 1; ready I", "t(a)=\u20ac")
	rows("no character", c.query("insert into t(a) values ('\x81')"), `ERROR 22021 character with byte sequence 0x81 in encoding "WIN1252" has no equivalent in encoding "UTF8"; ready I`, "")
	want(t, "back", c.query("set client_encoding = utf8"), "set client_encoding=UTF8; SET; ready I")
	rows("UTF-8", c.query("insert into t(a) values ('\u00e9')"), "INSERT 0 1; ready I", "t(a)=\u00e9")
	rows("no UTF-8", c.query("insert into t(a) values ('\xe9')"), `ERROR 22021 invalid byte sequence for encoding "UTF8": 0xe9; ready I`, "")
}

// TestPreparedCopyEncoding holds that a COPY which was prepared takes its data in
// the encoding that holds when it runs.
func TestPreparedCopyEncoding(t *testing.T) {
	store := newMemStore(true)
	_, addr := startServer(t, store)
	c := connect(t, addr)
	want(t, "prepared", c.send(parse("c", "copy t(a) from stdin"), syncMessage), "parsed; ready I")
	for _, e := range []struct{ encoding, text string }{{"utf8", "\u00e9"}, {"latin1", "\xe9"}, {"utf8", "\u00e9"}} {
		c.query("set client_encoding = " + e.encoding)
		want(t, e.encoding, c.send(bind("", "c"), execute(""), &pgproto3.Flush{}), "bound; copy in")
		want(t, e.encoding, c.send(&pgproto3.CopyData{Data: []byte(e.text + "\n")}, &pgproto3.CopyDone{}, syncMessage), "COPY 1; ready I")
		want(t, e.encoding, strings.Join(store.taken(), " "), "t(a)=\u00e9")
	}
}

// TestEncodingNames holds which names are known.
func TestEncodingNames(t *testing.T) {
	for name, wanted := range map[string]string{
		"utf-8": "UTF8", "Unicode": "UTF8", "sql_ascii": "SQL_ASCII", "ISO-8859-1": "LATIN1", "iso_8859_5": "ISO_8859_5", "Latin9": "LATIN9",
		"windows-1251": "WIN1251", "koi8-r": "KOI8R", "KOI8": "KOI8R",
	} {
		if got, f := checkEncoding(name); got != wanted || f != nil {
			t.Errorf("%q: got %q, %v, want %q", name, got, f, wanted)
		}
	}
	for name := range charsets {
		if got, f := checkEncoding(name); got != name || f != nil {
			t.Errorf("%q: got %q, %v", name, got, f)
		}
	}
}
