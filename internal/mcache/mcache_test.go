package mcache_test

import (
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"holdfast/internal/mcache"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestMain(m *testing.M) {
	if os.Getenv(childDir) != "" {
		child()
		return
	}
	goleak.VerifyTestMain(m)
}

// record turns a message of these tests into one of the package.
func record(m message) *mcache.Record {
	return &mcache.Record{Flags: m.flags, Offsets: m.offsets, Message: []byte(m.text)}
}

func plain(r *mcache.Record) message {
	return message{flags: r.Flags, offsets: r.Offsets, text: string(r.Message)}
}

func open(t testing.TB, dir string, o mcache.Options) *mcache.Queue {
	t.Helper()
	q, err := mcache.Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = q.Close() })
	return q
}

func shut(t testing.TB, q *mcache.Queue) {
	t.Helper()
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
}

// drain gets and acks everything.
func drain(t testing.TB, q *mcache.Queue) (all []message) {
	t.Helper()
	for {
		r, err := q.Get()
		if errors.Is(err, mcache.ErrUnacked) {
			if err := q.Done(); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if errors.Is(err, io.EOF) {
			if err := q.Done(); err != nil {
				t.Fatal(err)
			}
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, plain(r))
	}
}

func same(t testing.TB, what string, got, want []message) {
	t.Helper()
	for i := range min(len(got), len(want)) {
		if got[i] != want[i] {
			t.Fatalf("%s: record %d is %.200v, want %.200v", what, i, got[i], want[i])
		}
	}
	if len(got) != len(want) {
		t.Fatalf("%s: %d records, want %d", what, len(got), len(want))
	}
}

func samples(first, n int) (all []message) {
	for i := range n {
		all = append(all, sample(first+i))
	}
	return all
}

// names returns what is in a directory.
func names(t testing.TB, dir string) string {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range list {
		all = append(all, e.Name())
	}
	return strings.Join(all, " ")
}

// TestGolden reads files of both byte orders and of the three readings, with
// bof at the first record, in the middle, and at the end. The files are cut
// behind their eof, and filled up to 1 MiB here.
func TestGolden(t *testing.T) {
	for _, order := range []string{"little", "big"} {
		for _, reading := range []string{"a", "b", "c"} {
			for _, read := range []int{0, 2, 5} {
				name := fmt.Sprintf("%s-%s-%d", order, reading, read)
				path := filepath.Join("testdata", name+".cache")
				if *update {
					var o binary.ByteOrder = binary.LittleEndian
					if order == "big" {
						o = binary.BigEndian
					}
					whole := file(o, reading, read, samples(1, 5)...)
					if err := os.WriteFile(path, whole[:o.Uint32(whole[4:])], 0o600); err != nil {
						t.Fatal(err)
					}
				}
				t.Run(name, func(t *testing.T) {
					text, err := os.ReadFile(path)
					if err != nil {
						t.Fatal(err)
					}
					c, err := mcache.Parse(append(text, make([]byte, mcache.Limit-len(text))...))
					if err != nil {
						t.Fatal(err)
					}
					if got := strings.ToLower(c.Reading.String()); got != reading && read < 5 {
						t.Errorf("read as reading %s", got)
					}
					if got, _, _ := strings.Cut(c.Order.String(), "-"); got != order {
						t.Errorf("read as %s", got)
					}
					var got []message
					for i := range c.Records {
						got = append(got, plain(&c.Records[i]))
					}
					same(t, name, got, samples(1+read, 5-read))
					for _, r := range c.Records {
						if string(r.Field(0)) != "HDR:" || string(r.Field(11)) != "host%3Aa:" || string(r.Field(32)) != "END" {
							t.Errorf("fields are %q, %q, %q", r.Field(0), r.Field(11), r.Field(32))
						}
					}
				})
			}
		}
	}
}

// TestRoundTrip puts records of all sizes over several files, and reads them
// with the independent reader and with the queue; then no file is left.
func TestRoundTrip(t *testing.T) {
	for _, order := range []mcache.Order{mcache.Little, mcache.Big} {
		t.Run(order.String(), func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "cache")
			q := open(t, dir, mcache.Options{Order: order, Make: true})
			var want []message
			for i := range 120 {
				m := sample(i)
				m.text += strings.Repeat("z", i*i*5%60000)
				if i%40 == 7 { // the largest that there is
					m.text += strings.Repeat("z", mcache.MaxMessage-len(m.text))
				}
				want = append(want, m)
			}
			for i := 0; i < len(want); i += 10 {
				var some []*mcache.Record
				for _, m := range want[i : i+10] {
					some = append(some, record(m))
				}
				if err := q.Put(some...); err != nil {
					t.Fatal(err)
				}
			}
			if q.Files() < 3 {
				t.Fatalf("there are %d files, want several", q.Files())
			}
			same(t, "independent reader", readAll(t, dir), want)
			shut(t, q)
			info, err := os.Stat(filepath.Join(dir, "xdasd.cache.0"))
			if err != nil || info.Mode().Perm() != 0o644 {
				t.Errorf("mode of a file is %v (%v), want 0644", info.Mode(), err)
			}
			if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o744 {
				t.Errorf("mode of the directory is %v (%v), want 0744", info.Mode(), err)
			}
			q = open(t, dir, mcache.Options{Order: order})
			same(t, "queue", drain(t, q), want)
			if left := names(t, dir); left != "" {
				t.Errorf("drained, and %q is left", left)
			}
			if err := q.Put(record(sample(1))); err != nil {
				t.Fatal(err)
			}
			if left := names(t, dir); left != "xdasd.cache.0" {
				t.Errorf("numbers do not begin at 0 again: %q", left)
			}
		})
	}
}

// TestReadsWhatOthersWrote drains a cache with bof in the middle, a file in
// the middle that was read to its end, gaps in the numbers, 10 behind 9, a torn
// tail, another byte order and reading per file, and a newest file without a
// header.
func TestReadsWhatOthersWrote(t *testing.T) {
	dir := t.TempDir()
	write := func(n int, b []byte) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("xdasd.cache.%d", n)), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	le, be := binary.LittleEndian, binary.BigEndian
	write(3, file(le, "a", 4, samples(0, 10)...))
	write(5, file(be, "b", 5, samples(500, 5)...)) // read to its end
	write(9, file(be, "c", 0, samples(10, 6)...))
	torn := file(le, "b", 0, samples(16, 4)...)
	copy(torn[le.Uint32(torn[4:]):], "\xff\x01\x02 half a record that was never put")
	write(10, torn)
	write(11, make([]byte, 1<<20)) // made, and never begun
	write(12, nil)
	_ = os.Remove(filepath.Join(dir, "xdasd.cache.11"))
	for _, odd := range []string{"xdasd.cache.007", "xdasd.cache.x", "xdasd.cache.", "other"} {
		if err := os.WriteFile(filepath.Join(dir, odd), []byte("not of the cache"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	q := open(t, dir, mcache.Options{})
	if err := q.Put(record(sample(20))); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "xdasd.cache.13")); err != nil {
		t.Errorf("a record went into a file that another program made: %v", err)
	}
	same(t, "drained", drain(t, q), samples(4, 17))
	shut(t, q)
	if left := names(t, dir); left != "other xdasd.cache. xdasd.cache.007 xdasd.cache.x" {
		t.Errorf("%q is left", left)
	}
}

// TestRestart gets some, acks fewer, and finds the others again.
func TestRestart(t *testing.T) {
	dir := t.TempDir()
	q := open(t, dir, mcache.Options{})
	for _, m := range samples(0, 20) {
		if err := q.Put(record(m)); err != nil {
			t.Fatal(err)
		}
	}
	get := func(n int) {
		t.Helper()
		for range n {
			if _, err := q.Get(); err != nil {
				t.Fatal(err)
			}
		}
	}
	get(5)
	if err := q.Done(); err != nil {
		t.Fatal(err)
	}
	get(5)
	if _, err := mcache.Open(dir, mcache.Options{}); !errors.Is(err, mcache.ErrHeld) {
		t.Errorf("a second process got %v", err)
	}
	shut(t, q) // five are not acked
	q = open(t, dir, mcache.Options{})
	if err := q.Put(record(sample(20))); err != nil {
		t.Fatal(err)
	}
	same(t, "after a restart", drain(t, q), samples(5, 16))
	for _, m := range samples(30, 3) { // put while the one before is got
		if err := q.Put(record(m)); err != nil {
			t.Fatal(err)
		}
		r, err := q.Get()
		if err != nil {
			t.Fatal(err)
		}
		same(t, "one at a time", []message{plain(r)}, []message{m})
		if err := q.Done(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestGetSeesWhatComes puts into the file that is being read.
func TestGetSeesWhatComes(t *testing.T) {
	q := open(t, t.TempDir(), mcache.Options{})
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(q.Put(record(sample(1))))
	_, err := q.Get()
	must(err)
	must(q.Put(record(sample(2))))
	if _, err := q.Get(); !errors.Is(err, mcache.ErrUnacked) {
		t.Fatalf("got %v, want to be asked for an ack", err)
	}
	must(q.Done())
	same(t, "the rest", drain(t, q), samples(2, 1))
}

// TestTooLarge refuses a record of 65,537 bytes, and keeps what is there.
func TestTooLarge(t *testing.T) {
	dir := t.TempDir()
	q := open(t, dir, mcache.Options{})
	fits := message{text: strings.Repeat("x", 65536-76)}
	if err := q.Put(record(fits)); err != nil {
		t.Fatalf("a record of 65,536 bytes: %v", err)
	}
	over := message{text: strings.Repeat("x", 65537-76)}
	if err := q.Put(record(sample(1)), record(over)); !errors.Is(err, mcache.ErrTooLarge) {
		t.Fatalf("a record of 65,537 bytes: %v", err)
	}
	same(t, "what is there", readAll(t, dir), []message{fits})
	bad := sample(1)
	bad.offsets[3] = 60000
	if err := q.Put(record(bad)); err == nil {
		t.Error("a record with a field outside its message was taken")
	}
}

// TestFillsFiles holds that a record that fits exactly goes into the file, and
// the next one into another.
func TestFillsFiles(t *testing.T) {
	dir := t.TempDir()
	q := open(t, dir, mcache.Options{})
	room := 1048576 - 12
	var want []message
	for room > 0 {
		size := min(room, 65536)
		if rest := room - size; rest > 0 && rest < 76 {
			size -= 76
		}
		m := message{text: strings.Repeat("f", size-76)}
		if err := q.Put(record(m)); err != nil {
			t.Fatal(err)
		}
		want = append(want, m)
		room -= size
	}
	if got := names(t, dir); got != "xdasd.cache.0" {
		t.Fatalf("a file that is exactly full is %q", got)
	}
	if err := q.Put(record(sample(1))); err != nil {
		t.Fatal(err)
	}
	if got := names(t, dir); got != "xdasd.cache.0 xdasd.cache.1" {
		t.Fatalf("the record behind a full file is in %q", got)
	}
	same(t, "all", readAll(t, dir), append(want, sample(1)))
}

// TestDamage names what is wrong, and where.
func TestDamage(t *testing.T) {
	le := binary.LittleEndian
	whole := func(change func(b []byte)) []byte {
		b := file(le, "a", 1, samples(1, 4)...)
		change(b)
		return b
	}
	for _, c := range []struct {
		name string
		file []byte
		want string
	}{
		{"limit", whole(func(b []byte) { b[10] = 0x20 }), "its limit is 00 00 20 00"},
		{"bof in the header", whole(func(b []byte) { le.PutUint32(b, 11) }), "its bof is 11"},
		{"bof behind eof", whole(func(b []byte) { le.PutUint32(b, 1<<19) }), "its bof is 524288"},
		{"eof behind the limit", whole(func(b []byte) { le.PutUint32(b[4:], 1<<20+1) }), "and its eof 1048577"},
		{"eof inside a record", whole(func(b []byte) { le.PutUint32(b[4:], le.Uint32(b[4:])-1) }), "no reading of its records lands on its eof: reading A: record at"},
		{"bof inside a record", whole(func(b []byte) { le.PutUint32(b, le.Uint32(b)+1) }), "no reading"},
		{"a length of nothing", whole(func(b []byte) { le.PutUint32(b[le.Uint32(b):], 0) }), "length 0 cannot be"},
		{"a length of 4 GiB", whole(func(b []byte) { le.PutUint32(b[le.Uint32(b):], 0xffffffff) }), "length 4294967295 cannot be"},
		{"offsets that fall", whole(func(b []byte) { le.PutUint16(b[le.Uint32(b)+8+6:], 1) }), "field"},
		{"short file", whole(func(b []byte) {})[:100], "it has 100 bytes, its eof is"},
		{"no header", []byte{1, 2, 3}, "fewer than a header"},
	} {
		if _, err := mcache.Parse(c.file); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", c.name, err, c.want)
		}
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "xdasd.cache.4"), c.file, 0o600); err != nil {
			t.Fatal(err)
		}
		q, err := mcache.Open(dir, mcache.Options{})
		if err == nil {
			_, err = q.Get()
			if cerr := q.Close(); cerr != nil {
				t.Error(cerr)
			}
		}
		if err == nil || !strings.Contains(err.Error(), `"xdasd.cache.4"`) || !strings.Contains(err.Error(), "move it away") {
			t.Errorf("%s: the queue says %v", c.name, err)
		}
	}
}
