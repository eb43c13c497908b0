package pgwire

import (
	"bytes"
	"errors"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/jackc/pgx/v5/pgproto3"

	"holdfast/internal/fault"
)

// bufferConn is a connection that has received in and keeps what is sent.
type bufferConn struct {
	loop
	in  *bytes.Reader
	out bytes.Buffer
}

func (c *bufferConn) Read(b []byte) (int, error)  { return c.in.Read(b) }
func (c *bufferConn) Write(b []byte) (int, error) { return c.out.Write(b) }

func fuzzSession(t *testing.T, in []byte) (*session, *memStore, *bufferConn) {
	store := newMemStore(true).table(t, "k", "a int4, b text, c numeric, d timestamptz, e int4[]")
	conn := &bufferConn{in: bytes.NewReader(in)}
	s := newSession(New(Options{Store: store}), conn)
	s.guest = s.srv.gate.Enter(s.from, func() {})
	t.Cleanup(s.cancel)
	return s, store, conn
}

// checkFault holds that an error is one that a client can be shown.
func checkFault(t *testing.T, err error) {
	t.Helper()
	f := fault.Of(err)
	if f != nil && (f.Code == fault.InternalError || len(f.Code) != 5 || f.Message == "") {
		t.Errorf("error %q of code %q is not one for users", err, f.Code)
	}
}

// checkRows holds that nothing but text came through.
func checkRows(t *testing.T, rows []string) {
	t.Helper()
	for _, r := range rows {
		if !utf8.ValidString(r) || strings.ContainsRune(r, 0) {
			t.Errorf("row %q is not text", r)
		}
	}
}

// FuzzStatement runs a query's text as it comes, and, where it is one INSERT,
// prepared too: both must mean the same.
func FuzzStatement(f *testing.F) {
	for _, q := range []string{
		"insert into t(a,b) values (1,'x'),(-2.5e3,E'\\n\\u00e4'),(null,default)", "insert into k values ($1,$2::text,cast($3 as int))",
		"INSERT INTO \"T\" (a) VALUES ($$x$$), (U&'\\00e4'), (B'01'), (X'fF'), (now()::date), (date '2026-01-01'), (('x')::varchar)",
		"insert into t(a) values ('a'\n'b') /* /* */ */ -- x\n ; begin; commit", "copy k(a,b) from stdin with (format csv, header match, null 'x')",
		"create table if not exists x (a numeric(10,2) not null default (1), b timestamp(3) with time zone[], primary key (a))",
		"set local time zone 'Europe/Berlin'; show timezone; select 1 as a, version(), set_config('a.b','c',true)", "begin isolation level serializable, read only",
		"select \"a\", b from \"k\"", "deallocate prepare all; discard all; reset all; unlisten *; close all", "insert into t(a) values ('x'::double precision[][3])",
	} {
		f.Add(q)
	}
	f.Fuzz(func(t *testing.T, q string) {
		s, store, _ := fuzzSession(t, []byte("d\x00\x00\x00\x08\x31\x0a2\x0ac\x00\x00\x00\x04"))
		err := s.statements([]byte(q + "\x00"))
		checkFault(t, err)
		var rows []string
		if tx, ok := s.tx.(*memTx); ok {
			rows = append(slices.Clone(store.rows), tx.rows...)
		}
		checkRows(t, rows)
		if len(s.targets) > targetsKept {
			t.Errorf("%d targets are kept", len(s.targets))
		}
		again, _, _ := fuzzSession(t, nil)
		ps := &prepared{src: []byte(q)}
		if checkText(ps.src) != nil {
			return
		}
		perr := again.prepare(ps)
		checkFault(t, perr)
		in, ok := ps.st.(*insertStatement)
		if !ok || len(ps.oids) > 0 || perr != nil {
			return
		}
		rerr := in.run(again, &portal{st: ps})
		if (err == nil) != (rerr == nil) {
			t.Fatalf("simple gives %v, prepared gives %v", err, rerr)
		}
		if tx, ok := again.tx.(*memTx); ok && err == nil && !slices.Equal(rows, tx.rows) && !strings.Contains(q, "timestamp") {
			t.Errorf("simple gives %q, prepared gives %q", rows, tx.rows)
		}
	})
}

// FuzzCopy holds that it does not matter in which pieces the data comes.
func FuzzCopy(f *testing.F) {
	for _, d := range []string{"1\tx\n2\t\\N\n", "1,\"a\"\"b\nc\"\r\n", "a|\\\n|\\\\\n\\.\nx", copySignature + "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\x00\x00\x04\x00\x00\x00\x01\xff\xff\xff\xff\xff\xff"} {
		for options := range uint8(5) {
			f.Add([]byte(d), options, uint8(3))
		}
	}
	f.Fuzz(func(t *testing.T, data []byte, options, size uint8) {
		sql := []string{"copy k(a,b) from stdin", "copy k(a,b) from stdin csv", "copy k(a,b) from stdin binary",
			"copy k(a,b) from stdin with delimiter '|' null ''", "copy k(a,b) from stdin csv header quote '''' escape '\\' null 'x'"}[options%5]
		run := func(size int) ([]string, string) {
			var in []byte
			for d := data; len(d) > 0; {
				n := min(size, len(d))
				in, d = append(in, frame('d', string(d[:n]))...), d[n:]
			}
			s, _, _ := fuzzSession(t, append(in, frame('c', "")...))
			err := s.statements([]byte(sql + "\x00"))
			checkFault(t, err)
			if s.broken != nil {
				t.Errorf("the connection broke: %v", s.broken)
			}
			var rows []string
			if tx, ok := s.tx.(*memTx); ok {
				rows = tx.rows
			}
			checkRows(t, rows)
			return rows, fault.Code(err)
		}
		rows, code := run(len(data) + 1)
		pieceRows, pieceCode := run(int(size) + 1)
		if code != pieceCode || !slices.Equal(rows, pieceRows) {
			t.Errorf("whole: %q %s; in pieces of %d: %q %s", rows, code, int(size)+1, pieceRows, pieceCode)
		}
	})
}

// FuzzSession feeds a started session with bytes: it must end, every answer
// must be a message, and no row may come through that is not text.
func FuzzSession(f *testing.F) {
	f.Add(frame('Q', "insert into k(a) values (1)\x00"))
	f.Add(encode(f, parse("s", "insert into k(a,b) values ($1,$2)", 23), describe('S', "s"), bind("p", "s", "1", "x"), execute("p"), syncMessage))
	f.Add(encode(f, parse("", "begin"), bind("", ""), execute(""), &pgproto3.Flush{}, &pgproto3.Close{ObjectType: 'P'}, syncMessage, &pgproto3.Terminate{}))
	f.Add(slices.Concat(frame('Q', "copy k(a,b) from stdin\x00"), frame('d', "1\tx\n2"), frame('d', "\ty\n"), frame('c', ""), frame('f', "x\x00")))
	f.Add([]byte("Q\x7f\xff\xff\xff"))
	f.Add(frame('B', "\x00\x00\x00\x01\x00\x01\x00\x01\xff\xff\xff\xfe\x00\x00"))
	f.Fuzz(func(t *testing.T, in []byte) {
		s, store, conn := fuzzSession(t, in)
		err := s.serve()
		var ff *fault.Error
		if err != errClosed && err != io.EOF && err != io.ErrUnexpectedEOF && !errors.As(err, &ff) {
			t.Errorf("session ended with %v", err)
		}
		_ = s.flush()
		checkRows(t, store.rows)
		fe := pgproto3.NewFrontend(&conn.out, io.Discard)
		for {
			if _, err := fe.Receive(); err != nil {
				if !errors.Is(err, io.ErrUnexpectedEOF) && err != io.EOF || conn.out.Len() > 0 {
					t.Errorf("answer cannot be read: %v", err)
				}
				break
			}
		}
		if free := s.srv.memory.Free(); s.in.taken == 0 && free != 128<<20 {
			t.Errorf("%d bytes of memory are free", free)
		}
	})
}

// FuzzStart feeds a new connection with bytes.
func FuzzStart(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x08\x04\xd2\x16\x2f"))
	f.Add([]byte("\x00\x00\x00\x1a\x00\x03\x00\x02user\x00u\x00_pq_.a\x00b\x00\x00"))
	f.Add([]byte("\x00\x00\x00\x25\x00\x03\x00\x00user\x00u\x00options\x00-c a.b=c\\ d\x00\x00"))
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"))
	f.Add([]byte("\x7f\xff\xff\xff\x00\x03\x00\x00"))
	f.Fuzz(func(t *testing.T, in []byte) {
		s, _, _ := fuzzSession(t, in)
		if err := s.start(); err != nil && err != errClosed && err != errAnswered {
			checkFault(t, err)
		}
		if cap(s.in.buf) > large {
			t.Errorf("the start-up took a buffer of %d bytes", cap(s.in.buf))
		}
	})
}

// FuzzBinary decodes bytes as a value of each type.
func FuzzBinary(f *testing.F) {
	f.Add([]byte("\x00\x02\x00\x01\x40\x00\x00\x02\x00\x01\x00\x02"))
	f.Add([]byte("\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x17\x00\x00\x00\x01\x00\x00\x00\x01\x00\x00\x00\x04\x00\x00\x00\x05"))
	f.Add([]byte("\x7f\xff\xff\xff\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, b []byte) {
		oids := slices.AppendSeq([]uint32{0, 1, oidUnknown}, maps.Keys(byOID))
		oids = slices.AppendSeq(oids, maps.Keys(element))
		slices.Sort(oids) // the same path for the same input
		for _, o := range oids {
			text, err := decodeBinary(nil, o, b)
			checkFault(t, err)
			if err == nil && checkText(text) != nil {
				t.Errorf("type %d: %q is not text", o, text)
			}
		}
	})
}
