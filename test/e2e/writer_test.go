package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// A writer is one client that writes numbered rows and remembers what it was
// told about each statement, so that the sink can be held against it.
type writer struct {
	id     int
	mode   mode
	off    bool // writes with synchronous_commit = off
	rng    *rand.Rand
	target *target

	next       int64 // number of the next row
	statements []statement
	slowest    time.Duration // longest wait for an acknowledgement
	err        error         // an answer that no crash explains
}

// target is where the writers find the server, and when they have to end.
type target struct {
	address atomic.Pointer[string]
	ended   chan struct{}
	pause   time.Duration // between statements of one writer
}

// A statement is rows that must arrive together or not at all.
type statement struct {
	first, last int64
	acked       bool // the server said that it is safe
	undone      bool // the client rolled it back
}

// A mode is one way of writing rows.
type mode struct {
	name   string
	tables []string // row n goes into tables[n % len]
	write  func(ctx context.Context, w *writer, c *pgconn.PgConn, s statement) error
}

var modes = []mode{
	{"simple", []string{"simple"}, writeSimple},
	{"extended", []string{"extended"}, writeExtended},
	{"copy", []string{"copied"}, writeCopy},
	{"transaction", []string{"tx_one", "tx_two"}, writeTransaction},
}

// newWriters returns eight writers, two for each mode.
func newWriters(rng *rand.Rand, t *target) []*writer {
	var all []*writer
	for i := range 2 * len(modes) {
		all = append(all, &writer{
			id: i, mode: modes[i%len(modes)], off: i == len(modes), target: t,
			rng: rand.New(rand.NewPCG(rng.Uint64(), uint64(i))), next: 1,
		})
	}
	return all
}

// writeAll runs the writers until the target ends; the returned function
// waits for them.
func writeAll(ctx context.Context, writers []*writer) (wait func()) {
	var group sync.WaitGroup
	for _, w := range writers {
		group.Go(func() { w.run(ctx) })
	}
	return group.Wait
}

// run connects and writes, again and again, until the target ends.
func (w *writer) run(ctx context.Context) {
	for w.err == nil && !w.over() {
		address := w.target.address.Load()
		if address == nil {
			time.Sleep(5 * time.Millisecond)
			continue
		}
		c, err := connect(ctx, *address)
		if err != nil {
			time.Sleep(5 * time.Millisecond)
			continue
		}
		if w.off {
			_, err = c.Exec(ctx, "SET synchronous_commit = off").ReadAll()
		}
		for err == nil && !w.over() {
			err = w.step(ctx, c)
			time.Sleep(w.target.pause)
		}
		closing, cancel := context.WithTimeout(ctx, time.Second)
		c.Close(closing)
		cancel()
	}
}

func (w *writer) over() bool {
	select {
	case <-w.target.ended:
		return true
	default:
		return false
	}
}

// step writes one statement and notes what came back.
func (w *writer) step(ctx context.Context, c *pgconn.PgConn) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	s := statement{first: w.next, last: w.next + int64(w.rng.IntN(8))}
	s.undone = w.mode.name == "transaction" && w.rng.IntN(10) == 0
	w.next = s.last + 1
	begun := time.Now()
	err := w.mode.write(ctx, w, c, s)
	w.slowest = max(w.slowest, time.Since(begun))
	s.acked = err == nil && !s.undone
	w.statements = append(w.statements, s)
	if code, _ := sqlstate(err); code != "" && code != "57P01" && code != "57P03" && code != "40003" {
		w.err = fmt.Errorf("rows %d to %d: %w", s.first, s.last, err)
	}
	return err
}

// body is the text of a row: of changing length, with whatever a format on
// the way might take for its own.
func body(id int, n int64) string {
	return fmt.Sprintf("row %d of %d: it's \\N \\back \"quoted\" | pipe, comma\tand\nline é漢%s", n, id, strings.Repeat("x", int(n*7%300)))
}

// table returns the table that row n belongs into.
func (w *writer) table(n int64) string { return w.mode.tables[n%int64(len(w.mode.tables))] }

// literals returns row n as a VALUES list.
func (w *writer) literals(n int64) string {
	return fmt.Sprintf("(%d,%d,'%s')", w.id, n, strings.ReplaceAll(body(w.id, n), "'", "''"))
}

// parameters returns row n as parameters in text form.
func (w *writer) parameters(n int64) [][]byte {
	return [][]byte{[]byte(strconv.Itoa(w.id)), strconv.AppendInt(nil, n, 10), []byte(body(w.id, n))}
}

const insertRow = "INSERT INTO %s (client, n, body) VALUES ($1, $2, $3)"

// tagged returns an error unless a command answered with want.
func tagged(tag pgconn.CommandTag, err error, want string) error {
	if err == nil && tag.String() != want {
		return fmt.Errorf("the server answered %q, want %q", tag, want)
	}
	return err
}

func writeSimple(ctx context.Context, w *writer, c *pgconn.PgConn, s statement) error {
	var rows []string
	for n := s.first; n <= s.last; n++ {
		rows = append(rows, w.literals(n))
	}
	results, err := c.Exec(ctx, "INSERT INTO simple (client, n, body) VALUES "+strings.Join(rows, ", ")).ReadAll()
	if err != nil {
		return err
	}
	return tagged(results[0].CommandTag, nil, fmt.Sprintf("INSERT 0 %d", len(rows)))
}

// writeExtended sends one statement with all rows, or a pipeline of single
// rows up to one Sync, which is one transaction as well.
func writeExtended(ctx context.Context, w *writer, c *pgconn.PgConn, s statement) error {
	if w.rng.IntN(2) == 0 {
		batch := &pgconn.Batch{}
		for n := s.first; n <= s.last; n++ {
			batch.ExecParams(fmt.Sprintf(insertRow, w.table(n)), w.parameters(n), nil, nil, nil)
		}
		_, err := c.ExecBatch(ctx, batch).ReadAll()
		return err
	}
	var rows []string
	var values [][]byte
	for n := s.first; n <= s.last; n++ {
		rows = append(rows, fmt.Sprintf("($%d, $%d, $%d)", len(values)+1, len(values)+2, len(values)+3))
		values = append(values, w.parameters(n)...)
	}
	r := c.ExecParams(ctx, "INSERT INTO extended (client, n, body) VALUES "+strings.Join(rows, ","), values, nil, nil, nil).Read()
	return tagged(r.CommandTag, r.Err, fmt.Sprintf("INSERT 0 %d", len(rows)))
}

func writeCopy(ctx context.Context, w *writer, c *pgconn.PgConn, s statement) error {
	escape := strings.NewReplacer("\\", "\\\\", "\t", "\\t", "\n", "\\n", "\r", "\\r")
	var lines strings.Builder
	for n := s.first; n <= s.last; n++ {
		fmt.Fprintf(&lines, "%d\t%d\t%s\n", w.id, n, escape.Replace(body(w.id, n)))
	}
	tag, err := c.CopyFrom(ctx, strings.NewReader(lines.String()), "COPY copied (client, n, body) FROM STDIN")
	return tagged(tag, err, fmt.Sprintf("COPY %d", s.last-s.first+1))
}

func writeTransaction(ctx context.Context, w *writer, c *pgconn.PgConn, s statement) error {
	if _, err := c.Exec(ctx, "BEGIN").ReadAll(); err != nil {
		return err
	}
	for n := s.first; n <= s.last; n++ {
		if r := c.ExecParams(ctx, fmt.Sprintf(insertRow, w.table(n)), w.parameters(n), nil, nil, nil).Read(); r.Err != nil {
			return r.Err
		}
	}
	end := "COMMIT"
	if s.undone {
		end = "ROLLBACK"
	}
	results, err := c.Exec(ctx, end).ReadAll()
	if err != nil {
		return err
	}
	return tagged(results[0].CommandTag, nil, end)
}
