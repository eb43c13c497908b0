package e2e

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// lines returns how often each complete line is in the files of each table, in
// the form of key.
func (x *exchange) lines(wish map[string][]int) map[string]map[string]int {
	x.t.Helper()
	all := map[string]map[string]int{}
	for table := range wish {
		all[table] = map[string]int{}
	}
	for _, dir := range []string{x.acc(), x.archive()} {
		files, err := filepath.Glob(filepath.Join(dir, "*.log*"))
		if err != nil {
			x.t.Fatal(err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				x.t.Fatal(err)
			}
			base := filepath.Base(file)
			table := base[:strings.LastIndexByte(base, '_')]
			for line := range strings.Lines(string(text)) {
				if whole, ok := strings.CutSuffix(line, "\n"); ok {
					fields := strings.Split(whole, "|")
					var key []string
					for _, i := range wish[table] {
						key = append(key, fields[i])
					}
					all[table][strings.Join(key, "|")]++
				}
			}
		}
	}
	return all
}

// TestKamailioFollowed makes calls through a real Kamailio that writes with
// db_flatstore, while Holdfast rotates its files every two seconds, and both are
// killed with SIGKILL: each line that is in the files is in SQLite, PostgreSQL
// and MariaDB once, and every file is in the archive.
func TestKamailioFollowed(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED: takes a while")
	}
	t.Parallel() // both wait most of the time
	rng := seeded(t)
	x, d := newExchange(t, "db_flatstore", ""), startDatabases(t)
	data := dataDir(t)
	tables := holdfast(t, 0, "profile", "kamailio", "--cfg", x.cfg(), "--zone", "UTC").stdout
	sinks := d.config()
	sinks = sinks[strings.Index(sinks, "sinks:"):]
	source := fmt.Sprintf("sources:\n  calls: {type: flatstore, url: 'flatstore:%s', archive: %s, rotate: {every: 2s, rpc: 'jsonrpc:%s/rpc'}}\n", x.acc(), x.archive(), x.dir)
	o := options{config: configure(t, data, tables+sinks+source)}
	s := start(t, data, o)
	x.start()
	x.sipp("-sf", "@uas.xml", "-p", x.phone)
	rate, rounds := "150", 3
	if long() {
		rate, rounds = "300", 60
	}
	x.sipp("-sf", "@uac.xml", "-inf", "@users.csv", "-r", rate, "-p", freeUDP(t), "127.0.0.1:"+x.sip)
	for round := range rounds {
		time.Sleep(time.Duration(800+rng.IntN(1200)) * time.Millisecond)
		if round%3 == 1 {
			x.end(x.kamailio, syscall.SIGKILL)
			x.start()
			continue
		}
		s.kill()
		s = start(t, data, o)
	}
	time.Sleep(3 * time.Second) // some calls end
	x.end(x.kamailio, syscall.SIGTERM)
	s.emptied(x.acc(), 2*time.Minute)
	s.delivered(2 * time.Minute)
	wish := map[string][]int{"acc": {0, 1, 2, 3, 4, 7, 13, 14}, "missed_calls": {0, 1, 2, 3, 4, 7, 13, 14}, "acc_cdrs": {3, 4, 5}}
	// The brackets keep the rows in an order that all tables have.
	columns := map[string]string{"acc": "(method), from_tag, to_tag, callid, sip_code, src_user, ua, tag", "acc_cdrs": "(caller), callee, call_id"}
	columns["missed_calls"] = columns["acc"]
	archived, err := filepath.Glob(filepath.Join(x.archive(), "*"))
	if err != nil || len(archived) < 4 {
		t.Errorf("%d files are in the archive, %v: nothing was rotated", len(archived), err)
	}
	s.stop()
	written := x.lines(wish)
	for _, k := range d.destinations(t, data) {
		if k.name == "flat" {
			continue // they have every column, and marks of their own
		}
		for table, want := range written {
			got := map[string]int{}
			for _, r := range k.rows(t, table, columns[table]) {
				got[strings.Join(r, "|")]++
			}
			if total(want) < 20 || !maps.Equal(got, want) {
				t.Errorf("%s: %d rows of %s, %d lines are in the files", k.name, total(got), table, total(want))
				for key, n := range want {
					if got[key] != n {
						t.Fatalf("%q is there %d times, and %d times in the files", key, got[key], n)
					}
				}
			}
		}
		t.Logf("%s: %d files in the archive, %d kills: acc %d, missed_calls %d, acc_cdrs %d", k.name, len(archived), rounds, total(written["acc"]), total(written["missed_calls"]), total(written["acc_cdrs"]))
	}
}

func total(m map[string]int) (n int) {
	for _, k := range m {
		n += k
	}
	return n
}
