package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// A teller is a client that writes a fixed load and remembers, statement by
// statement, which of three things it was told: the rows are stored, they are
// not, or nobody knows.
type teller struct {
	table    string
	server   *server
	told     []saying
	refused  int
	doubtful int
	last     error // that came last
	wrong    []string
	slowest  time.Duration
}

// A saying is one statement and what was said of it.
type saying struct {
	rows []string
	what outcome
	err  error
}

type outcome int

const (
	stored outcome = iota
	unknown
	refused
)

// A refusal is an answer of either door: its SQLSTATE, and the HTTP status
// where there was one.
type refusal struct {
	code   string
	status int
	text   string
}

func (r *refusal) Error() string { return fmt.Sprintf("%s (HTTP %d): %s", r.code, r.status, r.text) }

// unknowing are the SQLSTATEs that leave open whether the rows are stored.
var unknowing = []string{"40003", "57014"}

// refusing are those that a disk that fails may refuse rows with, and the HTTP
// statuses that go with them.
var refusing = map[string]int{"53100": 507, "53300": 429, "58030": 503, "57P01": 503, "57P03": 503}

// tell writes rows through send and notes what was said of them.
func (w *teller) tell(rows []string, send func(rows []string) error) {
	begun := time.Now()
	err := send(rows)
	w.slowest = max(w.slowest, time.Since(begun))
	s := saying{rows: rows, err: err}
	var answer *refusal
	switch {
	case err == nil:
	case !errors.As(err, &answer) || slices.Contains(unknowing, answer.code):
		s.what = unknown
		w.doubtful++
	default:
		s.what = refused
		w.refused++
		if status, ok := refusing[answer.code]; !ok || answer.status != 0 && answer.status != status {
			w.wrong = append(w.wrong, fmt.Sprintf("a fault of the disk was answered with %v", err))
		}
	}
	if answer != nil && answer.code == "40003" && answer.status != 0 && answer.status != 503 {
		w.wrong = append(w.wrong, fmt.Sprintf("an unknown outcome was answered with %v", err))
	}
	if err != nil {
		w.last = err
	}
	w.told = append(w.told, s)
}

// overHTTP posts rows as lines of JSON.
func (w *teller) overHTTP(rows []string) error { return w.overHTTPFor(rows, 20*time.Second) }

// overHTTPFor is overHTTP for a client with patience of its own.
func (w *teller) overHTTPFor(rows []string, patience time.Duration) error {
	var body bytes.Buffer
	for _, r := range rows {
		fmt.Fprintf(&body, "{\"v\":%q}\n", r)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, "POST", w.server.url("/v1/tables/"+w.table+"/rows"), &body)
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/x-ndjson")
	r, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	if r.StatusCode == http.StatusOK {
		return nil
	}
	var answer struct {
		Error struct{ Code, Message string }
	}
	if err := json.Unmarshal(text, &answer); err != nil {
		return fmt.Errorf("HTTP %s: %s", r.Status, text)
	}
	return &refusal{answer.Error.Code, r.StatusCode, answer.Error.Message}
}

// overWire inserts rows with one statement.
func (w *teller) overWire(c *pgconn.PgConn) func(rows []string) error {
	return func(rows []string) error {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		_, err := c.Exec(ctx, "INSERT INTO "+w.table+" (v) VALUES ('"+strings.Join(rows, "'),('")+"')").ReadAll()
		var e *pgconn.PgError
		if errors.As(err, &e) {
			return &refusal{code: e.Code, text: e.Message + ": " + e.Detail}
		}
		return err
	}
}

// statementOf returns the rows of the nth statement: each names itself, and
// every third statement is large, so that segments fill up.
func statementOf(nth int) (rows []string) {
	size := 20
	if nth%3 == 2 {
		size = 300 << 10
	}
	for i := range 2 {
		rows = append(rows, fmt.Sprintf("%d.%d.%s", nth, i, strings.Repeat(string(rune('a'+nth%26)), size/(i+1))))
	}
	return rows
}

// load lets two clients write at the same time, one through each door, and has
// the active segment sealed in the middle.
func load(s *server) []*teller {
	web, wire := &teller{table: "web", server: s}, &teller{table: "wire", server: s}
	var group sync.WaitGroup
	group.Go(func() {
		for n := range 8 {
			web.tell(statementOf(n), web.overHTTP)
			if n == 3 {
				_ = s.cmd.Process.Signal(syscall.SIGUSR2) // it may be gone
			}
		}
	})
	group.Go(func() {
		var c *pgconn.PgConn
		for n := range 8 {
			if c == nil || c.IsClosed() {
				var err error
				if c, err = connect(context.Background(), s.pg); err != nil {
					wire.last = err
					return // nothing was sent
				}
			}
			wire.tell(statementOf(n), wire.overWire(c))
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = c.Close(ctx)
	})
	group.Wait()
	return []*teller{web, wire}
}

// end sends TERM and waits until the server is gone, for at most limit. Unlike
// stop it takes any exit code.
func (s *server) end(limit time.Duration) {
	s.t.Helper()
	_ = s.cmd.Process.Signal(syscall.SIGTERM) // it may be gone
	select {
	case <-s.exited:
	case <-time.After(limit):
		s.signal(syscall.SIGQUIT)
		<-s.exited
		s.t.Fatalf("the server was still there %v after SIGTERM:\n%s", limit, s.tail(400))
	}
}

// judgeTold holds what the journal and the sink have, after a stop, against
// what the tellers were told.
func judgeTold(t *testing.T, data string, writers []*teller) {
	t.Helper()
	journal := map[string][]string{}
	lines := json.NewDecoder(strings.NewReader(command(t, t.TempDir(), nil, program, "cat", "--json", "--data", data).stdout))
	for last := uint64(0); ; {
		var l struct {
			Seq    uint64
			Table  string
			Values []string
		}
		if err := lines.Decode(&l); err == io.EOF {
			break
		} else if err != nil {
			t.Fatalf("read what cat prints: %v", err)
		}
		if l.Table == "" {
			continue // damage; what is missing shows below
		}
		if last++; l.Seq != last {
			t.Errorf("the journal has seq %d where %d should be", l.Seq, last)
			last = l.Seq
		}
		journal[l.Table] = append(journal[l.Table], l.Values[0])
	}
	db := openSink(t, data)
	for _, w := range writers {
		for _, p := range w.wrong {
			t.Errorf("%s: %s", w.table, p)
		}
		var sink []string
		if len(query(t, db, "SELECT 1 FROM sqlite_master WHERE name = ?", w.table)) > 0 {
			for _, r := range query(t, db, "SELECT v FROM "+w.table+" ORDER BY rowid") {
				sink = append(sink, r[0])
			}
		}
		for _, where := range []struct {
			name string
			rows []string
		}{{"the journal", journal[w.table]}, {filepath.Base(data) + "'s sink", sink}} {
			for _, p := range w.judge(where.rows) {
				t.Errorf("%s: %s: %s", w.table, where.name, p)
			}
		}
	}
}

// judge finds what is wrong with rows, given what was told about them.
func (w *teller) judge(rows []string) (problems []string) {
	for _, s := range w.told {
		here := len(rows) >= len(s.rows) && slices.Equal(rows[:len(s.rows)], s.rows)
		name := s.rows[0][:min(len(s.rows[0]), 8)]
		switch {
		case here && s.what == refused:
			problems = append(problems, fmt.Sprintf("statement %s was refused as not stored (%v), and is stored", name, s.err))
		case !here && s.what == stored:
			problems = append(problems, fmt.Sprintf("statement %s was acknowledged, and is not stored where it should be", name))
		}
		if here {
			rows = rows[len(s.rows):]
		}
	}
	for _, r := range rows {
		problems = append(problems, fmt.Sprintf("row %.8s is stored and should not be, or not there", r))
	}
	return problems
}
