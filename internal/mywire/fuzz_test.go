package mywire

import (
	"net"
	"strings"
	"testing"
	"unicode/utf8"
)

// fuzzSession is a session of which nobody hears anything.
func fuzzSession(store Store) *session {
	near, far := net.Pipe()
	near.Close()
	far.Close()
	return newSession(New(Options{Store: store}), near)
}

// FuzzStatement sees that no text panics, that what is refused stores nothing,
// and that what is stored is text.
func FuzzStatement(f *testing.F) {
	for _, s := range []string{
		"insert into `a` (`b`) values ('x\\'',0x4,-1.5e3,now(3),from_unixtime(1.5)),(null)", "insert ignore a.b set c=\"d\"\"\"",
		"select @@a.b as 'c', 1, database() from dual limit 1", "set names utf8, @@session.time_zone='+01:00'", "/*!1 set a=1*/", "-- \n#\n/**/;",
		"show variables like '%a_'", "begin", "rollback to savepoint s", "select table_version from version where table_name='a'", "insert into a values(?,_binary x'00')",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		store := newStore(nil)
		s := fuzzSession(store)
		before := strings.Clone(string(src))
		err := s.query(src)
		if string(src) != before {
			t.Fatal("the statement was changed")
		}
		if err != nil && store.all() != "" {
			t.Fatalf("refused with %v, and stored %q", err, store.all())
		}
		if got := store.all(); !utf8.ValidString(got) || strings.IndexByte(got, 0) >= 0 {
			t.Fatalf("stored %q", got)
		}
		s.in.out = nil
		if s.prepare(src) == nil {
			_ = s.execute([]byte{1, 0, 0, 0, 0, 1, 0, 0, 0})
		}
	})
}

// FuzzPackets hands a session any command after another.
func FuzzPackets(f *testing.F) {
	f.Add([]byte("\x16insert into a(b) values(?)"), []byte{comExecute, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 0, 1, 0, 0, 0}, []byte{comExecute, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 2, 0, 0, 0})
	f.Add([]byte("\x16insert into a(b,c) values(?,?)"), []byte{comLongData, 1, 0, 0, 0, 0, 0, 'x'}, []byte{comExecute, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 12, 0, 12, 0, 4, 1, 2, 3, 4})
	f.Add([]byte("\x16select 1"), []byte{comClose, 1, 0, 0, 0}, []byte{comReset, 1, 0, 0, 0})
	f.Fuzz(func(_ *testing.T, a, b, c []byte) {
		s := fuzzSession(newStore(nil))
		for _, body := range [][]byte{a, b, c} {
			if s.handle(body) != nil {
				return
			}
		}
	})
}

// FuzzHello reads any answer to the greeting.
func FuzzHello(f *testing.F) {
	f.Add([]byte("\x0d\xa6\x3f\x20\x00\x00\x00\x01\x2d" + strings.Repeat("\x00", 23) + "u\x00\x01xd\x00mysql_native_password\x00"))
	f.Fuzz(func(_ *testing.T, body []byte) {
		if len(body) > maxLogin {
			return
		}
		s := fuzzSession(newStore(nil))
		in := append([]byte{byte(len(body)), byte(len(body) >> 8), 0, 0}, body...)
		s.in = newPackets(&canned{strings.NewReader(string(in))}, s.srv.memory)
		_, _ = s.readHello()
	})
}

type canned struct{ *strings.Reader }

func (canned) Write(b []byte) (int, error) { return len(b), nil }
