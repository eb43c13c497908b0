package pgwire

import (
	"encoding/binary"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"

	"holdfast/internal/fault"
)

// copyIn runs a COPY whose data comes in the given pieces.
func (c *client) copyIn(sql string, pieces ...string) string {
	c.t.Helper()
	if got := c.query(sql); got != "copy in" {
		return got
	}
	for _, p := range pieces {
		c.fe.Send(&pgproto3.CopyData{Data: []byte(p)})
	}
	c.fe.Send(&pgproto3.CopyDone{})
	return c.until()
}

func TestCopy(t *testing.T) {
	store := newMemStore(true).table(t, "k", "a int4, b text")
	_, addr := startServer(t, store)
	c := connect(t, addr)
	for _, q := range []struct{ sql, data, answer, rows string }{
		{"copy k from stdin", "1\tx\n2\t\\N\n", "COPY 2; ready I", "1|x\n2|NULL"},
		{"COPY  k ( a,b ) FROM STDIN ", "", "COPY 0; ready I", ""},
		{"copy k from stdin", "1\tx", "COPY 1; ready I", "1|x"},
		{"copy k from stdin", "1\tx\r\n2\ty\r\n", "COPY 2; ready I", "1|x\n2|y"},
		{"copy k from stdin", "1\tx\r\n2\ty\n", "ERROR 22P04 literal newline found in data [COPY k, line 2]; ready I", ""},
		{"copy k from stdin", "1\tx\n2\ty\r\n", "ERROR 22P04 literal carriage return found in data [COPY k, line 2]; ready I", ""},
		{"copy k from stdin", "1\tx\n\\.\nrubbish\n", "COPY 1; ready I", "1|x"},
		{"copy k from stdin", `1	\b\f\n\r\t\v\\\q\101\x41\x` + "\n", "COPY 1; ready I", "1|\b\f\n\r\t\v\\qAAx"},
		{"copy k from stdin", "1\ta\\\nb\n2\t\\\\\n", "COPY 2; ready I", "1|a\nb\n2|\\"},
		{"copy k from stdin", "1\ta\\\tb\n", "COPY 1; ready I", "1|a\tb"},
		{"copy k from stdin", "1\t\\\\N\n", "COPY 1; ready I", `1|\N`},
		{"copy k from stdin", "1\n", `ERROR 22P04 missing data for column "b" [COPY k, line 1]; ready I`, ""},
		{"copy k from stdin", "1\tx\n1\tx\ty\n", "ERROR 22P04 extra data after last expected column [COPY k, line 2]; ready I", ""},
		{"copy k from stdin", "1\tx\n\n", `ERROR 22P04 missing data for column "b" [COPY k, line 2]; ready I`, ""},
		{"copy k(b) from stdin", "\n\n", "COPY 2; ready I", "\n"},
		{"copy k from stdin", "1\t\xff\n", `ERROR 22021 invalid byte sequence for encoding "UTF8": 0xff [COPY k, line 1]; ready I`, ""},
		{"copy k from stdin", "1\t\\xff\n", `ERROR 22021 invalid byte sequence for encoding "UTF8": 0xff [COPY k, line 1]; ready I`, ""},
		{"copy k from stdin", "1\ta\x00\n", `ERROR 22021 invalid byte sequence for encoding "UTF8": 0x00 [COPY k, line 1]; ready I`, ""},
		{"copy k from stdin with delimiter as '|' null as ''", "1|\n|x\n", "COPY 2; ready I", "1|NULL\nNULL|x"},
		{"copy k from stdin using delimiters ';' with null 'nil'", "nil;x\n", "COPY 1; ready I", "NULL|x"},
		{`copy k from stdin (delimiter E'\t', null '\N', format 'text', encoding 'utf-8', freeze, header)`, "a\tb\n1\tx\n", "COPY 1; ready I", "1|x"},
		{"copy k from stdin (header match)", "a\tb\n1\tx\n", "COPY 1; ready I", "1|x"},
		{"copy k from stdin (header match)", "a\tc\n1\tx\n", `ERROR 22P04 header line does not name column "b" in field 2 [COPY k, line 1]; ready I`, ""},

		{"copy k from stdin csv", "1,x\n2,\n3,\"\"\n", "COPY 3; ready I", "1|x\n2|NULL\n3|"},
		{"copy k from stdin with csv header quote as '''' escape '\\' null 'N'", "a,b\n1,'x\\'y'\nN,'N'\n", "COPY 2; ready I", "1|x'y\nNULL|N"},
		{"copy k from stdin (format csv)", "1,\"a\"\"b,\nc\"\n", "COPY 1; ready I", "1|a\"b,\nc"},
		{"copy k from stdin (format csv)", "1,a\"b\"c\n", "COPY 1; ready I", "1|abc"},
		{"copy k from stdin (format csv)", "1,x\r\n2,\"y\r\nz\"\r\n", "COPY 2; ready I", "1|x\n2|y\r\nz"},
		{"copy k from stdin (format csv)", "1,x\ry\n", "ERROR 22P04 unquoted carriage return found in data [COPY k, line 1]; ready I", ""},
		{"copy k from stdin (format csv)", "1,\"x\n", "ERROR 22P04 unterminated CSV quoted field [COPY k, line 1]; ready I", ""},
		{"copy k from stdin (format csv)", "1,x\n\\.\n", "COPY 1; ready I", "1|x"},
		{"copy k from stdin (format csv)", "1,\\N\n", "COPY 1; ready I", `1|\N`},
		{"copy k from stdin (format csv, delimiter ';', null 'x')", "1;x\n2;\"x\"\n3;\n", "COPY 3; ready I", "1|NULL\n2|x\n3|"},
		{"copy k(b) from stdin (format csv)", "\n\"\"\n", "COPY 2; ready I", "NULL\n"},
		{"copy k from stdin csv", "1,x,\n", "ERROR 22P04 extra data after last expected column [COPY k, line 1]; ready I", ""},
		{"copy new_one(a,b) from stdin", "1\tx\n", "COPY 1; ready I", "1|x"},

		{"copy k to stdout", "", "ERROR 0A000 at 1 COPY ... TO is not answered; ready I", ""},
		{"copy (select 1) to stdout", "", "ERROR 0A000 at 6 COPY of a query is not answered; ready I", ""},
		{"copy k from '/etc/passwd'", "", "ERROR 0A000 at 13 COPY takes its data from STDIN only; ready I", ""},
		{"copy k from program 'id'", "", "ERROR 0A000 at 13 COPY takes its data from STDIN only; ready I", ""},
		{"copy k from stdin where a > 1", "", "ERROR 0A000 at 19 COPY ... WHERE is not evaluated; ready I", ""},
		{"copy k from stdin (force_null (a))", "", `ERROR 0A000 at 20 COPY option "force_null" is not taken; ready I`, ""},
		{"copy k from stdin (format xml)", "", `ERROR 22023 COPY format "xml" not recognized; ready I`, ""},
		{"copy k from stdin (delimiter 'ab')", "", `ERROR 0A000 COPY delimiter must be a single one-byte character, not "ab"; ready I`, ""},
		{"copy k from stdin (delimiter '\\')", "", `ERROR 22023 COPY delimiter cannot be "\\"; ready I`, ""},
		{"copy k from stdin (quote 'x')", "", "ERROR 22023 COPY QUOTE and ESCAPE are available only in CSV mode; add FORMAT csv; ready I", ""},
		{"copy k from stdin (format binary, header)", "", "ERROR 22023 COPY BINARY takes neither DELIMITER, NULL, HEADER, QUOTE nor ESCAPE; ready I", ""},
		{"copy k from stdin (encoding 'sjis')", "", `ERROR 22021 text in encoding "sjis" is not taken; ready I`, ""},
		{"copy k from stdin (encoding 'latin')", "", `ERROR 22023 invalid value for parameter "client_encoding": "latin"; ready I`, ""},
		{"copy k(a,a) from stdin", "", `ERROR 42701 at 10 column "a" specified more than once; ready I`, ""},
		{"copy k from stdin (nonsense)", "", `ERROR 42601 at 20 syntax error at or near "nonsense"; ready I`, ""},
	} {
		for _, size := range []int{1 << 20, 1, 3} { // whole, and in pieces that cut everything
			var pieces []string
			for d := q.data; len(d) > 0; {
				n := min(size, len(d))
				pieces, d = append(pieces, d[:n]), d[n:]
			}
			want(t, q.sql+" "+q.data, c.copyIn(q.sql, pieces...), q.answer)
			var rows []string
			for _, r := range store.taken() {
				_, values, _ := strings.Cut(r, ")=")
				rows = append(rows, values)
			}
			want(t, q.sql+" "+q.data+": rows", strings.Join(rows, "\n"), q.rows)
		}
	}
	if ty := store.tables["new_one"]; ty[0].Type != "text" {
		t.Errorf("COPY declared %v, want text", ty)
	}
}

// TestCopyInTransactions: rows of a COPY are its transaction's.
func TestCopyInTransactions(t *testing.T) {
	store := newMemStore(true)
	_, addr := startServer(t, store)
	c := connect(t, addr)
	c.query("begin")
	want(t, "copy", c.copyIn("copy t(a) from stdin", "1\n2\n"), "COPY 2; ready T")
	if len(store.rows) > 0 {
		t.Fatalf("%d rows before COMMIT", len(store.rows))
	}
	want(t, "bad copy", c.copyIn("copy t(a) from stdin", "1\t2\n", "3\n"), "ERROR 22P04 extra data after last expected column [COPY t, line 1]; ready E")
	want(t, "end", c.query("commit"), "ROLLBACK; ready I")
	store.failCommit = fault.New(fault.DiskFull, "no space")
	want(t, "disk full", c.copyIn("copy t(a) from stdin", "1\n"), "ERROR 53100 no space; ready I")
	store.failCommit = nil
	c.query("copy t(a) from stdin")
	c.fe.Send(&pgproto3.CopyData{Data: []byte("1\n")})
	want(t, "CopyFail", c.send(&pgproto3.CopyFail{Message: "changed my mind"}), "ERROR 57014 COPY from stdin failed: changed my mind; ready I")
	want(t, "rows", strings.Join(store.taken(), ""), "")
	// Statements around a COPY in one query, and data before it was asked for.
	c.fe.Send(&pgproto3.Query{String: "insert into t(a) values (1); copy t(a) from stdin; insert into t(a) values ('three')"})
	c.fe.Send(&pgproto3.CopyData{Data: []byte("2\n")})
	c.fe.Send(&pgproto3.CopyDone{})
	want(t, "first", c.until(), "INSERT 0 1; copy in")
	want(t, "rest", c.until(), "COPY 1; INSERT 0 1; ready I")
	want(t, "rows", strings.Join(store.taken(), " "), "t(a)=1 t(a)=2 t(a)=three")
	// Other messages.
	c.query("copy t(a) from stdin")
	want(t, "a query inside", c.query("select 1"), `ERROR 08P01 unexpected message type 'Q' during COPY from stdin; ready I`)
	// By the extended protocol.
	c.fe.Send(parse("", "copy t(a) from stdin"))
	c.fe.Send(bind("", ""))
	c.fe.Send(execute(""))
	want(t, "extended", c.until(), "parsed; bound; copy in")
	c.fe.Send(&pgproto3.CopyData{Data: []byte("9\n")})
	want(t, "extended end", c.send(&pgproto3.CopyDone{}, syncMessage), "COPY 1; ready I")
	want(t, "rows", strings.Join(store.taken(), " "), "t(a)=9")
	c.fe.Send(parse("", "copy t(a) from stdin"))
	c.fe.Send(bind("", ""))
	c.fe.Send(execute(""))
	c.until()
	c.fe.Send(&pgproto3.CopyData{Data: []byte("9\t9\n")})
	want(t, "extended error", c.send(&pgproto3.CopyDone{}, syncMessage), "ERROR 22P04 extra data after last expected column [COPY t, line 1]; ready I")
}

// TestCopyClock: COPY's "now" would mean the moment of delivery.
func TestCopyClock(t *testing.T) {
	store := newMemStore(false).table(t, "k", "a timestamptz, b text")
	_, addr := startServer(t, store)
	c := connect(t, addr)
	want(t, "copy", c.copyIn("copy k from stdin", "now\tnow\n"), "COPY 1; ready I")
	want(t, "row", store.taken()[0], "k(a,b)=2026-11-21 00:04:56.789+00|now")
}

func TestCopyBinary(t *testing.T) {
	store := newMemStore(true).table(t, "k", "a int4, b text").table(t, "odd", "a mood")
	_, addr := startServer(t, store)
	c := connect(t, addr)
	head := copySignature + "\x00\x00\x00\x00\x00\x00\x00\x00"
	field := func(b string) string { return string(binary.BigEndian.AppendUint32(nil, uint32(len(b)))) + b }
	row := "\x00\x02" + field("\x00\x00\x01\x02") + field("x\ny")
	null := "\x00\x02" + "\xff\xff\xff\xff" + "\xff\xff\xff\xff"
	for _, q := range []struct{ name, data, answer, rows string }{
		{"rows", head + row + null + "\xff\xff", "COPY 2; ready I", "k(a,b)=258|x\ny k(a,b)=NULL|NULL"},
		{"no trailer", head + row, "COPY 1; ready I", "k(a,b)=258|x\ny"},
		{"an extension", copySignature + "\x00\x00\x00\x00\x00\x00\x00\x02ab" + row, "COPY 1; ready I", "k(a,b)=258|x\ny"},
		{"nothing", "", "ERROR 22P04 unexpected EOF in COPY data [COPY k, line 1]; ready I", ""},
		{"no signature", "PGCOPX" + row, "ERROR 22P04 COPY file signature not recognized [COPY k]; ready I", ""},
		{"flags", copySignature + "\x00\x01\x00\x00\x00\x00\x00\x00", "ERROR 22P04 COPY header has flags 0x10000 and an extension of 0 bytes, which are not known [COPY k]; ready I", ""},
		{"cut", head + row + row[:5], "ERROR 22P04 unexpected EOF in COPY data [COPY k, line 2]; ready I", ""},
		{"fields", head + "\x00\x01" + field("x"), "ERROR 22P04 row field count is 1, expected 2 [COPY k, line 1]; ready I", ""},
		{"a size", head + "\x00\x02\xff\xff\xff\xfe", "ERROR 22P04 invalid field size -2 [COPY k, line 1]; ready I", ""},
		{"an int4", head + "\x00\x02" + field("\x01") + field("x"), "ERROR 22P03 incorrect binary data format for type with OID 23 [COPY k, line 1]; ready I", ""},
		{"behind the trailer", head + "\xff\xff" + row, "ERROR 22P04 received copy data after EOF marker [COPY k]; ready I", ""},
	} {
		for _, size := range []int{1 << 20, 1} {
			var pieces []string
			for d := q.data; len(d) > 0; {
				n := min(size, len(d))
				pieces, d = append(pieces, d[:n]), d[n:]
			}
			want(t, q.name, c.copyIn("copy k from stdin (format binary)", pieces...), q.answer)
			want(t, q.name+": rows", strings.Join(store.taken(), " "), q.rows)
		}
	}
	want(t, "unknown type", c.copyIn("copy odd from stdin binary"), `ERROR 0A000 column "a" of table "odd" has the type "mood", whose binary form is not known; ready I`)
	want(t, "the oldest syntax", c.copyIn("copy binary k from stdin", head), "COPY 0; ready I")
}
