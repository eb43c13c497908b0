package mysql

import (
	"bytes"
	"context"
	"database/sql/driver"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"holdfast/row"
	"holdfast/sink/sinktest"
)

const (
	benchRows    = 10_000 // of one transaction
	benchColumns = 10
)

// BenchmarkLoad compares the sink with the bulk inserts that are to be had with
// the same driver, alternating, so that a noisy machine is noisy to all. Each
// way commits transactions of 10,000 rows of 10 columns, 200 bytes. The ways
// without the sink convert nothing, look at nothing and keep no cursor.
//
// go test -run - -bench Load -benchtime 20x ./sink/mysql
func BenchmarkLoad(b *testing.B) {
	u := database(b)
	s := mustOpen(b, Options{URL: u, Lock: 10 * time.Second})
	n := mustAttach(b, s)
	c, err := s.connect(context.Background())
	if err != nil {
		b.Fatal(err)
	}
	defer c.close()
	db := other(b, u)
	seq := uint64(0)
	ways := []struct {
		name string
		load func(table string) error
	}{
		{"sink", func(table string) error {
			first := seq
			seq += benchRows
			r := benchRow(table)
			return n.Apply(context.Background(), sinktest.NewLargeBatch(benchRows, func(i int) row.Row {
				r.Seq = first + uint64(i) + 1
				return r
			}, row.Position{Seq: seq}), new(sinktest.Rejects))
		}},
		{"prepared_50", inPieces(c, 50)},
		{"prepared_100", inPieces(c, 100)},
		{"prepared_250", inPieces(c, 250)},
		{"prepared_1000", inPieces(c, 1000)},
		{"literals_100", literals(c, 100)},
		{"literals_1000", literals(c, 1000)},
		{"load_data_1000", loadData(c, 1000)},
		{"load_data_5000", loadData(c, 5000)},
	}
	var names []string
	for i := range benchColumns {
		names = append(names, fmt.Sprintf("c%d longtext", i))
	}
	took := make([][]time.Duration, len(ways))
	for b.Loop() {
		for i, w := range ways {
			table := "t" + strconv.Itoa(i)
			mustExec(b, db, "DROP TABLE IF EXISTS "+table)
			mustExec(b, db, "CREATE TABLE "+table+" ("+strings.Join(names, ",")+") ENGINE=InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin")
			n.tables.forget()
			start := time.Now()
			if err := w.load(table); err != nil {
				b.Fatalf("%s: %v", w.name, err)
			}
			took[i] = append(took[i], time.Since(start))
			var got int
			if err := db.QueryRow("SELECT count(*) FROM " + table).Scan(&got); err != nil || got != benchRows {
				b.Fatalf("%s wrote %d rows, %v", w.name, got, err)
			}
		}
	}
	for i, w := range ways {
		slices.Sort(took[i])
		b.ReportMetric(benchRows/took[i][len(took[i])/2].Seconds(), w.name+"_rows/s")
	}
	b.ReportMetric(0, "ns/op")
}

func benchRow(table string) row.Row {
	s := &row.Schema{Table: table}
	r := row.Row{Schema: s}
	for i := range benchColumns {
		s.Columns = append(s.Columns, row.Column{Name: fmt.Sprintf("c%d", i), Type: "text"})
		r.Values = append(r.Values, row.Text(strings.Repeat(string(rune('a'+i)), 20)))
	}
	return r
}

// inTransaction calls f between BEGIN and COMMIT, once for each piece.
func inTransaction(c *conn, piece int, f func() error) error {
	if err := c.begin(context.Background()); err != nil {
		return err
	}
	for range benchRows / piece {
		if err := f(); err != nil {
			return err
		}
	}
	return c.commit()
}

func statementOf(table string, piece int) (string, []driver.NamedValue) {
	one := "(" + strings.TrimSuffix(strings.Repeat("?,", benchColumns), ",") + ")"
	var args []driver.NamedValue
	for range piece {
		for _, v := range benchRow(table).Values {
			args = append(args, driver.NamedValue{Ordinal: len(args) + 1, Value: string(v.Text)})
		}
	}
	return "INSERT INTO " + table + " VALUES " + strings.TrimSuffix(strings.Repeat(one+",", piece), ","), args
}

func inPieces(c *conn, piece int) func(string) error {
	return func(table string) error {
		sql, args := statementOf(table, piece)
		return inTransaction(c, piece, func() error { return c.insert(context.Background(), sql, args, true) })
	}
}

func literals(c *conn, piece int) func(string) error {
	return func(table string) error {
		sql, args := statementOf(table, piece)
		return inTransaction(c, piece, func() error { return c.insert(context.Background(), sql, args, false) })
	}
}

// loadData is LOAD DATA LOCAL as it would have to be used: behind a savepoint,
// and with a look at the warnings.
func loadData(c *conn, piece int) func(string) error {
	return func(table string) error {
		var line []byte
		for _, v := range benchRow(table).Values {
			line = append(append(line, v.Text...), '\t')
		}
		line[len(line)-1] = '\n'
		text := bytes.Repeat(line, piece)
		mysql.RegisterReaderHandler("bench", func() io.Reader { return bytes.NewReader(text) })
		defer mysql.DeregisterReaderHandler("bench")
		return inTransaction(c, piece, func() error {
			if err := c.exec(context.Background(), "SAVEPOINT piece"); err != nil {
				return err
			}
			if err := c.exec(context.Background(), "LOAD DATA LOCAL INFILE 'Reader::bench' INTO TABLE "+table+" CHARACTER SET utf8mb4"); err != nil {
				return err
			}
			warnings, err := c.query(context.Background(), "SHOW WARNINGS")
			if err == nil && len(warnings) > 0 {
				err = fmt.Errorf("LOAD DATA warns: %v", warnings)
			}
			return err
		})
	}
}
