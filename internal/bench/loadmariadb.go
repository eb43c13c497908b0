package bench

import (
	"bytes"
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	mysqldriver "github.com/go-sql-driver/mysql"

	"holdfast/internal/throwaway"
	"holdfast/sink"
	"holdfast/sink/mysql"
)

// raceRows is how many rows each way to insert them gets, and raceRounds how
// often, to find out which is the fastest here.
const (
	raceRows   = loadRows
	raceRounds = 3
)

// openLoadMariaDB starts a server as it comes. The baseline is the fastest of
// several ways, which race first. Before each turn the table of the last one is
// emptied.
func openLoadMariaDB(ctx context.Context, p *pair, at place) (sink.Sink, error) {
	server, err := started(ctx, p, at, throwaway.MariaDB)
	if err != nil {
		return nil, err
	}
	p.cpu = cpuWith(server.Pid())
	c, err := dialMariaDB(ctx, p, server.Addr())
	if err != nil {
		return nil, err
	}
	to, err := mysql.Open(mysql.Options{URL: server.URL("bench")})
	if err != nil {
		return nil, err
	}
	p.onClose(to.Close)
	p.prepare = func(int) error { return c.exec("TRUNCATE TABLE " + copiedTable) }
	p.between = func(n int) error {
		if got, err := c.ask("SELECT count(*) FROM " + benchTable); err != nil || got != fmt.Sprint(n) {
			return errors.Join(err, fmt.Errorf("%s rows of %d were delivered", got, n))
		}
		return c.exec("TRUNCATE TABLE " + benchTable)
	}
	rows := raceRows
	if at.rows > 0 {
		rows = min(rows, at.rows)
	}
	best, others, err := c.race(rows)
	if err != nil {
		return nil, err
	}
	p.against = "the fastest of six ways that keep strictness, with the same driver: " + best.name + ", transactions of 10,000 rows; slower in a race beforehand: " + others
	p.baseline = func(n int, took *histogram) (float64, error) {
		return float64(n), inBatches(n, loadRows, took, func(rows int) error { return c.load(best, rows) })
	}
	return to, nil
}

// mariadb is a connection of the baseline, straight through the driver.
type mariadb struct {
	ctx  context.Context
	p    *pair
	conn driver.Conn
}

// dialMariaDB makes a database with two equal tables, and connects to it with
// the settings that the sink gives its own sessions.
func dialMariaDB(ctx context.Context, p *pair, addr string) (*mariadb, error) {
	config := mysqldriver.NewConfig()
	config.Net, config.Addr, config.User = "tcp", addr, "root"
	config.InterpolateParams, config.MaxAllowedPacket = true, 0
	if err := config.Apply(mysqldriver.Charset("utf8mb4", "utf8mb4_bin")); err != nil {
		return nil, err
	}
	connector, err := mysqldriver.NewConnector(config)
	if err != nil {
		return nil, err
	}
	conn, err := connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	p.onClose(conn.Close)
	c := &mariadb{ctx, p, conn}
	text := " (" + strings.ReplaceAll(columnNames(), ",", " longtext,") + " longtext) ENGINE=InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"
	for _, sql := range []string{
		"CREATE DATABASE bench", "USE bench", "CREATE TABLE " + benchTable + text, "CREATE TABLE " + copiedTable + text,
		"SET SESSION sql_mode = 'STRICT_ALL_TABLES', autocommit = 1", "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
	} {
		if err := c.exec(sql); err != nil {
			return nil, err
		}
	}
	return c, nil
}

func (c *mariadb) exec(sql string) error {
	_, err := c.conn.(driver.ExecerContext).ExecContext(c.ctx, sql, nil)
	return err
}

// ask returns the first value of a result, "" where there is none.
func (c *mariadb) ask(sql string) (value string, err error) {
	rows, err := c.conn.(driver.QueryerContext).QueryContext(c.ctx, sql, nil)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	one := make([]driver.Value, len(rows.Columns()))
	switch err := rows.Next(one); err {
	case nil:
		if b, ok := one[0].([]byte); ok {
			return string(b), nil
		}
		return fmt.Sprint(one[0]), nil
	case io.EOF:
		return "", nil
	default:
		return "", err
	}
}

// A way inserts rows, piece by piece; fewer than a piece has where rows are
// left over.
type way struct {
	name   string
	piece  int
	insert func(rows int) error
}

// load commits rows rows in one transaction.
func (c *mariadb) load(w way, rows int) error {
	if err := c.exec("START TRANSACTION"); err != nil {
		return err
	}
	for at := 0; at < rows; at += w.piece {
		if err := w.insert(min(w.piece, rows-at)); err != nil {
			return fmt.Errorf("%s: %w", w.name, err)
		}
	}
	return c.exec("COMMIT")
}

// race loads rows rows in each way, by turns, and returns the one with the best
// median, and what the others came to.
func (c *mariadb) race(rows int) (best way, others string, err error) {
	ways := []way{c.prepared(100), c.prepared(250), c.literals(100), c.literals(1000), c.loadData(1000), c.loadData(10_000)}
	took := make([][]float64, len(ways))
	for round := range raceRounds + 1 {
		for i, w := range ways {
			if err := c.exec("TRUNCATE TABLE " + copiedTable); err != nil {
				return best, "", err
			}
			start := time.Now()
			if err := c.load(w, rows); err != nil {
				return best, "", err
			}
			if round > 0 { // the first one warms up
				took[i] = append(took[i], float64(rows)/time.Since(start).Seconds())
			}
		}
	}
	order := make([]int, len(ways))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return int(median(took[b]) - median(took[a])) })
	var slower []string
	for _, i := range order[1:] {
		slower = append(slower, fmt.Sprintf("%s %.2f", ways[i].name, median(took[i])/median(took[order[0]])))
	}
	return ways[order[0]], strings.Join(slower, ", "), nil
}

// statement returns an INSERT of some rows, and its arguments.
func statement(rows int) (string, []driver.NamedValue) {
	one := "(" + strings.TrimSuffix(strings.Repeat("?,", benchColumns), ",") + "),"
	var args []driver.NamedValue
	for range rows {
		for _, v := range values() {
			args = append(args, driver.NamedValue{Ordinal: len(args) + 1, Value: string(v.Text)})
		}
	}
	return "INSERT INTO " + copiedTable + " VALUES " + strings.TrimSuffix(strings.Repeat(one, rows), ","), args
}

// prepared inserts with a statement that is prepared once; what is left over is
// prepared for itself.
func (c *mariadb) prepared(piece int) way {
	made := map[int]driver.Stmt{}
	_, args := statement(piece)
	return way{fmt.Sprintf("prepared INSERT of %d rows", piece), piece, func(rows int) error {
		s := made[rows]
		if s == nil {
			sql, _ := statement(rows)
			var err error
			if s, err = c.conn.Prepare(sql); err != nil {
				return err
			}
			c.p.onClose(s.Close)
			made[rows] = s
		}
		_, err := s.(driver.StmtExecContext).ExecContext(c.ctx, args[:rows*benchColumns])
		return err
	}}
}

// literals inserts with the values in the statement's text, where the driver
// puts them.
func (c *mariadb) literals(piece int) way {
	whole, args := statement(piece)
	return way{fmt.Sprintf("INSERT of %d rows as text", piece), piece, func(rows int) error {
		sql := whole
		if rows < piece {
			sql, _ = statement(rows)
		}
		_, err := c.conn.(driver.ExecerContext).ExecContext(c.ctx, sql, args[:rows*benchColumns])
		return err
	}}
}

// loadData is LOAD DATA LOCAL as strictness needs it: it changes what does not
// fit and only warns, so there is a savepoint to go back to, and a look at the
// warnings. The text is made beforehand.
func (c *mariadb) loadData(piece int) way {
	line := joined("", "\t", "") + "\n"
	text := []byte(strings.Repeat(line, piece))
	name := fmt.Sprintf("bench_%p", &text)
	return way{fmt.Sprintf("LOAD DATA LOCAL of %d rows, warnings looked at", piece), piece, func(rows int) error {
		mysqldriver.RegisterReaderHandler(name, func() io.Reader { return bytes.NewReader(text[:rows*len(line)]) })
		defer mysqldriver.DeregisterReaderHandler(name)
		if err := c.exec("SAVEPOINT piece"); err != nil {
			return err
		}
		if err := c.exec("LOAD DATA LOCAL INFILE 'Reader::" + name + "' INTO TABLE " + copiedTable + " CHARACTER SET utf8mb4"); err != nil {
			return err
		}
		warning, err := c.ask("SHOW WARNINGS")
		if err == nil && warning != "" {
			err = fmt.Errorf("it warns: %s", warning)
		}
		return err
	}}
}
