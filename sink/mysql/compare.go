package mysql

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"holdfast/row"
	"holdfast/sink"
	"holdfast/sink/prepared"
)

var _ sink.Comparer = (*Sink)(nil)

// rowsAtOnce is how many rows are read before tables may be changed or swapped
// by others again.
const rowsAtOnce = 100_000

// comparison is the database at one moment: reader keeps the snapshot, maker has
// temporary tables.
type comparison struct {
	sink          *Sink
	reader, maker *conn
	noted         sink.Noted
	made          map[*sink.Compared]*maker
}

// maker is a temporary table of the types of another one.
type maker struct {
	name    string
	of      *sink.Compared
	columns []*column
}

// Compare looks at the database as it is at one moment.
func (s *Sink) Compare(ctx context.Context, id sink.ID) (sink.Comparison, error) {
	k := &comparison{sink: s, made: map[*sink.Compared]*maker{}}
	if err := k.open(ctx, id); err != nil {
		return nil, fmt.Errorf("compare with %s: %w", s.where, errors.Join(err, k.Close()))
	}
	return k, nil
}

func (k *comparison) open(ctx context.Context, id sink.ID) (err error) {
	for _, c := range []**conn{&k.reader, &k.maker} {
		if *c, err = k.sink.connect(ctx); err != nil {
			return err
		}
		if err := (*c).exec(ctx, "SET SESSION wait_timeout = 86400, net_write_timeout = 86400"); err != nil {
			return err
		}
	}
	for _, sql := range []string{"SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ", "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY", "SAVEPOINT holdfast_read"} {
		if err := k.reader.exec(ctx, sql); err != nil {
			return err
		}
	}
	cursor, err := k.reader.query(ctx, "SELECT seq, chain, epoch FROM "+k.sink.own("holdfast_cursor")+" WHERE stream_id = ? AND sink = ?", id.StreamID, id.Sink)
	if number(err) == 1146 || err == nil && len(cursor) == 0 {
		return sink.ErrNoCursor
	}
	if err != nil {
		return err
	}
	numbers := func(f field) uint64 { n, _ := strconv.ParseUint(f.text, 10, 64); return n }
	k.noted = sink.Noted{Cursor: sink.Cursor{Position: row.Position{Seq: numbers(cursor[0][0]), Chain: uint32(numbers(cursor[0][1]))}, Epoch: numbers(cursor[0][2])}, Retried: map[uint64]bool{}}
	gaps, err := k.reader.query(ctx, "SELECT first_seq, last_seq, reason FROM "+k.sink.own("holdfast_gap")+" WHERE stream_id = ? AND sink = ? ORDER BY 1", id.StreamID, id.Sink)
	if err != nil {
		return err
	}
	for _, g := range gaps {
		k.noted.Gaps = append(k.noted.Gaps, row.Damage{Stream: id.Stream, First: numbers(g[0]), Last: numbers(g[1]), What: g[2].text, Gap: true})
	}
	retried, err := k.reader.query(ctx, "SELECT seq FROM "+k.sink.own("holdfast_retry")+" WHERE stream_id = ? AND sink = ?", id.StreamID, id.Sink)
	for _, r := range retried {
		k.noted.Retried[numbers(r[0])] = true
	}
	if err != nil {
		return err
	}
	return k.release(ctx)
}

// release lets go of what reading has locked, so that tables can be changed; the
// snapshot stays.
func (k *comparison) release(ctx context.Context) error {
	return k.reader.exec(ctx, "ROLLBACK TO SAVEPOINT holdfast_read")
}

// Close ends both connections.
func (k *comparison) Close() error {
	for _, c := range []*conn{k.reader, k.maker} {
		if c != nil {
			c.close()
		}
	}
	return nil
}

// Noted returns what the sink itself notes about the stream.
func (k *comparison) Noted() sink.Noted { return k.noted }

// Table describes a table.
func (k *comparison) Table(ctx context.Context, name string) (*sink.Compared, error) {
	rows, err := k.maker.query(ctx, "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE() AND table_type = 'BASE TABLE' ORDER BY CHAR_LENGTH(table_name), table_name")
	if err != nil {
		return nil, err
	}
	t, folded := &sink.Compared{Name: name, Filled: map[string]bool{}}, k.maker.foldTable(name)
	for _, r := range rows {
		if one := k.maker.foldTable(r[0].text); one == folded || sink.IsArchiveOf(one, folded) {
			t.Places, t.Names = append(t.Places, r[0].text), append(t.Names, r[0].text)
		}
	}
	if len(t.Names) == 0 || k.maker.foldTable(t.Names[0]) != folded {
		return nil, nil
	}
	columns, err := k.maker.query(ctx, "SELECT column_name, column_default IS NOT NULL AND column_default <> 'NULL' OR extra <> '', column_key = 'PRI' FROM information_schema.columns"+
		" WHERE table_schema = DATABASE() AND table_name = ? ORDER BY ordinal_position", t.Places[0])
	for _, c := range columns {
		t.All = append(t.All, c[0].text)
		if c[1].text == "1" {
			t.Filled[c[0].text] = true
		}
		if c[2].text == "1" {
			t.Key = append(t.Key, c[0].text)
		}
	}
	return t, err
}

// digestOf returns an expression for what the values of columns are, written so
// that no two rows are written alike.
func digestOf(columns []string) string {
	if len(columns) == 0 {
		return "0"
	}
	all := make([]string, len(columns))
	for i, c := range columns {
		all[i] = "QUOTE(CAST(" + quote(c) + " AS BINARY))"
	}
	return "CAST(CONV(LEFT(MD5(CONCAT_WS(',', " + strings.Join(all, ", ") + ")), 16), 16, 10) AS UNSIGNED)"
}

func list(columns []string) string {
	quoted := make([]string, len(columns))
	for i, c := range columns {
		quoted[i] = quote(c)
	}
	return strings.Join(quoted, ", ")
}

// Make writes rows to a temporary table of the same types, and reads them back.
func (k *comparison) Make(ctx context.Context, t *sink.Compared, rows []row.Row) ([]sink.Print, error) {
	m, err := k.temporary(ctx, t)
	if err != nil {
		return nil, err
	}
	if err := k.maker.exec(ctx, "START TRANSACTION"); err != nil {
		return nil, err
	}
	prints := make([]sink.Print, len(rows))
	width := max(1, maxParameters/(1+len(t.Columns)))
	for from := 0; from < len(rows) && err == nil; from += width {
		to := min(from+width, len(rows))
		err = k.insert(ctx, m, rows[from:to], prints[from:to], from)
	}
	if err == nil {
		err = k.maker.each(ctx, "SELECT "+digestOf(t.Columns)+", "+digestOf(t.Key)+", holdfast_at FROM "+m.name+" ORDER BY holdfast_at", func(v []driver.Value) error {
			i, err := strconv.Atoi(fieldOf(v[2]).text)
			if err == nil && i < len(prints) {
				prints[i], err = decodePrint(v)
			}
			return err
		})
	}
	return prints, errors.Join(err, k.maker.exec(ctx, "ROLLBACK"))
}

func (k *comparison) temporary(ctx context.Context, t *sink.Compared) (*maker, error) {
	if m := k.made[t]; m != nil {
		return m, nil
	}
	m := &maker{of: t, name: fmt.Sprintf("holdfast_made_%d", len(k.made)+1)}
	known, err := k.maker.describe(ctx, t.Places[0])
	if err != nil {
		return nil, err
	}
	for _, c := range t.Columns {
		one := known.columns[foldColumn(c)]
		if one == nil {
			return nil, fmt.Errorf("column %q of table %q is gone", c, t.Name)
		}
		m.columns = append(m.columns, one)
	}
	if err := k.maker.exec(ctx, "CREATE TEMPORARY TABLE "+m.name+" ENGINE=InnoDB AS SELECT 0 AS holdfast_at, "+list(t.Columns)+" FROM "+quote(t.Places[0])+" LIMIT 0"); err != nil {
		return nil, fmt.Errorf("make a temporary table (it takes GRANT CREATE TEMPORARY TABLES): %w", err)
	}
	k.made[t] = m
	return m, nil
}

// insert writes rows; where one of them is refused, it halves them until it has
// found it.
func (k *comparison) insert(ctx context.Context, m *maker, rows []row.Row, prints []sink.Print, first int) error {
	var args []driver.NamedValue
	add := func(v any) { args = append(args, driver.NamedValue{Ordinal: len(args) + 1, Value: v}) }
	written := 0
	for i, r := range rows {
		was := len(args)
		add(int64(first + i))
		for j, v := range r.Values {
			var cell any
			if !v.Null {
				var why string
				if cell, why = m.columns[j].cell(kindOf(m.columns[j].data, r.Schema.Columns[j].Type), string(v.Text)); why != "" {
					prints[i].Refused = why
				}
			}
			add(cell)
		}
		if prints[i].Refused != "" {
			args = args[:was]
			continue
		}
		written++
	}
	if written == 0 {
		return nil
	}
	one := "(?" + strings.Repeat(",?", len(m.of.Columns)) + ")"
	err := k.maker.insert(ctx, "INSERT INTO "+m.name+" (holdfast_at, "+list(m.of.Columns)+") VALUES "+strings.Repeat(one+",", written-1)+one, args, false)
	switch {
	case err == nil:
		return nil
	case !aboutRow(err):
		return fmt.Errorf("write rows of table %q to a temporary one: %w", m.of.Name, err)
	case len(rows) == 1:
		prints[0].Refused = err.Error()
		return nil
	}
	half := len(rows) / 2
	if err := k.insert(ctx, m, rows[:half], prints[:half], first); err != nil {
		return err
	}
	return k.insert(ctx, m, rows[half:], prints[half:], first+half)
}

func decodePrint(v []driver.Value) (p sink.Print, err error) {
	digest, err1 := strconv.ParseUint(fieldOf(v[0]).text, 10, 64)
	key, err2 := strconv.ParseUint(fieldOf(v[1]).text, 10, 64)
	return sink.Print{Digest: digest, Key: key}, errors.Join(err1, err2)
}

// Read reads a table, some rows at a time where its key is one whole number.
func (k *comparison) Read(ctx context.Context, t *sink.Compared, place string, emit func(sink.Print) error) error {
	key, err := k.numbered(ctx, place)
	if err != nil {
		return err
	}
	query := "SELECT " + digestOf(t.Columns) + ", " + digestOf(t.Key)
	if key == "" {
		err := k.reader.each(ctx, query+" FROM "+quote(place), func(v []driver.Value) error { return handOn(v, emit) })
		return errors.Join(k.swapped(place, err), k.release(ctx))
	}
	for last, n := "", rowsAtOnce; n == rowsAtOnce; {
		where := ""
		if last != "" {
			where = " WHERE " + key + " > " + last
		}
		n = 0
		err := k.reader.each(ctx, query+", "+key+" FROM "+quote(place)+where+" ORDER BY "+key+" LIMIT "+strconv.Itoa(rowsAtOnce), func(v []driver.Value) error {
			n, last = n+1, fieldOf(v[2]).text
			return handOn(v, emit)
		})
		if err := errors.Join(k.swapped(place, err), k.release(ctx)); err != nil {
			return err
		}
	}
	return nil
}

func handOn(v []driver.Value, emit func(sink.Print) error) error {
	p, err := decodePrint(v)
	if err != nil {
		return err
	}
	return emit(p)
}

// swapped says what an error means that tells of another definition.
func (k *comparison) swapped(place string, err error) error {
	if n := number(err); n == 1412 || n == 1146 {
		return fmt.Errorf("table %q was changed or swapped while it was compared; compare again: %w", place, err)
	}
	return err
}

// numbered returns the name of a table's key, quoted, where that is one whole number.
func (k *comparison) numbered(ctx context.Context, place string) (string, error) {
	rows, err := k.maker.query(ctx, "SELECT column_name, data_type FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name = ? AND column_key = 'PRI'", place)
	if err != nil || len(rows) != 1 || !slices.Contains([]string{"int", "bigint", "mediumint", "smallint"}, rows[0][1].text) {
		return "", err
	}
	return quote(rows[0][0].text), nil
}

// each calls f with each row of a query, as the server sends them.
func (c *conn) each(ctx context.Context, sql string, f func([]driver.Value) error) (err error) {
	rows, err := c.Conn.(driver.QueryerContext).QueryContext(ctx, sql, prepared.Named(nil))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	values := make([]driver.Value, len(rows.Columns()))
	for {
		if err := rows.Next(values); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		if err := f(values); err != nil {
			return err
		}
	}
}
