package pgwire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"

	"holdfast/internal/fault"
	"holdfast/row"
)

// sessions is how many changed sessions are run where HOLDFAST_SESSIONS does not
// say: make unit has it say a million.
const sessions = 20_000

// TestMillionSessions runs sessions whose messages were put together and
// changed at random: each must end, nothing may panic, every answer must be a
// message, no row may be anything but text, and memory must not grow.
// HOLDFAST_SEED=n runs the same ones again.
func TestMillionSessions(t *testing.T) {
	n := sessions
	if given := os.Getenv("HOLDFAST_SESSIONS"); given != "" {
		var err error
		if n, err = strconv.Atoi(given); err != nil {
			t.Fatal(err)
		}
	}
	seed := uint64(time.Now().UnixNano())
	if given := os.Getenv("HOLDFAST_SEED"); given != "" {
		var err error
		if seed, err = strconv.ParseUint(given, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("seed %d, %d sessions", seed, n)
	parts := sessionParts(t)
	var wg sync.WaitGroup
	for w := range 2 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(seed, uint64(w)))
			var before, now runtime.MemStats
			for i := range n / 2 {
				runChanged(t, r, parts)
				switch {
				case t.Failed():
					return
				case i == 1000 && w == 0:
					runtime.GC()
					runtime.ReadMemStats(&before)
				case i > 1000 && i%(n/8) == 0 && w == 0:
					runtime.GC()
					if runtime.ReadMemStats(&now); now.HeapAlloc > before.HeapAlloc+64<<20 {
						t.Errorf("after %d sessions %d bytes are held, %d more than at the start", i, now.HeapAlloc, now.HeapAlloc-before.HeapAlloc)
						return
					}
				}
			}
		})
	}
	wg.Wait()
}

// sessionParts are messages that mean something together or behind each other.
func sessionParts(t *testing.T) (parts [][]byte) {
	for _, q := range []string{
		"insert into k(a,b) values (1,'x'),($1,default)", "insert into k values (1,'x',2.5,now(),'{1}') on conflict do nothing", "begin", "commit", "rollback", "savepoint a", "rollback to a", "release a",
		"copy k(a,b) from stdin", "copy k(a,b) from stdin csv header", "copy k(a,b) from stdin binary", "set time zone 'Asia/Tokyo'", "set synchronous_commit = off", "show timezone", "select 1, version()", "select a, b from k",
		"create table if not exists n (a int, b text)", "insert into n(a) values (nullif('x','')), (E'\\u00e4'), (U&'\\0041' uescape '!')", "discard all", "deallocate all", "", ";;", "begin; insert into k(a) values (1); commit; nonsense", "/* x",
	} {
		parts = append(parts, frame('Q', q+"\x00"),
			encode(t, parse("", q), bind("", ""), execute(""), syncMessage), encode(t, parse("s", q, 23), describe('S', "s"), bind("p", "s", "1"), describe('P', "p"), execute("p"), syncMessage))
	}
	parts = append(parts, frame('d', "1\tx\n2\ty\n"), frame('d', "1,\"a\nb\"\n"), frame('d', copySignature+"\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\x00\x00\x04\x00\x00\x00\x01\xff\xff\xff\xff\xff\xff"), frame('c', ""), frame('f', "no\x00"), frame('S', ""), frame('H', ""),
		frame('C', "Ss\x00"), frame('C', "P\x00"), frame('X', ""), frame('F', "\x00\x00\x00\x01"), frame('p', "x\x00"), frame('Q', "no end"), []byte("Q\x7f\xff\xff\xff"), []byte("d\x7f\xff\xff\xff1\t2\n"), []byte("Q\x00\x00\x00\x03"),
		encode(t, bind("", "s", "1"), execute("")), frame('B', "\x00s\x00\x00\x01\x00\x01\x00\x01\x00\x00\x00\x04\x00\x00\x00\x05\x00\x00"), frame('B', "\x00\x00\x00\x01\x00\x01\xff\xff\xff\xff\xff\xfe\x00\x00"))
	return parts
}

// runChanged runs one session of some parts, most of them changed.
func runChanged(t *testing.T, r *rand.Rand, parts [][]byte) {
	var in []byte
	for range 1 + r.IntN(5) {
		in = append(in, parts[r.IntN(len(parts))]...)
	}
	for n := r.IntN(6); n > 0; n-- {
		at := r.IntN(len(in) + 1)
		switch end := min(len(in), at+1+r.IntN(9)); r.IntN(6) {
		case 0:
			in = slices.Concat(in[:at], in[end:])
		case 1:
			in = slices.Concat(in[:at], in[at:end], in[at:])
		case 2:
			in = slices.Insert(in, at, parts[r.IntN(len(parts))]...)
		case 3:
			if at+4 <= len(in) {
				binary.BigEndian.PutUint32(in[at:], []uint32{0, 1, 4, 5, 16, 0xffffffff, 0x7fffffff, 0x80000000, uint32(len(in) - at)}[r.IntN(9)])
			}
		default:
			if at < len(in) {
				in[at] = "\x00\xff'\"\\$();,SQPBDECHXdcf\n\t09aZ"[r.IntN(28)]
			}
		}
	}
	store := newMemStore(true)
	store.tables["k"] = changedColumns
	conn := &bufferConn{in: bytes.NewReader(in)}
	s := newSession(New(Options{Store: store}), conn)
	s.guest = s.srv.gate.Enter(s.from, func() {})
	defer s.cancel()
	defer func() {
		if p := recover(); p != nil {
			t.Errorf("session %q panics: %v", in, p)
		}
	}()
	err := s.serve()
	var f *fault.Error
	if err != errClosed && err != io.EOF && err != io.ErrUnexpectedEOF && !errors.As(err, &f) {
		t.Errorf("session %q ends with %v", in, err)
	}
	_ = s.flush()
	for _, kept := range store.rows {
		if checkText([]byte(kept)) != nil {
			t.Errorf("session %q stores %q", in, kept)
		}
	}
	if !wholeMessages(conn.out.Bytes()) {
		t.Errorf("session %q is answered %q", in, conn.out.Bytes())
	}
	if cap(s.in.buf) > 2*large+2*len(in) || s.in.taken == 0 && s.srv.memory.Free() != 128<<20 {
		t.Errorf("session %q holds %d bytes, %d are free", in, cap(s.in.buf), s.srv.memory.Free())
	}
}

var changedColumns = []row.Column{{Name: "a", Type: "int4"}, {Name: "b", Type: "text"}, {Name: "c", Type: "numeric"}, {Name: "d", Type: "timestamptz"}, {Name: "e", Type: "int4[]"}}

// wholeMessages reports whether b is messages of the kinds that are answered
// with, one behind the other.
func wholeMessages(b []byte) bool {
	for len(b) > 0 {
		if len(b) < 5 || strings.IndexByte("123CDEGINSTZnst", b[0]) < 0 {
			return false
		}
		n := int(binary.BigEndian.Uint32(b[1:])) + 1
		if n < 5 || n > len(b) {
			return false
		}
		if b[0] == 'E' || b[0] == 'N' {
			if new(pgproto3.ErrorResponse).Decode(b[5:n]) != nil {
				return false
			}
		}
		b = b[n:]
	}
	return true
}
