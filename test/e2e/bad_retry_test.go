package e2e

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// exported is what `rejects export` says of one reject.
type exported struct {
	aside
	Code    string   `json:"code"`
	Columns []string `json:"columns"`
}

// line is the number of the line that it is.
func (r exported) line() int {
	n, err := strconv.Atoi(r.values()[0])
	if err != nil {
		return -1
	}
	return n
}

func (r exported) values() (all []string) {
	for _, v := range r.Values {
		if v == nil {
			all = append(all, null)
		} else {
			all = append(all, *v)
		}
	}
	return all
}

// exportedOf returns rejects in the order of their rows.
func exportedOf(t *testing.T, config string, args ...string) (all []exported) {
	t.Helper()
	out := holdfast(t, 0, append([]string{"rejects", "export", "--config", config}, args...)...).stdout
	for line := range strings.Lines(out) {
		var r exported
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatalf("read %q: %v", line, err)
		}
		all = append(all, r)
	}
	slices.SortFunc(all, func(a, b exported) int { return cmp.Compare(a.Seq, b.Seq) })
	return all
}

// freeKeys are taken by no line and no row of the owner's.
const freeKeys = 2_000_000_000

// mended are the cells of line i as they are to be in the end: as they came, but
// for a key that another line has.
func mended(i int) []string {
	c := cells(i, false)
	if flawOf(i) == twiceKey {
		c[1] = fmt.Sprint(freeKeys + i)
	}
	return c
}

// retried takes the causes away and retries, while the server is killed.
func (b *badDatabases) retried(t *testing.T, rows int) {
	for _, o := range b.owners {
		o.run(t, o.mend+lacking(rows)+"DELETE FROM calls WHERE line = 0;\nSELECT 1")
	}
	for _, r := range exportedOf(t, b.config) {
		if i := r.line(); flawOf(i) == twiceKey {
			holdfast(t, 0, "rejects", "edit", fmt.Sprint(r.ID), fmt.Sprintf("id=%d", freeKeys+i), "--config", b.config)
		}
	}
	some := rows / 1000 / 5
	for _, o := range b.owners {
		b.killInRetry(t, o, killBefore, some)
		b.killInRetry(t, o, killDuring, some)
		b.killInRetry(t, o, killAfter, 2*some) // the first of them are in already
	}
	holdfast(t, 0, "rejects", "retry", "--all", "--config", b.config)
	if left := rejectsOf(t, "--config", b.config); len(left) != 0 {
		t.Errorf("%d rejects still wait, the first is %+v", len(left), left[0])
	}
	if done, want := rejectsOf(t, "--config", b.config, "--state", "delivered"), rows/1000*len(b.owners); len(done) != want {
		t.Errorf("%d rejects were delivered, want %d", len(done), want)
	}
	for _, o := range b.owners {
		o.holdsLines(t, rows, mended)
	}
}

// killInRetry kills the server while it retries some rejects of a sink: at a
// place in the commit where that can be seen, else as it writes.
func (b *badDatabases) killInRetry(t *testing.T, o owner, p plot, some int) {
	t.Helper()
	at := func() (open int, in string) {
		return len(rejectsOf(t, "--config", b.config, "--sink", o.name)), o.run(t, "SELECT count(*) FROM holdfast_retry")[0][0]
	}
	open, in := at()
	tap := b.taps[o.name]
	if tap != nil {
		tap.next(p, func() { _ = b.server.cmd.Process.Kill() })
	}
	retry := begin(t, "rejects", "retry", "--sink", o.name, "--limit", fmt.Sprint(some), "--config", b.config)
	if tap == nil {
		written(t, filepath.Join(filepath.Dir(b.data), "lite.db-wal"), retry.done)
		if p == killAfter {
			time.Sleep(10 * time.Millisecond)
		}
		b.server.kill()
	}
	select {
	case <-b.server.exited:
	case <-time.After(time.Minute):
		t.Fatalf("%s: the server was not killed %s: %s", o.name, p, retry.out.String())
	}
	<-retry.done
	b.start(t)
	nowOpen, nowIn := at()
	t.Logf("%s: killed %s: %d rejects waited, %d do now; %s rows had been retried, %s are now", o.name, p, open, nowOpen, in, nowIn)
	switch {
	case tap == nil:
	case p == killBefore && (nowOpen != open || nowIn != in):
		t.Errorf("%s: killed %s, the retry has left something behind", o.name, p)
	case p == killDuring && (nowOpen != open || nowIn == in):
		t.Errorf("%s: killed %s, the rows should be in and the rejects wait", o.name, p)
	}
}

// written waits until a file is written to, or somebody is done.
func written(t *testing.T, file string, done chan struct{}) {
	t.Helper()
	state := func() string {
		f, err := os.Stat(file)
		if err != nil {
			return err.Error()
		}
		return fmt.Sprint(f.Size(), f.ModTime())
	}
	for was := state(); was == state(); {
		select {
		case <-done:
			return
		case <-time.After(100 * time.Microsecond):
		}
	}
}

// transactions has a whole transaction set aside for one row, once to be
// retried and once to be discarded.
func (b *badDatabases) transactions(t *testing.T, rows int) {
	b.server.stop()
	text, err := os.ReadFile(b.config)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(b.config, []byte(strings.ReplaceAll(string(text), "create: never", "create: never, reject_unit: transaction")), 0o600); err != nil {
		t.Fatal(err)
	}
	b.start(t)
	insert := func(first, keeper int) {
		values := func(i, keeper int) string {
			return fmt.Sprintf("('%d', '%d', '2026-11-21', '1', '1', '%d', 'whole')", i, i, keeper)
		}
		execute(t, b.server.client(), "BEGIN; INSERT INTO calls ("+columns+") VALUES "+values(first, 1)+"; INSERT INTO calls ("+columns+") VALUES "+
			values(first+1, keeper)+", "+values(first+2, 1)+"; COMMIT")
	}
	late, never := 999_999_001, 999_999_002
	insert(rows+1, 2)
	insert(rows+4, late)
	insert(rows+7, never)
	insert(rows+10, 3)
	for _, o := range b.owners {
		holdfast(t, 0, "sink", "drain", o.name, "--config", b.config, "--timeout", "1m")
		all := exportedOf(t, b.config, "--sink", o.name)
		var got []string
		for _, r := range all {
			got = append(got, fmt.Sprint(r.line()-rows, " ", r.Code))
		}
		code := codes[o.name][noKeeper][0]
		want := []string{"4 transaction", "5 " + code, "6 transaction", "7 transaction", "8 " + code, "9 transaction"}
		if !slices.Equal(got, want) {
			t.Fatalf("%s: set aside %q, want %q", o.name, got, want)
		}
		o.run(t, fmt.Sprintf("INSERT INTO keepers VALUES (%d);\nSELECT 1", late))
		holdfast(t, 1, "rejects", "retry", "--sink", o.name, "--config", b.config) // what refers to nothing is refused again
		for _, r := range exportedOf(t, b.config, "--sink", o.name) {
			if i := r.line(); i != rows+8 {
				t.Errorf("%s: line %d still waits: %s", o.name, i, r.Error)
			}
		}
	}
	holdfast(t, 0, "rejects", "discard", "--all", "--note", "nobody's", "--apply", "--config", b.config)
	b.server.kill()
	b.start(t)
	holdfast(t, 0, "rejects", "retry", "--all", "--config", b.config)
	if gone := rejectsOf(t, "--config", b.config, "--state", "discarded"); len(gone) != len(b.owners) {
		t.Errorf("%d rejects were discarded, want %d", len(gone), len(b.owners))
	}
	for _, o := range b.owners {
		if got := o.run(t, fmt.Sprintf("SELECT count(*), count(DISTINCT line), max(line) - %d FROM calls WHERE line > %[1]d", rows))[0]; !slices.Equal(got, []string{"11", "11", "12"}) {
			t.Errorf("%s: %s rows of %s lines up to the %sth, want 11 of 11 up to the 12th", o.name, got[0], got[1], got[2])
		}
	}
}

// running is a verb that was begun.
type running struct {
	out  bytes.Buffer
	done chan struct{}
}

// begin starts a verb that may be cut short.
func begin(t *testing.T, args ...string) *running {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	r := &running{done: make(chan struct{})}
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Stdout, cmd.Stderr = &r.out, &r.out
	if err := cmd.Start(); err != nil {
		cancel()
		t.Fatal(err)
	}
	go func() {
		defer close(r.done)
		defer cancel()
		_ = cmd.Wait() // what it says is no matter, its server was killed
	}()
	return r
}
