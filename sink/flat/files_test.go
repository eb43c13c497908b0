package flat

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"holdfast/row"
	"holdfast/sink"
	"holdfast/sink/local"
	"holdfast/sink/sinktest"
)

// columns of the tables that the files in testdata were written for.
var kamailioColumns = map[string][]string{
	"acc":          strings.Split("method,from_tag,to_tag,callid,sip_code,sip_reason,time,src_user,src_domain,src_ip,dst_ouser,dst_user,dst_domain,ua,tag", ","),
	"missed_calls": strings.Split("method,from_tag,to_tag,callid,sip_code,sip_reason,time,src_user,src_domain,src_ip,dst_ouser,dst_user,dst_domain,ua,tag", ","),
	"acc_cdrs":     strings.Split("start_time,end_time,duration,caller,callee,call_id", ","),
}

// TestKamailioLines sends real lines of Kamailio through the sink. In its own
// form they come out byte for byte, in the other one value for value.
func TestKamailioLines(t *testing.T) {
	dir := t.TempDir()
	files, err := filepath.Glob("testdata/kamailio/*.log")
	if err != nil || len(files) < 9 {
		t.Fatalf("found %q, %v", files, err)
	}
	var rows []row.Row
	want := map[string][]byte{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		base := filepath.Base(file)
		table := base[:strings.LastIndexByte(base, '_')]
		want[table] = append(want[table], text...)
		sc := &row.Schema{Table: table}
		for _, c := range kamailioColumns[table] {
			sc.Columns = append(sc.Columns, row.Column{Name: c})
		}
		for line := range bytes.Lines(text) {
			r := row.Row{Seq: uint64(len(rows) + 1), Schema: sc}
			rest, more := bytes.TrimSuffix(line, []byte("\n")), true
			for more {
				var field []byte
				field, rest, more = row.CutFlat(rest)
				r.Values = append(r.Values, row.Text(strings.ReplaceAll(string(field), "%7C", "|")))
			}
			rows = append(rows, r)
		}
	}
	for i, o := range []Options{{Kamailio: true}, {Number: 129}} {
		n := mustAttach(t, mustOpen(t, dir, o))
		if err := n.Move(context.Background(), row.Position{}, nil); err != nil {
			t.Fatal(err)
		}
		mustDeliver(t, n, rows)
		for table, text := range want {
			got, err := os.ReadFile(filepath.Join(dir, fmt.Sprintf("%s_%d.log", table, o.Number)))
			if err != nil {
				t.Fatal(err)
			}
			if i == 0 && !bytes.Equal(got, text) {
				t.Errorf("table %s is not what Kamailio wrote:\n%s", table, got)
			}
			if i == 1 && bytes.Contains(got, []byte("%7C")) {
				t.Errorf("table %s has Kamailio's mark", table)
			}
		}
	}
	for i, got := range readFiles(t, dir, "acc_129.log") {
		for j, v := range got {
			if !bytes.Equal(v.Text, rows[i].Values[j].Text) {
				t.Errorf("line %d field %d: got %q, want %q", i+1, j+1, v.Text, rows[i].Values[j].Text)
			}
		}
	}
}

// TestKamailioRefuses holds that Kamailio's form never makes two lines of a row.
func TestKamailioRefuses(t *testing.T) {
	dir := t.TempDir()
	n := mustAttach(t, mustOpen(t, dir, Options{Kamailio: true}))
	rows := numbered(1, 3)
	rows[1].Values[1] = row.Text("evil\r\n INVITE|forged|")
	var j sinktest.Rejects
	if err := deliver(n, rows, &j); err != nil {
		t.Fatal(err)
	}
	if len(j.Rows) != 1 || j.Rows[0].Seq != 2 || !j.Settled || !strings.Contains(j.Why[0].Error(), `column "w" holds a line feed`) {
		t.Fatalf("set aside %v, because of %v", j.Rows, j.Why)
	}
	if text, _ := os.ReadFile(filepath.Join(dir, "t_0.log")); string(text) != "1|pad x\n3|pad xxx\n" {
		t.Fatalf("the file holds %q", text)
	}
}

// TestLogrotate renames the file, asks for rotation, and goes on.
func TestLogrotate(t *testing.T) {
	for _, how := range []string{"rotate", "forgotten", "restart"} {
		t.Run(how, func(t *testing.T) {
			dir := t.TempDir()
			name := filepath.Join(dir, "t_0.log")
			s := mustOpen(t, dir, Options{})
			n := mustAttach(t, s)
			mustDeliver(t, n, numbered(1, 10))
			if err := os.Rename(name, name+".1"); err != nil {
				t.Fatal(err)
			}
			switch how {
			case "rotate":
				if err := s.Rotate(); err != nil {
					t.Fatal(err)
				}
			case "restart":
				n = mustAttach(t, mustOpen(t, dir, Options{}))
			}
			if _, err := os.Stat(name); !errors.Is(err, os.ErrNotExist) {
				t.Fatalf("the file is there before a row came: %v", err)
			}
			mustDeliver(t, n, numbered(11, 15))
			wantNumbered(t, dir, 15)
			if text, err := os.ReadFile(name); err != nil || !strings.HasPrefix(string(text), "11|") {
				t.Fatalf("the new file holds %q, %v", text, err)
			}
		})
	}
}

// TestOwnRotation rotates by size, by time, and by the time in the name.
func TestOwnRotation(t *testing.T) {
	noon := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC).UnixMicro()
	for _, c := range []struct {
		name  string
		o     Options
		files int
		has   string
	}{
		{"size", Options{RotateSize: 100}, 5, "t_0.log.20"},
		{"time", Options{RotateEvery: time.Minute}, 3, "t_0.log.20"},
		{"pattern", Options{File: "%Y/%m/{table}_{n}.log-%d%%%H%M", DirMode: 0o711, Mode: 0o604}, 3, "2026/11/t_0.log-21%1201"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			n := mustAttach(t, mustOpen(t, dir, c.o))
			for i := range 5 { // 30 seconds apart: three minutes
				rows := numbered(4*i+1, 4*i+4)
				for k := range rows {
					rows[k].Received = noon + int64(i)*30e6 + int64(k)
				}
				rows[0].Values[1] = row.Text(strings.Repeat("x", 100))
				mustDeliver(t, n, rows)
			}
			got := readFiles(t, dir, "t_0.log")
			for i, r := range got {
				if string(r[0].Text) != fmt.Sprint(i+1) {
					t.Fatalf("row %d is %v", i+1, r)
				}
			}
			var found []string
			err := filepath.Walk(dir, func(p string, info os.FileInfo, err error) error {
				if err == nil && strings.HasPrefix(info.Name(), "t_0.log") {
					rel, _ := filepath.Rel(dir, p)
					found = append(found, rel)
					if c.o.Mode != 0 && info.Mode().Perm() != c.o.Mode {
						t.Errorf("%s has mode %v, want %v", rel, info.Mode(), c.o.Mode)
					}
				}
				return err
			})
			if err != nil || len(got) != 20 || len(found) != c.files || !strings.Contains(strings.Join(found, " "), c.has) {
				t.Errorf("%d rows in %q (%v), want 20 in %d files, one called %s", len(got), found, err, c.files, c.has)
			}
			if info, err := os.Stat(filepath.Join(dir, "2026", "11")); c.o.DirMode != 0 && (err != nil || info.Mode().Perm() != c.o.DirMode) {
				t.Errorf("the directory has %v, %v", info, err)
			}
		})
	}
}

// TestLocalTime names files by the machine's zone where it is told to.
func TestLocalTime(t *testing.T) {
	old := time.Local
	time.Local = time.FixedZone("east", 3*3600)
	defer func() { time.Local = old }()
	at := time.Date(2026, 12, 31, 22, 30, 1, 0, time.UTC).UnixMicro()
	for local, want := range map[bool]string{true: "27-001-013001_t_3", false: "26-365-223001_t_3"} {
		p, err := parsePattern("%y-%j-%H%M%S_{table}_{n}", 3, local)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := p.file("t", at); err != nil || got != want {
			t.Errorf("local %v: got %q, %v, want %q", local, got, err, want)
		}
	}
}

// TestOthersTouchFiles does to the files what other programs do, with the sink
// running and stopped, and sees that nothing of theirs is cut, that rows go on
// at a line's beginning, and that the log says so.
func TestOthersTouchFiles(t *testing.T) {
	for _, c := range []struct {
		name  string
		touch func(name string) error
		want  string // the file, in front of row 3
		log   string
	}{
		{"truncated", func(f string) error { return os.Truncate(f, 0) }, "", "by another program"},
		{"removed", os.Remove, "", ""},
		{"cut within a line", func(f string) error { return os.Truncate(f, 3) }, "1|p\n", "middle of a line"},
		{"written anew, longer", func(f string) error {
			return os.WriteFile(f, []byte(strings.Repeat("foreign\n", 9)), 0o640)
		}, strings.Repeat("foreign\n", 9), "by another program"},
		{"another file in its place", func(f string) error {
			return errors.Join(os.Rename(f, f+".1"), os.WriteFile(f, []byte("foreign|1\n"), 0o600))
		}, "foreign|1\n", ""},
	} {
		for _, restart := range []bool{false, true} {
			t.Run(fmt.Sprint(c.name, ", restart ", restart), func(t *testing.T) {
				dir := t.TempDir()
				name := filepath.Join(dir, "t_0.log")
				var log bytes.Buffer
				o := Options{Log: slog.New(slog.NewTextHandler(&log, nil))}
				n := mustAttach(t, mustOpen(t, dir, o))
				mustDeliver(t, n, numbered(1, 2))
				if err := c.touch(name); err != nil {
					t.Fatal(err)
				}
				if restart {
					n = mustAttach(t, mustOpen(t, dir, o))
				}
				mustDeliver(t, n, numbered(3, 3))
				mustDeliver(t, n, numbered(4, 4))
				text, err := os.ReadFile(name)
				if want := c.want + "3|pad xxx\n4|pad xxxx\n"; err != nil || string(text) != want {
					t.Errorf("the file holds %q, %v, want %q", text, err, want)
				}
				if !strings.Contains(log.String(), c.log) {
					t.Errorf("the log does not say %q: %s", c.log, &log)
				}
			})
		}
	}
}

// TestInodeIsReused gives a file's inode number to another one, as file
// systems do: that other one must not be cut.
func TestInodeIsReused(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, dir, Options{})
	n := mustAttach(t, s)
	mustDeliver(t, n, numbered(1, 2))
	other := filepath.Join(dir, "t_0.log.gz")
	if err := os.Rename(filepath.Join(dir, "t_0.log"), other); err != nil {
		t.Fatal(err)
	}
	content := bytes.Repeat([]byte("something else "), 100)
	if err := os.WriteFile(other, content, 0o600); err != nil { // the same inode
		t.Fatal(err)
	}
	n = mustAttach(t, mustOpen(t, dir, Options{}))
	mustDeliver(t, n, numbered(3, 3))
	if text, err := os.ReadFile(other); err != nil || !bytes.Equal(text, content) {
		t.Errorf("the other file has %d bytes now, %v", len(text), err)
	}
}

// TestDiskFull fails writes and flushes as a full or broken disk does: that is
// about the sink, nothing of the batch stays, and the next attempt works.
func TestDiskFull(t *testing.T) {
	for _, op := range []local.Op{local.OpWrite, local.OpSync, local.OpCreate, local.OpRename} {
		dir := t.TempDir()
		broken := false
		s, err := openWatched(dir, Options{RotateSize: 1}, local.Watch{Before: func(o local.Op, _ string) (int, error) {
			if broken && o == op {
				return 3, syscall.ENOSPC
			}
			return 0, nil
		}})
		if err != nil {
			t.Fatal(err)
		}
		n := mustAttach(t, s)
		mustDeliver(t, n, numbered(1, 2))
		broken = true
		for range 2 {
			err = deliver(n, numbered(3, 4), nil)
			var bad *sink.RowError
			if !errors.Is(err, syscall.ENOSPC) || errors.As(err, &bad) {
				t.Fatalf("%s: got %v", op, err)
			}
		}
		broken = false
		mustDeliver(t, n, numbered(3, 4))
		wantNumbered(t, dir, 4)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestColumns holds the order of fields against rows of many shapes, and
// against a restart.
func TestColumns(t *testing.T) {
	dir := t.TempDir()
	o := Options{Columns: map[string][]string{"t": {"z", "a"}}}
	put := func(n sink.Session, seq uint64, columns ...string) {
		t.Helper()
		r := row.Row{Seq: seq, Schema: &row.Schema{Table: "t"}}
		for _, c := range columns {
			r.Schema.Columns = append(r.Schema.Columns, row.Column{Name: c})
			r.Values = append(r.Values, row.Text(c))
		}
		mustDeliver(t, n, []row.Row{r})
	}
	n := mustAttach(t, mustOpen(t, dir, o))
	put(n, 1, "a", "b\n|")
	put(n, 2)
	n = mustAttach(t, mustOpen(t, dir, Options{}))
	put(n, 3, "c", "z")
	text, err := os.ReadFile(filepath.Join(dir, "t_0.log"))
	if want := `\N|a|b\n\x7C` + "\n" + `\N|\N|\N` + "\n" + `z|\N|\N|c` + "\n"; err != nil || string(text) != want {
		t.Errorf("the file holds %q, %v, want %q", text, err, want)
	}
	told := filepath.Join(dir, "t_0.columns")
	want := "z\na\n" + `b\n\x7C` + "\nc\n"
	if text, err := os.ReadFile(told); err != nil || string(text) != want {
		t.Errorf("the columns are %q, %v, want %q", text, err, want)
	}
	if err := os.Remove(told); err != nil {
		t.Fatal(err)
	}
	mustAttach(t, mustOpen(t, dir, Options{}))
	if text, err := os.ReadFile(told); err != nil || string(text) != want {
		t.Errorf("after it was removed and a restart the columns are %q, %v", text, err)
	}
}

// TestManyFiles writes to more files than may be open, in one batch and with
// the time in their names.
func TestManyFiles(t *testing.T) {
	dir := memoryDir(t)
	s := mustOpen(t, dir, Options{File: "{table}_{n}.log%H%M%S"})
	n := mustAttach(t, s)
	const files = 3 * maxOpen
	for last := files; last <= 2*files; last += files {
		rows := numbered(last-files+1, last)
		for i := range rows {
			rows[i].Received = int64(i) * 1e6
		}
		mustDeliver(t, n, rows)
	}
	if got := len(readFiles(t, dir, "t_0.log")); got != 2*files {
		t.Errorf("there are %d rows, want %d", got, 2*files)
	}
	if len(s.open) > maxOpen {
		t.Errorf("%d files are open", len(s.open))
	}
	if size, err := s.Size(); err != nil || size < 2*files*8 {
		t.Errorf("Size gives %d, %v", size, err)
	}
}

// TestStateDamaged refuses to guess where the cursor stood.
func TestStateDamaged(t *testing.T) {
	dir := t.TempDir()
	mustDeliver(t, mustAttach(t, mustOpen(t, dir, Options{})), numbered(1, 2))
	name := filepath.Join(dir, ownDir, "state.json")
	good, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ text, want string }{
		{"", "damaged"},
		{"{", "damaged"},
		{strings.Replace(string(good), `"seq":2`, `"seq":3`, 1), "checksum"},
		{strings.Replace(string(good), `"version":1`, `"version":2`, 1), "version 2"},
	} {
		if err := os.WriteFile(name, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := mustOpen(t, dir, Options{}).Attach(context.Background(), theID, "b", row.Position{}, nil)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.40q: got %v, want an error with %q", c.text, err, c.want)
		}
	}
	if err := os.WriteFile(name, good, 0o600); err != nil {
		t.Fatal(err)
	}
	mustDeliver(t, mustAttach(t, mustOpen(t, dir, Options{})), numbered(3, 4))
	wantNumbered(t, dir, 4)
}

// TestModes holds that other programs can read files of rows, whatever the
// umask is, and nothing else.
func TestModes(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0o077))
	dir := t.TempDir()
	mustDeliver(t, mustAttach(t, mustOpen(t, dir, Options{})), numbered(1, 2))
	for name, want := range map[string]os.FileMode{"t_0.log": 0o640, "t_0.columns": 0o640, ownDir: 0o700, ownDir + "/state.json": 0o600, ownDir + "/lock": 0o600} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v, want mode %v", name, info, err, want)
		}
	}
}

// TestDoubtful loses the flush behind the commit. The cursor is told only once
// it is certain, and no row comes twice.
func TestDoubtful(t *testing.T) {
	dir := t.TempDir()
	broken := false
	s, err := openWatched(dir, Options{}, local.Watch{Before: func(o local.Op, name string) (int, error) {
		if broken && o == local.OpSyncDir && name == ownDir {
			return 0, syscall.EIO
		}
		return 0, nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	n := mustAttach(t, s)
	mustDeliver(t, n, numbered(1, 2))
	broken = true
	if err := deliver(n, numbered(3, 4), nil); !errors.Is(err, sink.ErrDoubtful) {
		t.Fatalf("Apply gave %v, want a doubt", err)
	}
	if at, err := n.Cursor(context.Background()); err == nil {
		t.Fatalf("the cursor was told to stand at %d although that is not on disk", at.Seq)
	}
	broken = false
	at, err := n.Cursor(context.Background())
	if err != nil || at.Seq != 4 {
		t.Fatalf("the cursor stands at %d, %v", at.Seq, err)
	}
	mustDeliver(t, n, numbered(5, 6))
	wantNumbered(t, dir, 6)
}
