package e2e

import (
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// badDatabases are three servers' worth of tables that their owner made, and
// sinks that may create nothing, those over TCP behind wiretaps.
type badDatabases struct {
	data   string
	server *server
	owners []owner
	taps   map[string]*wiretap
	config string
}

func startBad(t *testing.T, only ...string) *badDatabases {
	t.Helper()
	data := dataDir(t)
	b := &badDatabases{data: data, taps: map[string]*wiretap{}}
	var sinks []string
	add := func(o owner, line string) {
		b.owners = append(b.owners, o)
		sinks = append(sinks, fmt.Sprintf("  %s: {%s, create: never}\n", o.name, line))
	}
	var d *databases
	if len(only) > 1 || only[0] != "lite" {
		d = startDatabases(t)
	}
	if slices.Contains(only, "pg") {
		tap := newWiretap(t, d.pg.Addr(), postgresFrames)
		b.taps["pg"] = tap
		add(postgresOwner(d.pg, "sink"), fmt.Sprintf("type: postgres, url: %q", tap.through(d.pg.URL("sink"))))
	}
	if slices.Contains(only, "maria") {
		tap := newWiretap(t, d.maria.Addr(), mariaFrames)
		b.taps["maria"] = tap
		add(mariaOwner(d.openMaria(t, "sink")), fmt.Sprintf("type: mysql, url: %q", tap.through(d.maria.URL("sink"))))
	}
	if slices.Contains(only, "lite") {
		file := filepath.Join(filepath.Dir(data), "lite.db")
		add(liteOwner(t, file), fmt.Sprintf("type: sqlite, path: %q", file))
	}
	b.config = configure(t, data, "data: DATA\ntables: {auto: true}\nsinks:\n"+strings.Join(sinks, ""))
	return b
}

// make makes the tables, and the owner's rows.
func (b *badDatabases) make(t *testing.T, rows int) {
	t.Helper()
	for _, o := range b.owners {
		o.run(t, o.tables+taken(rows)+"SELECT 1")
	}
}

// start starts the server, again if it was killed.
func (b *badDatabases) start(t *testing.T) {
	t.Helper()
	b.server = start(t, b.data, options{config: b.config})
}

// deliver lets all sinks deliver what stands in the journal, at once, and
// returns how many statements each took.
func (b *badDatabases) deliver(t *testing.T, load func()) map[string]statements {
	t.Helper()
	for _, o := range b.owners {
		holdfast(t, 0, "sink", "pause", o.name, "--config", b.config)
	}
	load()
	before := map[string]statements{}
	for name, tap := range b.taps {
		before[name] = tap.count()
	}
	begun := time.Now()
	for _, o := range b.owners {
		holdfast(t, 0, "sink", "resume", o.name, "--config", b.config)
	}
	took := map[string]statements{}
	for _, o := range b.owners {
		b.server.caughtUp(o.name, 15*time.Minute)
		holdfast(t, 0, "sink", "drain", o.name, "--config", b.config, "--timeout", "1m")
		t.Logf("%s: everything arrived within %v", o.name, time.Since(begun).Round(time.Millisecond))
	}
	for name, tap := range b.taps {
		took[name] = tap.count().since(before[name])
	}
	return took
}

// TestBadRows delivers rows of which one in a thousand is bad, each in one of
// seven ways, to three sinks; mends the causes, and retries while the server
// is killed.
func TestBadRows(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED: takes a while")
	}
	rows := 60_000
	if long() {
		rows = 1_000_000
	}
	b := startBad(t, "pg", "maria", "lite")
	b.make(t, rows)
	b.start(t)
	sizes := []int{20_000, 1, 100, 3_000, 10, 12_345}
	// First the same rows without their flaws, as what they cost.
	clean := b.deliver(t, func() { loadLines(t, b.server, 1, rows, true, sizes...) })
	for _, o := range b.owners {
		o.run(t, "DELETE FROM calls WHERE line > 0;\nSELECT 1")
	}
	dirty := b.deliver(t, func() { loadLines(t, b.server, 1, rows, false, sizes...) })
	for _, o := range b.owners {
		o.holdsLines(t, rows, soundOnly)
		o.setAside(t, b, rows)
	}
	for name, took := range dirty {
		costs(t, name, rows, took, clean[name])
	}
	t.Logf("peak resident %.1f MiB", float64(b.server.memory("VmHWM"))/(1<<20))
	if t.Failed() {
		return
	}
	if b.retried(t, rows); !t.Failed() {
		b.transactions(t, rows)
	}
}

// TestBadTransaction copies rows to PostgreSQL of which a third comes in one
// transaction, larger than what the sink keeps of one. Its bad rows, one in
// a thousand, cost nobody else anything.
func TestBadTransaction(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED: takes a while")
	}
	rows := 300_000
	if long() {
		rows = 1_000_000
	}
	b := startBad(t, "pg")
	b.make(t, rows)
	b.start(t)
	begun := time.Now()
	loadLines(t, b.server, 1, rows, false, rows/3, 1, 10_000, 500, rows/10)
	t.Logf("acknowledged after %v", time.Since(begun).Round(time.Millisecond))
	b.server.delivered(5 * time.Minute)
	t.Logf("in the sink after %v; peak resident %.1f MiB", time.Since(begun).Round(time.Millisecond), float64(b.server.memory("VmHWM"))/(1<<20))
	o := b.owners[0]
	o.holdsLines(t, rows, soundOnly)
	o.setAside(t, b, rows)
}

// costs checks what bad rows took beside the same rows without flaws: three
// statements each on PostgreSQL, of which it names the line or the key, and as
// many as halving takes on MariaDB. What is checked at COMMIT costs PostgreSQL
// one batch more, once in a session.
func costs(t *testing.T, name string, rows int, took, clean statements) {
	t.Helper()
	bad, once, each := rows/1000, clean.all/clean.commits+2, 3.0
	if name == "maria" {
		once, each = 0, math.Log2(10_000)
	}
	extra := took.all - clean.all
	t.Logf("%s: %d statements in %d transactions for %d rows, %d of them bad; %d in %d without flaws: %.2f more for each bad row",
		name, took.all, took.commits, rows, bad, clean.all, clean.commits, float64(extra)/float64(bad))
	if float64(extra-once) > each*float64(bad) {
		t.Errorf("%s: %d bad rows took %d statements more, want %.2f each at most", name, bad, extra, each)
	}
}

// setAside checks that the rejects of a sink are the bad lines, with what the
// database says of them.
func (o owner) setAside(t *testing.T, b *badDatabases, rows int) {
	t.Helper()
	all := exportedOf(t, b.config, "--sink", o.name)
	at := 0
	for i := 1; i <= rows; i++ {
		f := flawOf(i)
		if f == sound {
			continue
		}
		if at == len(all) {
			t.Fatalf("%s: line %d is not among %d rejects", o.name, i, len(all))
		}
		r := all[at]
		at++
		if r.line() != i {
			t.Fatalf("%s: reject %d is line %d, want %d (%s)", o.name, r.ID, r.line(), i, r.Error)
		}
		if !slices.Equal(r.values(), cells(i, false)) {
			t.Errorf("%s: line %d was set aside as %q, want %q", o.name, i, r.values(), cells(i, false))
		}
		if !slices.Contains(codes[o.name][f], r.Code) || !strings.Contains(r.Error, words[o.name][f]) {
			t.Errorf("%s: line %d: %s (code %s), want %q and code %q", o.name, i, r.Error, r.Code, words[o.name][f], codes[o.name][f])
		}
	}
	if at != len(all) {
		t.Errorf("%s: %d rejects are more than the bad lines: %+v", o.name, len(all)-at, all[at])
	}
}

// TestFlood has a sink refuse more than one row in a hundred: it stops, with
// nothing set aside, asks, and sets them aside once it was told to go on.
func TestFlood(t *testing.T) {
	const rows = 12_000
	b := startBad(t, "lite")
	b.make(t, rows)
	b.start(t)
	c := b.server.client()
	var values []string
	for i := 1; i <= rows; i++ {
		n := i % 1000
		if i%50 == 0 {
			n = 5000
		}
		values = append(values, fmt.Sprintf("(%d, %d, '2026-11-21', %d, 1, 1, '')", i, i, n))
	}
	holdfast(t, 0, "sink", "pause", "lite", "--config", b.config)
	for some := range slices.Chunk(values, 1000) {
		execute(t, c, "INSERT INTO calls ("+columns+") VALUES "+strings.Join(some, ","))
	}
	holdfast(t, 0, "sink", "resume", "lite", "--config", b.config)
	var k listed
	eventually(t, time.Minute, "the sink to ask", func() (bool, string) {
		k = sinkOf(t, b.config, "lite")
		return k.State == "halted", fmt.Sprintf("it is %+v", k)
	})
	if !strings.Contains(k.Reason, "flood") || !strings.Contains(k.Do, "sink resume lite") || k.RejectsOpen > 100 {
		t.Errorf("a sink that refuses 2 %% of its rows is listed as %+v", k)
	}
	holdfast(t, 0, "sink", "resume", "lite", "--config", b.config)
	holdfast(t, 0, "sink", "drain", "lite", "--config", b.config, "--timeout", "1m")
	if all := rejectsOf(t, "--config", b.config); len(all) != rows/50 {
		t.Errorf("%d rows were set aside, want %d", len(all), rows/50)
	}
	if got := b.owners[0].run(t, "SELECT count(*), count(DISTINCT line) FROM calls WHERE line > 0")[0]; got[0] != fmt.Sprint(rows-rows/50) || got[0] != got[1] {
		t.Errorf("%s rows of %s lines are in the sink, want %d", got[0], got[1], rows-rows/50)
	}
}
