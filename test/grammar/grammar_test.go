package grammar

import (
	"context"
	"encoding/binary"
	"flag"
	"fmt"
	"log/slog"
	"maps"
	"math/big"
	"math/rand/v2"
	"net"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5/pgproto3"

	"holdfast/internal/pgwire"
	"holdfast/row"
)

var (
	seed  = flag.Uint64("seed", 0, "of the changes; 0: HOLDFAST_SEED, or else by the clock")
	count = flag.Int("count", 150_000, "how many statements are tried")
)

// store takes any table, and keeps what was committed last.
type store struct{ rows []insert }

// tableColumns are those of every table.
var tableColumns = func() (all []row.Column) {
	for i := range 6 {
		all = append(all, row.Column{Name: "c" + strconv.Itoa(i)})
	}
	return all
}()

func (*store) Columns(string) ([]row.Column, error)  { return tableColumns, nil }
func (*store) Declare(string, []pgwire.Column) error { return nil }
func (*store) AutoTables() bool                      { return true }
func (s *store) Begin() pgwire.Tx                    { return &tx{store: s} }
func (*store) Schema(table string, columns []row.Column) (*row.Schema, error) {
	s := &row.Schema{Table: table, Stream: "main"}
	for _, c := range columns {
		s.Columns = append(s.Columns, row.Column{Name: c.Name}) // of no type, so that no value is changed for one
	}
	return s, nil
}

type tx struct {
	store  *store
	yields bool
	rows   []insert
}

func (t *tx) Insert(s *row.Schema, values []row.Value) error {
	in := insert{table: s.Table, yields: t.yields}
	for i, v := range values {
		in.columns = append(in.columns, s.Columns[i].Name)
		in.values = append(in.values, value{text: string(v.Text), null: v.Null})
	}
	t.rows = append(t.rows, in)
	return nil
}

func (t *tx) Treat(_ *time.Location, yields bool) { t.yields = yields }
func (t *tx) Rows() int                           { return len(t.rows) }
func (t *tx) RollbackTo(rows int) error           { t.rows = t.rows[:rows]; return nil }
func (t *tx) Commit(context.Context, bool) error {
	t.store.rows, t.rows = append(t.store.rows, t.rows...), nil
	return nil
}

// door is a session at the door.
type door struct {
	store *store
	conn  net.Conn
	fe    *pgproto3.Frontend
}

func open(t *testing.T) *door {
	t.Helper()
	d := &door{store: new(store)}
	srv := pgwire.New(pgwire.Options{Store: d.store, Logger: slog.New(slog.DiscardHandler),
		Now: func() time.Time { return now }})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(context.Background(), ln) }()
	if d.conn, err = net.Dial("tcp", ln.Addr().String()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		d.conn.Close()
		if err := srv.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	d.fe = pgproto3.NewFrontend(d.conn, d.conn)
	d.fe.Send(&pgproto3.StartupMessage{ProtocolVersion: pgproto3.ProtocolVersion30, Parameters: map[string]string{"user": "tester"}})
	if _, err := d.answer(); err != nil {
		t.Fatal(err)
	}
	return d
}

// answer returns the first error that a query was answered with, if any.
func (d *door) answer() (refused *pgproto3.ErrorResponse, err error) {
	if err := d.fe.Flush(); err != nil {
		return nil, err
	}
	for {
		m, err := d.fe.Receive()
		if err != nil {
			return nil, err
		}
		switch m := m.(type) {
		case *pgproto3.ErrorResponse:
			refused = &pgproto3.ErrorResponse{Code: m.Code, Message: m.Message}
		case *pgproto3.ReadyForQuery:
			if m.TxStatus != 'I' {
				return nil, fmt.Errorf("the session is in state %c", m.TxStatus)
			}
			return refused, nil
		}
	}
}

// run sends one query and returns what was stored because of it.
func (d *door) run(sql string) ([]insert, *pgproto3.ErrorResponse, error) {
	d.store.rows = nil
	d.fe.Send(&pgproto3.Query{String: sql})
	refused, err := d.answer()
	return d.store.rows, refused, err
}

// verdicts counts what became of the statements, and keeps an example of each.
type verdicts struct {
	mu       sync.Mutex
	counts   map[string]int
	examples map[string]string
}

func (v *verdicts) note(what, sql string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.counts[what]++
	if old, ok := v.examples[what]; !ok || len(sql) < len(old) {
		v.examples[what] = sql
	}
}

// TestGrammar tries statements that were changed at random.
func TestGrammar(t *testing.T) {
	if given := os.Getenv("HOLDFAST_SEED"); *seed == 0 && given != "" {
		var err error
		if *seed, err = strconv.ParseUint(given, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	if *seed == 0 {
		*seed = binary.LittleEndian.Uint64([]byte(time.Now().Format("20060102150405.000000"))[11:19])
	}
	t.Logf("seed %d, %d statements: run again with HOLDFAST_SEED=%d", *seed, *count, *seed)
	v := &verdicts{counts: map[string]int{}, examples: map[string]string{}}
	d := open(t)
	for _, sql := range seeds {
		compare(t, d, v, sql)
	}
	const workers = 2
	var wg sync.WaitGroup
	for w := range workers {
		d := open(t)
		r := rand.New(rand.NewPCG(*seed, uint64(w)))
		wg.Go(func() {
			for range *count / workers {
				sql := mutated(r)
				if utf8.ValidString(sql) && !strings.Contains(sql, "\x00") {
					compare(t, d, v, sql)
				}
			}
		})
	}
	wg.Wait()
	for _, what := range slices.Sorted(maps.Keys(v.counts)) {
		t.Logf("%7d %s, for example %q", v.counts[what], what, v.examples[what])
	}
	if n := v.counts["taken by both"]; n < *count/10 {
		t.Errorf("%d statements were taken by both: too few to tell anything", n)
	}
}

// compare holds the door's reading of a query against PostgreSQL's.
func compare(t *testing.T, d *door, v *verdicts, sql string) {
	wanted, theirs := meaning(sql, func(string) (names []string) {
		for _, c := range tableColumns {
			names = append(names, c.Name)
		}
		return names
	})
	got, ours, err := d.run(sql)
	switch {
	case err != nil:
		t.Errorf("%q ends the session: %v", sql, err)
	case ours != nil && len(got) > 0:
		t.Errorf("%q is refused (%s), and %d rows are stored", sql, ours.Message, len(got))
	case ours != nil && theirs != nil:
		v.note("refused by both", sql)
	case ours != nil && len(wanted) > 0:
		v.note("refused by the door alone: "+ours.Code+" "+shape(ours.Message), sql)
	case theirs != nil && (len(got) > 0 || theirs != errUnknown):
		t.Errorf("%q is taken, and PostgreSQL says %v; stored is %+v", sql, theirs, got)
	case len(got) != len(wanted):
		t.Errorf("%q gives %d rows, in PostgreSQL %d", sql, len(got), len(wanted))
	default:
		for i := range got {
			if why := differs(got[i], wanted[i]); why != "" {
				t.Errorf("%q: row %d: %s", sql, i, why)
			}
		}
		v.note("taken by both", sql)
	}
}

var quoted = regexp.MustCompile(`"[^"]*"|[0-9]+`)

// shape is a message without what it names.
func shape(message string) string { return quoted.ReplaceAllString(message, "…") }

var uuid = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)

// differs says in what the row taken is not the one meant.
func differs(got, wanted insert) string {
	if got.table != wanted.table || !slices.Equal(got.columns, wanted.columns) || got.yields != wanted.yields {
		return fmt.Sprintf("it is %+v, in PostgreSQL %+v", got, wanted)
	}
	for i, w := range wanted.values {
		g := got.values[i]
		same := g.null == w.null && g.text == w.text
		switch {
		case w.number && !g.null:
			same = plain(g.text) == plain(w.text) && equal(g.text, w.text)
		case w.random:
			same = uuid.MatchString(g.text)
		}
		if !same {
			return fmt.Sprintf("value %d is %+v, in PostgreSQL %+v", i+1, g, w)
		}
	}
	return ""
}

func equal(a, b string) bool {
	x, ok := new(big.Rat).SetString(a)
	y, too := new(big.Rat).SetString(b)
	return ok && too && x.Cmp(y) == 0
}

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(m.Run())
}
