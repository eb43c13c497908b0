package mcache_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"holdfast/internal/mcache"
)

// table is a store that keeps what its contract says, and fails as it is told.
type table struct {
	position string
	rows     []map[string]any
	fail     int  // the call that fails, from 1; 0: none
	late     bool // it does its work, and only its answer is lost
	calls    int
}

var errLost = errors.New("the answer was lost")

func (s *table) Position(context.Context) (string, error) {
	if s.calls++; s.calls == s.fail {
		return "", errLost
	}
	return s.position, nil
}

func (s *table) Move(_ context.Context, from, to string, lines []byte) error {
	s.calls++
	if s.calls == s.fail && !s.late {
		return errLost
	}
	if from != s.position {
		return fmt.Errorf("%w: it is %q", mcache.ErrElsewhere, s.position)
	}
	for line := range bytes.Lines(lines) {
		var one map[string]any
		if err := json.Unmarshal(line, &one); err != nil {
			return err
		}
		s.rows = append(s.rows, one)
	}
	s.position = to
	if s.calls == s.fail {
		return errLost
	}
	return nil
}

// fill makes a cache of several files; big messages, so that a file takes
// several batches.
func fill(t *testing.T, dir string, n int) {
	t.Helper()
	q := open(t, dir, mcache.Options{})
	for i := range n {
		if err := q.Put(record(large(i))); err != nil {
			t.Fatal(err)
		}
	}
	shut(t, q)
}

// once sees that each message is stored once, in order, and no file is left.
func (s *table) once(t *testing.T, dir string, n int, when string) {
	t.Helper()
	for i, r := range s.rows {
		if want := strings.TrimSuffix(large(i).text, "\x00"); i < n && r["msg"] != strings.ReplaceAll(want, "\x00", "") && r["raw"] != hex.EncodeToString([]byte(large(i).text)) {
			t.Fatalf("%s: row %d is %.80v", when, i, r)
		}
	}
	if len(s.rows) != n {
		t.Fatalf("%s: %d rows, want %d", when, len(s.rows), n)
	}
	if left := names(t, dir); left != "" {
		t.Fatalf("%s: %q is left", when, left)
	}
}

// TestDrainOnce stops a drain at every operation on files, and at every call of
// the store with its work done or not, and runs it again: each message is
// stored once.
func TestDrainOnce(t *testing.T) {
	const n = 30
	run := func(dir string, s *table, o mcache.Options) error {
		q, err := mcache.Open(dir, o)
		if err != nil {
			return err
		}
		_, err = q.Drain(t.Context(), s, nil)
		return errors.Join(err, q.Close())
	}
	again := func(dir string, s *table, when string) {
		t.Helper()
		s.fail = 0
		if err := run(dir, s, mcache.Options{}); err != nil {
			t.Fatalf("%s: run again: %v", when, err)
		}
		s.once(t, dir, n, when)
	}
	for _, late := range []bool{false, true} {
		for at := 1; ; at++ {
			dir, s := memoryDir(t), &table{fail: at, late: late}
			fill(t, dir, n)
			err := run(dir, s, mcache.Options{})
			if s.calls < at {
				if err != nil || at < 6 {
					t.Fatalf("%d calls of the store, %v", s.calls, err)
				}
				break
			}
			if err == nil {
				t.Fatalf("call %d failed, and nobody was told", at)
			}
			again(dir, s, fmt.Sprintf("call %d, late %v", at, late))
		}
	}
	for _, kind := range []string{"one error", "process killed", "power cut"} {
		for at := 1; ; at++ {
			dir, s := memoryDir(t), &table{}
			fill(t, dir, n)
			m := newMachine(dir, at, kind == "one error")
			err := run(dir, s, mcache.Options{Watch: m.watch()})
			if m.hit == "" {
				if err != nil || at < 20 {
					t.Fatalf("%d operations, %v", at, err)
				}
				break
			}
			if err == nil {
				t.Fatalf("%s failed, and nobody was told", m.hit)
			}
			if kind == "power cut" {
				m.cut(t)
			}
			again(dir, s, fmt.Sprintf("%s at operation %d, %s", kind, at, m.hit))
		}
	}
}

// TestDrainMeetsSameBytesAgain holds that a message like the one before, in a
// file of the same number at the same place, is stored.
func TestDrainMeetsSameBytesAgain(t *testing.T) {
	dir, s := t.TempDir(), &table{}
	for range 3 {
		q := open(t, dir, mcache.Options{})
		if err := q.Put(record(sample(7))); err != nil {
			t.Fatal(err)
		}
		if d, err := q.Drain(t.Context(), s, nil); err != nil || d.Records != 1 || d.Repeats != 0 {
			t.Fatalf("%+v, %v", d, err)
		}
		shut(t, q)
	}
	if len(s.rows) != 3 {
		t.Errorf("%d rows, want 3", len(s.rows))
	}
}

// TestDrainColumns reads fields by the offsets of each record alone, whatever
// the byte order and the reading, and keeps what is not text.
func TestDrainColumns(t *testing.T) {
	dir, s := t.TempDir(), &table{}
	bad := sample(1)
	bad.text = strings.Replace(bad.text, "host", "\xff\x00st", 1)
	bare := message{flags: 3, text: "no fields at all"}
	shifted := sample(2) // its offsets count, not its colons
	for i := range shifted.offsets {
		shifted.offsets[i] = uint16(min(i, 20))
	}
	for i, f := range [][]byte{file(binary.BigEndian, "c", 0, sample(0), bad), file(binary.LittleEndian, "b", 0, bare, shifted)} {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("xdasd.cache.%d", i)), f, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	q := open(t, dir, mcache.Options{})
	if _, err := q.Drain(t.Context(), s, nil); err != nil {
		t.Fatal(err)
	}
	if len(s.rows) != 4 {
		t.Fatalf("%d rows, want 4", len(s.rows))
	}
	want := []map[string]any{
		{"flags": float64(0x80000000), "msg": strings.TrimSuffix(sample(0).text, "\x00"), "hdr_0": "HDR", "hdr_1": "0", "hdr_9": "0x0", "org_0": "ORG", "org_1": "host%3Aa", "org_6": "u0",
			"int_0": "INT", "int_3": "x", "tgt_0": "TGT", "tgt_6": "", "src_0": "SRC", "src_1": "", "evt_0": "EVT", "evt_1": "e", "end_0": "END", "raw": nil},
		{"flags": float64(0x80000001), "msg": nil, "hdr_0": nil, "raw": hex.EncodeToString([]byte(bad.text))},
		{"flags": float64(3), "msg": "no fields at all", "hdr_0": "", "end_0": ""},
		{"hdr_0": "H", "hdr_1": "D", "hdr_2": "R", "hdr_3": ""},
	}
	for i, w := range want {
		for column, value := range w {
			if s.rows[i][column] != value {
				t.Errorf("row %d, column %s is %q, want %q", i, column, s.rows[i][column], value)
			}
		}
	}
	if len(s.rows[0]) != 35 {
		t.Errorf("a row has %d columns, want flags, msg and 33 fields", len(s.rows[0]))
	}
}
