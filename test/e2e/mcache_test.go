package e2e

import (
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// writeCache makes a message cache as its description has it, with numbered
// messages from first on, a thousand in each file: every other file is
// big-endian, and the readings take turns.
func writeCache(t *testing.T, dir string, first, files int) (messages int) {
	t.Helper()
	orders := []binary.AppendByteOrder{binary.LittleEndian, binary.BigEndian}
	for n := range files {
		o := orders[n%2]
		b := make([]byte, 12)
		for range 1000 {
			fields := make([]string, 33)
			fields[0], fields[1], fields[32] = "HDR", fmt.Sprint(first+messages), "END"
			text := strings.Join(fields, ":")
			body := o.AppendUint32(nil, 7)
			at := 0
			for _, f := range fields {
				body = o.AppendUint16(body, uint16(at))
				at += len(f) + 1
			}
			body = append(o.AppendUint16(body, uint16(len(text))), text+"\x00"...)
			switch n % 3 {
			case 0:
				b = o.AppendUint32(b, uint32(len(body)))
			case 1:
				b = o.AppendUint32(b, uint32(len(body)+4))
			case 2:
				b = o.AppendUint32(o.AppendUint32(b, uint32(len(body))), uint32(len(body)))
			}
			b = append(b, body...)
			messages++
		}
		head := o.AppendUint32(o.AppendUint32(o.AppendUint32(nil, 12), uint32(len(b))), 1<<20)
		copy(b, head)
		b = append(b, make([]byte, 1<<20-len(b))...)
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("xdasd.cache.%d", 8+n)), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return messages
}

// TestImportKilled kills imports of message caches a hundred times, and the
// server now and then, and finds each message once.
func TestImportKilled(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED: takes a while")
	}
	rng := seeded(t)
	data, cache := dataDir(t), t.TempDir()
	s := start(t, data, options{})
	run := func() *exec.Cmd {
		c := exec.Command(program, "import", "mcache", cache, "--data", data)
		c.Env = append(os.Environ(), "HOLDFAST_DATA=")
		dieWithTest(c)
		return c
	}
	messages, killed, servers := 0, 0, 0
	for killed < 100 {
		if left, err := filepath.Glob(filepath.Join(cache, "xdasd.cache.*")); err != nil {
			t.Fatal(err)
		} else if len(left) == 0 {
			messages += writeCache(t, cache, messages, 3)
		}
		c := run()
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(15+rng.IntN(60)) * time.Millisecond)
		if killed%10 == 9 {
			s.kill()
			servers++
		}
		if err := c.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		if c.Wait() != nil { // it was not done before
			killed++
		}
		if s.over() {
			s = start(t, data, options{})
		}
	}
	r := holdfast(t, 0, "import", "mcache", cache, "--data", data)
	if !strings.Contains(r.stdout, "the cache is empty") {
		t.Errorf("the last import said %q", r.stdout)
	}
	if left, err := os.ReadDir(cache); err != nil || len(left) > 0 {
		t.Errorf("%v is left of the cache, %v", left, err)
	}
	s.delivered(time.Minute)
	s.stop()
	rows, err := openSink(t, data).Query("SELECT hdr_1, flags, hdr_0, end_0, msg FROM xdas")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	seen := make([]int, messages)
	for rows.Next() {
		var n, flags int
		var begin, end, msg string
		if err := rows.Scan(&n, &flags, &begin, &end, &msg); err != nil {
			t.Fatal(err)
		}
		if n < 0 || n >= messages || flags != 7 || begin != "HDR" || end != "END" || !strings.HasPrefix(msg, fmt.Sprintf("HDR:%d:", n)) {
			t.Fatalf("a row is %d, %d, %q, %q, %q", n, flags, begin, end, msg)
		}
		seen[n]++
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	wrong := 0
	for n, times := range seen {
		if times != 1 {
			if wrong++; wrong < 10 {
				t.Errorf("message %d is there %d times", n, times)
			}
		}
	}
	t.Logf("%d imports and %d servers killed; %d of %d messages are not there once", killed, servers, wrong, messages)
}
