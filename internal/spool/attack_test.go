package spool

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestScenario44Planted plants what an attacker who may write to the spool
// would: nothing outside of it is read, changed or removed, nothing blocks, and
// good files are taken in all the same.
func TestScenario44Planted(t *testing.T) {
	for _, c := range []struct {
		name  string
		o     Options
		plant func(b *bench, secret string) error
		bad   string   // the file that is set aside
		why   string   // of it, or of the note
		rows  []string // besides the good one
		stays string   // what is left where it is
	}{
		{name: "link to a file", plant: func(b *bench, secret string) error { return os.Symlink(secret, b.path("acc/x")) }, bad: "acc/x", why: "it is a symbolic link"},
		{name: "link to a directory", plant: func(b *bench, secret string) error { return os.Symlink(filepath.Dir(secret), b.path("acc/x")) }, bad: "acc/x", why: "it is a symbolic link"},
		{name: "link in place of a table's directory", plant: func(b *bench, secret string) error { return os.Symlink(filepath.Dir(secret), b.path("x")) }, stays: "x", why: "of no table"},
		{name: "link whose text is a value", o: Options{Symlinks: true, Format: Raw}, plant: func(b *bench, secret string) error { return os.Symlink("/etc/passwd", b.path("acc/x")) }, rows: []string{"acc|x|/etc/passwd"}},
		{name: "FIFO", plant: func(b *bench, _ string) error { return unix.Mkfifo(b.path("acc/x"), 0o666) }, bad: "acc/x", why: "it is a FIFO"},
		{name: "socket", plant: func(b *bench, _ string) error {
			l, err := net.ListenUnix("unix", &net.UnixAddr{Name: b.path("acc/x"), Net: "unix"})
			if err != nil {
				return err
			}
			l.SetUnlinkOnClose(false)
			return l.Close()
		}, bad: "acc/x", why: "it is a socket"},
		{name: "hard link", plant: func(b *bench, secret string) error { return os.Link(secret, b.path("acc/x")) }, stays: "acc/x", why: "hard link"},
		{name: "name with an escape", plant: func(b *bench, _ string) error { return os.WriteFile(b.path("acc/\x1b[2J"), []byte("{\"a\":9}"), 0o600) }, bad: "acc/\x1b[2J", why: "control character"},
		{name: "name that is no text", plant: func(b *bench, _ string) error { return os.WriteFile(b.path("acc/\xff"), []byte("{\"a\":9}"), 0o600) }, bad: "acc/\xff", why: "not UTF-8"},
		{name: "directory that is too deep", plant: func(b *bench, _ string) error {
			b.put("acc/1/2/3/4/5/6/7/8/9/f", "{\"a\":9}")
			return nil
		}, stays: "acc/1/2/3/4/5/6/7/8/9/f", why: "more than 8 deep"},
		{name: "directory that everybody may write to", plant: func(b *bench, _ string) error {
			b.put("open/f", "{\"a\":9}")
			return os.Chmod(b.path("open"), 0o777)
		}, stays: "open/f", why: "everybody may write to it"},
		{name: "link in place of bad", plant: func(b *bench, secret string) error {
			b.put("acc/x", "no")
			return os.Symlink(filepath.Dir(secret), b.path("bad"))
		}, stays: "acc/x", why: "cannot be moved"},
		{name: "a long name that is bad", plant: func(b *bench, _ string) error {
			b.put("acc/"+strings.Repeat("x", 255), "no")
			return nil
		}, bad: "acc/" + strings.Repeat("x", 240), why: "JSON is broken"},
	} {
		t.Run(c.name, func(t *testing.T) {
			secret := filepath.Join(t.TempDir(), "secret")
			if err := os.WriteFile(secret, []byte("{\"a\":\"secret\"}"), 0o600); err != nil {
				t.Fatal(err)
			}
			b := newBench(t, c.o)
			b.put("acc/good", "{\"a\":1}")
			if err := c.plant(b, secret); err != nil {
				t.Skipf("cannot be planted here: %v", err)
			}
			b.round()
			good := "acc|1"
			if c.o.Format == Raw {
				good = "acc|good|{\"a\":1}"
			}
			b.want("rows", b.store.rows, append([]string{good}, c.rows...)...)
			notes := strings.Join(b.s.Status().Notes, "\n")
			switch {
			case c.bad != "":
				if why := b.why(c.bad); !strings.Contains(why, c.why) {
					t.Errorf("it is bad because %q", why)
				}
				if _, err := os.Lstat(b.path("bad/" + c.bad)); err != nil {
					t.Error(err)
				}
			case c.stays != "":
				if _, err := os.Lstat(b.path(c.stays)); err != nil || !strings.Contains(notes, c.why) || b.s.Status().State != Held {
					t.Errorf("%v, status %+v", err, b.s.Status())
				}
			}
			if text, err := os.ReadFile(secret); err != nil || string(text) != "{\"a\":\"secret\"}" {
				t.Errorf("the file outside has %q, %v", text, err)
			}
			if entries, err := os.ReadDir(filepath.Dir(secret)); err != nil || len(entries) != 1 {
				t.Errorf("outside lie %v, %v", entries, err)
			}
		})
	}
}
