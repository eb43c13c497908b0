package mcache

import (
	"encoding/binary"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"testing"

	"holdfast/row"
)

// read returns the unread messages of a cache, each as its fields: from the
// table in docs/mcache.md alone, without the package that writes them.
func read(t testing.TB, dir string) (all [][]string) {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, "xdasd.cache.*"))
	if err != nil {
		t.Fatal(err)
	}
	number := func(path string) int {
		n, err := strconv.Atoi(path[strings.LastIndexByte(path, '.')+1:])
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	sort.Slice(found, func(i, j int) bool { return number(found[i]) < number(found[j]) })
	for _, path := range found {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if len(b) != 1<<20 || binary.LittleEndian.Uint32(b[8:]) != 1<<20 {
			t.Fatalf("%s has %d bytes and the limit % x", path, len(b), b[8:12])
		}
		at, eof := binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint32(b[4:])
		for at < eof {
			size := binary.LittleEndian.Uint32(b[at:])
			if at+4+size > eof {
				t.Fatalf("%s: record at %d of %d bytes, eof is %d", path, at, size, eof)
			}
			msg := string(b[at+76 : at+4+size])
			var one []string
			last := uint16(0)
			for i := range 33 {
				from, to := binary.LittleEndian.Uint16(b[int(at)+8+2*i:]), binary.LittleEndian.Uint16(b[int(at)+10+2*i:])
				if from != last && i > 0 || to < from || int(to) > len(msg) {
					t.Fatalf("%s: record at %d: field %d is %d to %d", path, at, i, from, to)
				}
				if last = to; from < to {
					one = append(one, msg[from:to])
				}
			}
			if !strings.HasSuffix(msg, "\x00") || int(last) != len(msg)-1 {
				t.Fatalf("%s: record at %d ends %q, its fields end at %d", path, at, msg[max(0, len(msg)-10):], last)
			}
			all = append(all, one)
			at += 4 + size
		}
	}
	return all
}

// plain undoes what a message does to a name or a value.
func plain(t testing.TB, text string) string {
	t.Helper()
	out, err := url.PathUnescape(text)
	if err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	return out
}

// rows returns columns of the messages that are rows of a table; what a row has
// not is NULL.
func rows(t testing.TB, dir, table string, columns ...string) (all [][]row.Value) {
	t.Helper()
	for _, m := range read(t, dir) {
		// The 33rd field has the rest of a row with more columns.
		parts := strings.Split(strings.Join(m, ""), ":")
		if plain(t, parts[0]) != table {
			continue
		}
		has := map[string]row.Value{}
		for _, p := range parts[1:] {
			name, value, set := strings.Cut(p, "=")
			has[plain(t, name)] = row.Null
			if set {
				has[plain(t, name)] = row.Text(plain(t, value))
			}
		}
		one := make([]row.Value, len(columns))
		for i, c := range columns {
			one[i] = row.Null
			if v, ok := has[c]; ok {
				one[i] = v
			}
		}
		all = append(all, one)
	}
	return all
}

// numbers returns the first column of every row of table t.
func numbers(t testing.TB, dir string) (all []int) {
	t.Helper()
	for _, r := range rows(t, dir, "t", "n") {
		n := 0
		if _, err := fmt.Sscan(string(r[0].Text), &n); err != nil {
			t.Fatal(err)
		}
		all = append(all, n)
	}
	return all
}
