package mcache_test

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"testing"
)

// What stands here reads and writes caches from the table of offsets in
// docs/mcache.md alone: it shares no code, no type and no constant with the
// package, so that a mistake there is not made again here.

type message struct {
	flags   uint32
	offsets [34]uint16
	text    string
}

// sample is a message of the original's form with its field starts.
func sample(n int) message {
	text := fmt.Sprintf("HDR:%d::::::::0x0:ORG:host%%3Aa:::::u%d:INT:::x:TGT::::::%s:SRC::EVT:e:END", n, n, strings.Repeat("y", n%37))
	m := message{flags: uint32(n) | 0x80000000, text: text + "\x00"}
	k := 1
	for i := range len(text) {
		if text[i] == ':' {
			m.offsets[k] = uint16(i + 1)
			k++
		}
	}
	if k != 33 {
		panic(fmt.Sprintf("the sample has %d fields", k))
	}
	m.offsets[33] = uint16(len(text))
	return m
}

// encode writes a record: reading a, b or c.
func encode(m message, o binary.ByteOrder, reading string) []byte {
	rec := make([]byte, 76+len(m.text))
	size := uint32(len(rec) - 4)
	if reading == "b" {
		size = uint32(len(rec))
	}
	o.PutUint32(rec[0:], size)
	o.PutUint32(rec[4:], m.flags)
	for i, v := range m.offsets {
		o.PutUint16(rec[8+2*i:], v)
	}
	copy(rec[76:], m.text)
	if reading == "c" {
		outer := make([]byte, 4)
		o.PutUint32(outer, size)
		rec = append(outer, rec...)
	}
	return rec
}

// file writes a whole file of 1 MiB; read of its messages are before bof.
func file(o binary.ByteOrder, reading string, read int, all ...message) []byte {
	out := make([]byte, 12, 1<<20)
	bof := 12
	for i, m := range all {
		if out = append(out, encode(m, o, reading)...); i+1 == read {
			bof = len(out)
		}
	}
	o.PutUint32(out[0:], uint32(bof))
	o.PutUint32(out[4:], uint32(len(out)))
	o.PutUint32(out[8:], 1048576)
	return append(out, make([]byte, 1048576-len(out))...)
}

// readAll reads every unread message of a cache written in reading a.
func readAll(t testing.TB, dir string) (all []message) {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var numbers []int
	for _, e := range list {
		if d, ok := strings.CutPrefix(e.Name(), "xdasd.cache."); ok {
			n, err := strconv.Atoi(d)
			if err != nil {
				t.Fatalf("a file is called %q", e.Name())
			}
			numbers = append(numbers, n)
		}
	}
	sort.Ints(numbers)
	for _, n := range numbers {
		b, err := os.ReadFile(filepath.Join(dir, "xdasd.cache."+strconv.Itoa(n)))
		if err != nil {
			t.Fatal(err)
		}
		if len(b) != 1048576 {
			t.Fatalf("file %d has %d bytes", n, len(b))
		}
		all = append(all, readOne(t, n, b)...)
	}
	return all
}

func readOne(t testing.TB, n int, b []byte) (all []message) {
	t.Helper()
	var o binary.ByteOrder = binary.LittleEndian
	switch {
	case b[8] == 0 && b[9] == 0 && b[10] == 0x10 && b[11] == 0:
	case b[8] == 0 && b[9] == 0x10 && b[10] == 0 && b[11] == 0:
		o = binary.BigEndian
	default:
		t.Fatalf("file %d has the limit % x", n, b[8:12])
	}
	at, eof := o.Uint32(b), o.Uint32(b[4:])
	for at < eof {
		size := o.Uint32(b[at:])
		if size < 72 || size+4 > 65536 || at+4+size > eof {
			t.Fatalf("file %d, offset %d: recsz %d, eof %d", n, at, size, eof)
		}
		m := message{flags: o.Uint32(b[at+4:]), text: string(b[at+76 : at+4+size])}
		for i := range m.offsets {
			m.offsets[i] = o.Uint16(b[int(at)+8+2*i:])
		}
		all = append(all, m)
		at += 4 + size
	}
	return all
}
