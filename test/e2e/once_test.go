package e2e

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// postOnce posts an NDJSON body under a key.
func postOnce(ctx context.Context, url, key, body string) (status int, text string, replayed bool, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		return 0, "", false, err
	}
	r.Header.Set("Content-Type", "application/x-ndjson")
	r.Header.Set("Idempotency-Key", key)
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, "", false, err
	}
	defer answer.Body.Close()
	b, err := io.ReadAll(answer.Body)
	return answer.StatusCode, string(bytes.TrimSpace(b)), answer.Header.Get("Idempotency-Replayed") == "true", err
}

// TestIdempotencyKey sends requests again, as they were and otherwise.
func TestIdempotencyKey(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	o := configured(t, "tables: {auto: true, dedupe: {acc: {window: 1h, key: [id]}}}\n")
	s := start(t, data, o)
	large := strings.Repeat("{\"id\":\""+strings.Repeat("l", 1000)+"\"}\n", 3000) // more than a transaction holds in memory
	send := func(table, key, body string, status int, text string, replayed bool) {
		t.Helper()
		got, said, again, err := postOnce(t.Context(), s.url("/v1/tables/"+table+"/rows"), key, body)
		if err != nil || got != status || text != "" && said != text || again != replayed {
			t.Errorf("%s, key %.20s: got %d %.200s (replayed: %v), %v; want %d %s (replayed: %v)", table, key, got, said, again, err, status, text, replayed)
		}
	}
	two := "{\"id\":\"1\"}\n{\"id\":\"2\"}\n"
	round := func(first bool) {
		t.Helper()
		send("t", "a", two, 200, `{"rows":2}`, !first)
		send("t", "a", two+"{\"id\":\"3\"}\n", 422, "", false)
		send("t", "a", "", 422, "", false)
		send("other", "a", two, 200, `{"rows":2}`, !first) // a key is of a table
		send("acc", "a", two, 200, `{"rows":2}`, !first)
		send("acc", "b", two, 200, `{"rows":2}`, !first) // rows that are all repeats
		send("big", "large", large, 200, `{"rows":3000}`, !first)
		send("t", "refused", "{\"id\":", map[bool]int{true: 400, false: 422}[first], "", false)
		send("t", "refused", "{\"id\":\"4\"}\n", 200, `{"rows":1}`, !first)
	}
	round(true)
	round(false)
	for _, key := range []string{"", strings.Repeat("x", 256), "a b", "ä"} {
		send("t", key, two, 400, "", false)
	}
	s.kill()
	s = start(t, data, o)
	round(false)
	s.delivered(time.Minute)
	s.stop()
	s = start(t, data, o)
	round(false)
	db := openSink(t, data)
	for table, want := range map[string]string{"t": "3", "other": "2", "acc": "2", "big": "3000"} {
		if got := query(t, db, "select count(*) from "+table); got[0][0] != want {
			t.Errorf("the sink has %s rows of %s, want %s", got[0][0], table, want)
		}
	}
	if got := query(t, db, "select name from sqlite_master where name like '%request%'"); len(got) > 0 {
		t.Errorf("the sink has %v", got)
	}
	if out := holdfast(t, 0, "cat", "--data", data).stdout; strings.Contains(out, "holdfast_requests") || strings.Count(out, "\n") != 3007 {
		t.Errorf("cat shows %d rows, or rows that are none", strings.Count(out, "\n"))
	}
	holdfast(t, 0, "verify", "--data", data)
	s.stop()
}

// TestIdempotencyOverKills has producers that send each request until its
// answer comes, two of them the same ones, while the server is killed again and
// again: the sink has each row once.
func TestIdempotencyOverKills(t *testing.T) {
	kills, producers := 4, 4
	if long() {
		kills = 60
	}
	rng := seeded(t)
	data := filepath.Join(t.TempDir(), "data")
	s := start(t, data, options{})
	var mu sync.Mutex
	address := s.http
	done := make(chan struct{})
	acked := make([]int, producers)
	replays := make([]int, producers)
	var wg sync.WaitGroup
	for n := range producers {
		wg.Go(func() {
			for id := 0; ; id++ {
				rows := 1 + id%5
				body := ""
				for i := range rows {
					body += fmt.Sprintf("{\"producer\":%d,\"id\":\"%d.%d\"}\n", n/2, id, i)
				}
				for {
					select {
					case <-done:
						return
					default:
					}
					mu.Lock()
					at := address
					mu.Unlock()
					ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
					status, text, again, err := postOnce(ctx, "http://"+at+"/v1/tables/t/rows", fmt.Sprintf("%d-%d", n/2, id), body)
					cancel()
					if err != nil || status == 503 || status == 409 {
						time.Sleep(5 * time.Millisecond)
						continue
					}
					if status != 200 || text != fmt.Sprintf(`{"rows":%d}`, rows) {
						t.Errorf("producer %d, request %d: %d %s", n, id, status, text)
						return
					}
					if again {
						replays[n]++
					}
					acked[n]++
					break
				}
			}
		})
	}
	for range kills {
		time.Sleep(time.Duration(rng.IntN(300)) * time.Millisecond) // any moment will do
		s.kill()
		s = start(t, data, options{})
		mu.Lock()
		address = s.http
		mu.Unlock()
	}
	time.Sleep(200 * time.Millisecond) // more requests, so that the last start is tried too
	close(done)
	wg.Wait()
	s.delivered(time.Minute)
	s.stop()
	got := query(t, openSink(t, data), "select count(*), count(distinct producer || '/' || id) from t")
	least := 0
	for n := 0; n < producers; n += 2 {
		for id := range max(acked[n], acked[n+1]) {
			least += 1 + id%5
		}
	}
	if got[0][0] != got[0][1] || got[0][0] < fmt.Sprint(least) && len(got[0][0]) <= len(fmt.Sprint(least)) || least == 0 {
		t.Errorf("the sink has %s rows, %s of them different, and at least %d are acked", got[0][0], got[0][1], least)
	}
	t.Logf("%s rows of %v requests, %v of them answered again, over %d kills", got[0][0], acked, replays, kills)
}
