package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"holdfast/row"
	"holdfast/sink"
	"holdfast/sink/sinktest"
	"holdfast/test/servers"
)

// numbers returns rows first to last of table t, whose v is their seq.
func numbers(first, last uint64) []row.Row {
	var rows []row.Row
	for seq := first; seq <= last; seq++ {
		rows = append(rows, values(seq, text("t", "v"), fmt.Sprint(seq)))
	}
	return rows
}

// wantOnce checks that t holds 1 to last, once each, and that the cursor says so.
func wantOnce(t *testing.T, at string, n sink.Session, last uint64) {
	t.Helper()
	want := fmt.Sprintf("%d %[1]d %[1]d", last)
	if got := column(t, at, "SELECT count(*) || ' ' || count(DISTINCT v) || ' ' || max(v::bigint) FROM t"); got != want {
		t.Fatalf("t holds %s (rows, different ones, the last), want %s", got, want)
	}
	c, err := n.Cursor(context.Background())
	if err != nil || c.Seq != last || c.Epoch != 1 {
		t.Fatalf("cursor stands at %+v, error %v, want %d in epoch 1", c, err, last)
	}
}

// TestCommitCut cuts the line before, while and after the server commits. The
// cursor then tells what happened, and the rows are in once.
func TestCommitCut(t *testing.T) {
	for name, plan := range map[string]plot{
		"before": {}, "while": {forward: true}, "after": {forward: true, answer: true},
	} {
		t.Run(name, func(t *testing.T) {
			at := newDatabase(t)
			p, through := newProxy(t, at)
			n := mustAttach(t, mustOpen(t, Options{URL: through}))
			mustDeliver(t, n, numbers(1, 2)...)
			for round := range uint64(5) {
				first := 3 + round*500
				rows := numbers(first, first+499)
				p.at(plan)
				_, err := deliver(n, rows...)
				if !errors.Is(err, sink.ErrDoubtful) {
					t.Fatalf("Apply gave %v, want ErrDoubtful", err)
				}
				c, err := n.Cursor(context.Background())
				if err != nil {
					t.Fatal(err)
				}
				switch {
				case c.Seq == first-1 && name != "after":
					mustDeliver(t, n, rows...)
				case c.Seq == first+499 && name != "before":
				default:
					t.Fatalf("the cursor stands at %d", c.Seq)
				}
				wantOnce(t, at, n, first+499)
			}
		})
	}
}

// TestServerKilled kills the whole server in the middle of an Apply, and at
// its COMMIT. The session that was there delivers the rest.
func TestServerKilled(t *testing.T) {
	server := servers.Postgres(t)
	at := makeDatabase(t, server)
	p, through := newProxy(t, at)
	n := mustAttach(t, mustOpen(t, Options{URL: through}))
	mustDeliver(t, n, numbers(1, 2)...)
	last := uint64(2)
	again := func(rows []row.Row) {
		t.Helper()
		server.Start()
		c, err := n.Cursor(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		end := rows[len(rows)-1].Seq
		switch c.Seq {
		case last:
			mustDeliver(t, n, rows...)
		case end:
		default:
			t.Fatalf("the cursor stands at %d, neither at %d nor at %d", c.Seq, last, end)
		}
		last = end
		wantOnce(t, at, n, last)
	}
	for _, when := range []int{0, 1, 25_000, 49_999} {
		rows := numbers(last+1, last+50_000)
		b := sinktest.NewLargeBatch(len(rows), func(i int) row.Row {
			if i == when {
				server.Kill()
			}
			return rows[i]
		}, row.Position{Seq: rows[len(rows)-1].Seq})
		err := n.Apply(context.Background(), b, new(sinktest.Rejects))
		var refused *sink.RowError
		if err == nil || errors.Is(err, sink.ErrDoubtful) || errors.As(err, &refused) {
			t.Fatalf("Apply to a server killed at row %d gave %v, want an error about the sink", when, err)
		}
		again(rows)
	}
	for range 3 {
		rows := numbers(last+1, last+100)
		killed := make(chan struct{})
		p.at(plot{forward: true, then: func() { server.Kill(); close(killed) }})
		if _, err := deliver(n, rows...); !errors.Is(err, sink.ErrDoubtful) {
			t.Fatalf("Apply to a server killed at COMMIT gave %v, want ErrDoubtful", err)
		}
		<-killed
		again(rows)
	}
	server.Stop()
	if _, err := deliver(n, numbers(last+1, last+1)...); err == nil || errors.Is(err, sink.ErrDoubtful) {
		t.Fatalf("Apply to a server that is stopped gave %v", err)
	}
	again(numbers(last+1, last+1))
}

// TestFencedWhileApplying attaches while another session is within an Apply:
// what that one commits is seen, or it commits nothing.
func TestFencedWhileApplying(t *testing.T) {
	n, at := start(t)
	mustDeliver(t, n, numbers(1, 2)...)
	other := mustOpen(t, Options{URL: at})
	got := make(chan sink.Session, 1)
	rows := numbers(3, 3000)
	err := n.Apply(context.Background(), sinktest.NewLargeBatch(len(rows), func(i int) row.Row {
		if i == 1500 {
			go func() {
				fresh, err := other.Attach(context.Background(), main, "b", row.Position{}, nil)
				if err != nil {
					t.Error(err)
				}
				got <- fresh
			}()
		}
		return rows[i]
	}, row.Position{Seq: 3000}), new(sinktest.Rejects))
	fresh := <-got
	if fresh == nil {
		t.FailNow()
	}
	c, cursorErr := fresh.Cursor(context.Background())
	if cursorErr != nil || c.Instance != "b" || c.Epoch != 2 || (c.Seq == 3000) != (err == nil) {
		t.Fatalf("Apply gave %v, the other session's cursor is %+v, error %v", err, c, cursorErr)
	}
	if err != nil {
		mustDeliver(t, fresh, rows...)
	}
	if _, err := deliver(n, numbers(3001, 3001)...); !errors.Is(err, sink.ErrFenced) {
		t.Fatalf("the older session's Apply gave %v, want ErrFenced", err)
	}
	if _, err := n.Cursor(context.Background()); !errors.Is(err, sink.ErrFenced) {
		t.Fatalf("the older session's Cursor gave %v, want ErrFenced", err)
	}
	if got := column(t, at, "SELECT count(*) FROM t"); got != "3000" {
		t.Fatalf("t holds %s rows, want 3000", got)
	}
}

// TestContextEnds ends the context at every stage of an Apply.
func TestContextEnds(t *testing.T) {
	n, at := start(t)
	mustDeliver(t, n, numbers(1, 1)...)
	last := uint64(1)
	for _, when := range []int{0, 1, 20_000, 39_999} {
		rows := numbers(last+1, last+40_000)
		ctx, cancel := context.WithCancel(context.Background())
		err := n.Apply(ctx, sinktest.NewLargeBatch(len(rows), func(i int) row.Row {
			if i == when {
				cancel()
			}
			return rows[i]
		}, row.Position{Seq: last + 40_000}), new(sinktest.Rejects))
		if !errors.Is(err, context.Canceled) {
			t.Fatalf("Apply gave %v, want that it was cancelled", err)
		}
		if c, err := n.Cursor(context.Background()); err != nil || c.Seq != last {
			t.Fatalf("cursor %+v, error %v, want %d", c, err, last)
		}
	}
	mustDeliver(t, n, numbers(2, 3)...)
	wantOnce(t, at, n, 3)
}

// TestSecretsStaySecret looks for the password in whatever goes wrong.
func TestSecretsStaySecret(t *testing.T) {
	const secret = "s3cr3t-word"
	for _, bad := range []string{
		"", "postgres://u:" + secret + "@host:port/db", "postgres://u:" + secret + "@host:99999999/db", "postgres://u:" + secret + "@[::1/db",
		"postgres://u:" + secret + "@host/db?sslmode=perhaps", "://" + secret, "host=h password='" + secret, "postgres://u:%zz" + secret + "@host/db",
		"postgres://u@host/db?connect_timeout=" + secret,
	} {
		_, err := Open(Options{URL: bad})
		if err == nil {
			t.Errorf("Open of %q gave no error", bad)
		} else if strings.Contains(err.Error(), secret) {
			t.Errorf("the password is in %q", err)
		}
	}
	s := mustOpen(t, Options{URL: "postgres://u:" + secret + "@127.0.0.1:1/db?sslmode=disable"})
	_, err := s.Attach(context.Background(), main, "a", row.Position{}, nil)
	if err == nil || strings.Contains(err.Error(), secret) || !strings.Contains(err.Error(), "127.0.0.1:1") {
		t.Errorf("Attach to nobody gave %v, want an error that names the server and not the password", err)
	}
	away := errors.New("no such file")
	s = mustOpen(t, Options{URL: "postgres://u@127.0.0.1:1/db", Password: func() (string, error) { return "", away }})
	if _, err := s.Attach(context.Background(), main, "a", row.Position{}, nil); !errors.Is(err, away) {
		t.Errorf("Attach without the file of the password gave %v", err)
	}
}
