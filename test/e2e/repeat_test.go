package e2e

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

const repeatConfig = "tables: {auto: true, dedupe: {acc: {window: 1h, key: [callid, method]}}}\n"

// TestRepeatsAtEachDoor sends a row through each door, after it came through
// the first one.
func TestRepeatsAtEachDoor(t *testing.T) {
	s := start(t, filepath.Join(t.TempDir(), "data"), configured(t, repeatConfig))
	c := s.client()
	insert := "insert into acc (callid, method, n) values ('a', 'INVITE', '%d')"
	execute(t, c, fmt.Sprintf(insert, 0))
	tag := func(name string, r *pgconn.MultiResultReader) {
		t.Helper()
		all, err := r.ReadAll()
		if err != nil || len(all) != 1 || all[0].CommandTag.String() != "INSERT 0 1" {
			t.Errorf("%s: a repeat got %v, %v, want INSERT 0 1", name, all, err)
		}
	}
	tag("simple", c.Exec(t.Context(), fmt.Sprintf(insert, 1)))
	r := c.ExecParams(t.Context(), "insert into acc (callid, method, n) values ($1, $2, $3)", [][]byte{[]byte("a"), []byte("INVITE"), []byte("2")}, nil, nil, nil).Read()
	if r.Err != nil || r.CommandTag.String() != "INSERT 0 1" {
		t.Errorf("extended: a repeat got %v, %v", r.CommandTag, r.Err)
	}
	if copied, err := c.CopyFrom(t.Context(), strings.NewReader("a\tINVITE\t3\nb\tINVITE\t3\n"), "copy acc (callid, method, n) from stdin"); err != nil || copied.String() != "COPY 2" {
		t.Errorf("COPY of a repeat and a new row got %v, %v", copied, err)
	}
	answer, err := http.Post(s.url("/v1/tables/acc/rows"), "application/x-ndjson", strings.NewReader(`{"callid":"a","method":"INVITE","n":"4"}`+"\n"))
	if err != nil {
		t.Fatal(err)
	}
	text, _ := io.ReadAll(answer.Body)
	answer.Body.Close()
	if answer.StatusCode != 200 || string(text) != "{\"rows\":1}\n" {
		t.Errorf("HTTP: a repeat got %s %s", answer.Status, text)
	}
	feed(t, 0, strings.NewReader("a|INVITE|5\n"), "put", "--data", s.data, "--table", "acc", "--format", "flat", "--columns", "callid,method,n")
	want := "1 a INVITE 0, 2 b INVITE 3"
	check := func(data string) {
		t.Helper()
		var got []string
		for line := range strings.Lines(holdfast(t, 0, "cat", "--data", data, "--table", "acc").stdout) {
			f := strings.Fields(line)
			got = append(got, f[0]+" "+strings.NewReplacer("callid=", "", "method=", "", "n=", "").Replace(strings.Join(f[3:], " ")))
		}
		if strings.Join(got, ", ") != want {
			t.Errorf("stored are %q, want %q", strings.Join(got, ", "), want)
		}
	}
	check(s.data)
	out := holdfast(t, 0, "status", "--data", s.data).stdout
	if !strings.Contains(out, "repeats of table acc: 5 dropped since the start; 2 of 1000000 keys known, window 1h0m0s") {
		t.Errorf("status tells\n%s", out)
	}
	if m := get(t, s.url("/metrics")); !strings.Contains(m, `holdfast_dedupe_repeats_total{stream="main",table="acc"} 5`) {
		t.Errorf("the metrics do not tell of 5 repeats")
	}
	s.logged(time.Minute, "rows that were sent again are dropped")
	s.kill()
	s = start(t, s.data, configured(t, repeatConfig))
	execute(t, s.client(), fmt.Sprintf(insert, 6))
	check(s.data)
	s.stop()
}

func get(t *testing.T, url string) string {
	t.Helper()
	answer, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestRepeatsOverKills has clients that send each row until an answer comes,
// some of them the same rows, while the server is killed again and again: the
// sink has each row once.
func TestRepeatsOverKills(t *testing.T) {
	kills, clients := 4, 4
	if long() {
		kills = 60
	}
	rng := seeded(t)
	data := filepath.Join(t.TempDir(), "data")
	o := configured(t, repeatConfig)
	s := start(t, data, o)
	at := &target{ended: make(chan struct{})}
	at.address.Store(&s.pg)
	sent := make([]int, clients)
	var wg sync.WaitGroup
	for n := range clients {
		r := rand.New(rand.NewPCG(rng.Uint64(), 0))
		wg.Go(func() {
			var c *pgconn.PgConn
			for id := 0; ; id++ {
				// Two clients each send the same rows.
				statement := fmt.Sprintf("insert into acc (callid, method, n) values ('%d.%d', 'INVITE', '%d'), ('%d.%d', 'BYE', '%d')", n/2, id, n, n/2, id, n)
				if r.IntN(4) == 0 {
					statement = "begin; " + statement + "; commit"
				}
				for try := 0; ; try++ {
					select {
					case <-at.ended:
						return
					default:
					}
					if c == nil || c.IsClosed() {
						var err error
						if c, err = connect(context.Background(), *at.address.Load()); err != nil {
							time.Sleep(5 * time.Millisecond)
							continue
						}
					}
					ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
					_, err := c.Exec(ctx, statement).ReadAll()
					cancel()
					if err == nil {
						sent[n]++
						break
					}
					if code, _ := sqlstate(err); code != "" && code[:2] != "57" && code != "40003" {
						t.Errorf("client %d: %v", n, err)
						return
					}
					c.Close(context.Background())
				}
			}
		})
	}
	for range kills {
		time.Sleep(time.Duration(rng.IntN(300)) * time.Millisecond) // any moment will do
		s.kill()
		s = start(t, data, o)
		at.address.Store(&s.pg)
	}
	eventually(t, time.Minute, "rows after the last kill", func() (bool, string) {
		st, err := s.status()
		return err == nil && st.Streams[0].EndSeq > 0, fmt.Sprint(err)
	})
	time.Sleep(200 * time.Millisecond) // more rows, so that the last start is tried too
	close(at.ended)
	wg.Wait()
	s.delivered(time.Minute)
	s.stop()
	db := openSink(t, data)
	var all, distinct int
	if err := db.QueryRow(`select count(*), count(distinct callid || method) from acc`).Scan(&all, &distinct); err != nil {
		t.Fatal(err)
	}
	least := 0
	for n := 0; n < clients; n += 2 {
		least += 2 * max(sent[n], sent[n+1])
	}
	if all != distinct || all < least || least == 0 {
		t.Errorf("the sink has %d rows with %d keys, %d are acked: want each once and every acked one", all, distinct, least)
	}
	t.Logf("%d rows, acked %v, over %d kills", all, sent, kills)
}
