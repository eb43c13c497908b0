package sqlite

import (
	"context"
	"crypto/sha256"
	"database/sql/driver"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"holdfast/row"
	"holdfast/sink"
	"holdfast/sink/prepared"
)

var _ sink.Comparer = (*Sink)(nil)

// comparison is the file at one moment: reader keeps it, maker has temporary
// tables.
type comparison struct {
	sink          *Sink
	reader, maker *conn
	noted         sink.Noted
	made          map[*sink.Compared]string
}

// Compare looks at the file as it is at one moment.
func (s *Sink) Compare(ctx context.Context, id sink.ID) (sink.Comparison, error) {
	k := &comparison{sink: s, made: map[*sink.Compared]string{}}
	if err := k.open(ctx, id); err != nil {
		return nil, fmt.Errorf("compare with database %q: %w", s.path, errors.Join(err, k.Close()))
	}
	return k, nil
}

func (k *comparison) open(ctx context.Context, id sink.ID) (err error) {
	if _, err := os.Stat(k.sink.path); err != nil { // or it would be made
		return err
	}
	for _, c := range []**conn{&k.reader, &k.maker} {
		if *c, err = open(ctx, k.sink.path, k.sink.opts.Busy.Milliseconds()); err != nil {
			return err
		}
	}
	if _, err := k.reader.exec(ctx, "BEGIN"); err != nil {
		return err
	}
	cursor, err := k.reader.query(ctx, "SELECT seq, chain, epoch, instance FROM holdfast_cursor WHERE stream_id = ? AND sink = ?", id.StreamID, id.Sink)
	if err != nil {
		return err
	}
	if len(cursor) == 0 {
		return sink.ErrNoCursor
	}
	number := func(v driver.Value) uint64 { n, _ := v.(int64); return uint64(n) }
	k.noted = sink.Noted{Cursor: sink.Cursor{Position: row.Position{Seq: number(cursor[0][0]), Chain: uint32(number(cursor[0][1]))}, Epoch: number(cursor[0][2])}, Retried: map[uint64]bool{}}
	gaps, err := k.reader.query(ctx, "SELECT first_seq, last_seq, reason FROM holdfast_gap WHERE stream_id = ? AND sink = ? ORDER BY 1", id.StreamID, id.Sink)
	if err != nil {
		return err
	}
	for _, g := range gaps {
		k.noted.Gaps = append(k.noted.Gaps, row.Damage{Stream: id.Stream, First: number(g[0]), Last: number(g[1]), What: fmt.Sprint(g[2]), Gap: true})
	}
	retried, err := k.reader.query(ctx, "SELECT seq FROM holdfast_retry WHERE stream_id = ? AND sink = ?", id.StreamID, id.Sink)
	for _, r := range retried {
		k.noted.Retried[number(r[0])] = true
	}
	return err
}

// Close ends both connections.
func (k *comparison) Close() error {
	var errs []error
	for _, c := range []*conn{k.reader, k.maker} {
		if c != nil {
			errs = append(errs, c.close())
		}
	}
	return errors.Join(errs...)
}

// Noted returns what the sink itself notes about the stream.
func (k *comparison) Noted() sink.Noted { return k.noted }

// Table describes a table of the file.
func (k *comparison) Table(ctx context.Context, name string) (*sink.Compared, error) {
	rows, err := k.reader.query(ctx, "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY length(name), name")
	if err != nil {
		return nil, err
	}
	t := &sink.Compared{Name: name, Filled: map[string]bool{}}
	for _, r := range rows {
		if one := fmt.Sprint(r[0]); FoldName(one) == FoldName(name) || sink.IsArchiveOf(FoldName(one), FoldName(name)) {
			t.Places, t.Names = append(t.Places, one), append(t.Names, one)
		}
	}
	if len(t.Names) == 0 || FoldName(t.Names[0]) != FoldName(name) {
		return nil, nil
	}
	columns, err := k.reader.query(ctx, "SELECT name, dflt_value IS NOT NULL OR hidden > 1 OR (pk = 1 AND upper(type) = 'INTEGER'), pk FROM pragma_table_xinfo(?) WHERE hidden <> 1 ORDER BY cid", t.Places[0])
	for _, c := range columns {
		one := fmt.Sprint(c[0])
		t.All = append(t.All, one)
		if c[1] == int64(1) {
			t.Filled[one] = true
		}
		if c[2] != int64(0) {
			t.Key = append(t.Key, one)
		}
	}
	return t, err
}

// written are the values of columns as literals, each row's of one kind with
// those that are compared with it.
func written(columns []string) string {
	if len(columns) == 0 {
		return "0"
	}
	all := make([]string, len(columns))
	for i, c := range columns {
		all[i] = "quote(" + quote(c) + ")"
	}
	return strings.Join(all, " || ',' || ")
}

// Make writes rows to a temporary table of the same columns, and reads them back.
func (k *comparison) Make(ctx context.Context, t *sink.Compared, rows []row.Row) ([]sink.Print, error) {
	name, there := k.made[t]
	quoted := make([]string, len(t.Columns))
	for i, c := range t.Columns {
		quoted[i] = quote(c)
	}
	if !there {
		name = fmt.Sprintf("holdfast_made_%d", len(k.made)+1)
		if _, err := k.maker.exec(ctx, "CREATE TEMPORARY TABLE "+name+" AS SELECT "+strings.Join(quoted, ", ")+" FROM "+quote(t.Places[0])+" LIMIT 0"); err != nil {
			return nil, fmt.Errorf("make a temporary table like %q: %w", t.Name, err)
		}
		k.made[t] = name
	}
	kinds, err := k.kinds(ctx, t)
	if err != nil {
		return nil, err
	}
	insert := "INSERT INTO temp." + name + " VALUES (" + strings.TrimSuffix(strings.Repeat("?,", len(t.Columns)), ",") + ")"
	if _, err := k.maker.exec(ctx, "DELETE FROM temp."+name); err != nil {
		return nil, err
	}
	if _, err := k.maker.exec(ctx, "BEGIN"); err != nil {
		return nil, err
	}
	for _, r := range rows {
		args := make([]driver.NamedValue, len(r.Values))
		for i, v := range r.Values {
			args[i].Ordinal = i + 1
			if !v.Null {
				args[i].Value = kinds[i].cell(string(v.Text), r.Schema.Columns[i].Type)
			}
		}
		if _, err := k.maker.run(insert, args); err != nil {
			_, back := k.maker.exec(ctx, "ROLLBACK")
			return nil, errors.Join(fmt.Errorf("write a row of table %q to a temporary one: %w", t.Name, err), back)
		}
	}
	prints := make([]sink.Print, 0, len(rows))
	err = k.maker.prints(ctx, "SELECT "+written(t.Columns)+", "+written(t.Key)+" FROM temp."+name+" ORDER BY rowid", len(t.Key) > 0, func(p sink.Print) error {
		prints = append(prints, p)
		return nil
	})
	if _, end := k.maker.exec(ctx, "COMMIT"); err == nil {
		err = end
	}
	if err == nil && len(prints) != len(rows) {
		err = fmt.Errorf("%d rows of table %q came back of %d", len(prints), t.Name, len(rows))
	}
	return prints, err
}

func (k *comparison) kinds(ctx context.Context, t *sink.Compared) ([]affinity, error) {
	rows, err := k.maker.query(ctx, "SELECT name, type FROM pragma_table_xinfo(?)", t.Places[0])
	if err != nil {
		return nil, err
	}
	declared := map[string]affinity{}
	for _, r := range rows {
		declared[fmt.Sprint(r[0])] = affinityOf(fmt.Sprint(r[1]))
	}
	kinds := make([]affinity, len(t.Columns))
	for i, c := range t.Columns {
		kinds[i] = declared[c]
	}
	return kinds, nil
}

// Read reads a table in one go: readers hold up nobody.
func (k *comparison) Read(ctx context.Context, t *sink.Compared, place string, emit func(sink.Print) error) error {
	return k.reader.prints(ctx, "SELECT "+written(t.Columns)+", "+written(t.Key)+" FROM "+quote(place), len(t.Key) > 0, emit)
}

// prints hands on what a query returns.
func (c *conn) prints(ctx context.Context, sql string, keyed bool, emit func(sink.Print) error) (err error) {
	rows, err := c.Conn.(driver.QueryerContext).QueryContext(ctx, sql, prepared.Named(nil))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	values := make([]driver.Value, 2)
	for {
		if err := rows.Next(values); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		p := sink.Print{Digest: hashed(values[0])}
		if keyed {
			p.Key = hashed(values[1])
		}
		if err := emit(p); err != nil {
			return err
		}
	}
}

func hashed(v driver.Value) uint64 {
	var sum [32]byte
	switch v := v.(type) {
	case string:
		sum = sha256.Sum256([]byte(v))
	case []byte:
		sum = sha256.Sum256(v)
	}
	return binary.LittleEndian.Uint64(sum[:])
}
