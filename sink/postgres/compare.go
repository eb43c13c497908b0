package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"holdfast/row"
	"holdfast/sink"
)

var _ sink.Comparer = (*Sink)(nil)

// pagesAtOnce is how much of a table is read in one transaction: 16 MiB, less
// than a second. Whoever wants to change or swap the table waits no longer.
const pagesAtOnce = 2 << 10

// comparison is the database at one moment: holder keeps the snapshot and no
// lock on any table, reader reads with it, and maker has temporary tables.
type comparison struct {
	sink                  *Sink
	holder, reader, maker *conn
	snapshot              string
	noted                 sink.Noted
	made                  map[*sink.Compared]string // names of temporary tables
	ranges                bool                      // the server finds pages by their number (since 14)
}

// Compare looks at the database as it is at one moment.
func (s *Sink) Compare(ctx context.Context, id sink.ID) (sink.Comparison, error) {
	k := &comparison{sink: s, made: map[*sink.Compared]string{}}
	if err := k.open(ctx, id); err != nil {
		return nil, s.wrap("compare with", errors.Join(err, k.Close()))
	}
	return k, nil
}

func (k *comparison) open(ctx context.Context, id sink.ID) (err error) {
	for _, c := range []**conn{&k.holder, &k.reader, &k.maker} {
		if *c, err = k.sink.connect(ctx); err != nil {
			return err
		}
		if _, err = (*c).run(ctx, statement{sql: "SET idle_in_transaction_session_timeout = 0"}); err != nil {
			return err
		}
		if _, err = (*c).run(ctx, statement{sql: "SET idle_session_timeout = 0"}); err != nil && !isCode(err, "42704") { // since 14
			return err
		}
	}
	own := []string{id.StreamID, id.Sink}
	results, err := k.holder.run(ctx,
		statement{sql: "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"},
		statement{sql: "SELECT pg_export_snapshot(), current_setting('server_version_num')::int >= 140000"},
		statement{"SELECT seq, chain, epoch, instance FROM " + k.holder.table("holdfast_cursor") + " WHERE stream_id = $1 AND sink = $2", own},
		statement{"SELECT first_seq, last_seq, reason FROM " + k.holder.table("holdfast_gap") + " WHERE stream_id = $1 AND sink = $2 ORDER BY 1", own},
		statement{"SELECT seq FROM " + k.holder.table("holdfast_retry") + " WHERE stream_id = $1 AND sink = $2", own})
	switch {
	case isCode(err, "42P01", "3F000"):
		return fmt.Errorf("%w: %w", sink.ErrNoCursor, err)
	case err != nil:
		return err
	case len(results[2].Rows) == 0:
		return sink.ErrNoCursor
	}
	k.snapshot, k.ranges = string(results[1].Rows[0][0]), string(results[1].Rows[0][1]) == "t"
	if k.noted.Cursor, err = decodeCursor(results[2].Rows[0]); err != nil {
		return err
	}
	for _, r := range results[3].Rows {
		g := row.Damage{Stream: id.Stream, What: string(r[2]), Gap: true}
		g.First, _ = strconv.ParseUint(string(r[0]), 10, 64) // a bigint
		g.Last, _ = strconv.ParseUint(string(r[1]), 10, 64)
		k.noted.Gaps = append(k.noted.Gaps, g)
	}
	k.noted.Retried = map[uint64]bool{}
	for _, r := range results[4].Rows {
		seq, _ := strconv.ParseUint(string(r[0]), 10, 64)
		k.noted.Retried[seq] = true
	}
	return nil
}

// Close ends the connections.
func (k *comparison) Close() error {
	for _, c := range []*conn{k.holder, k.reader, k.maker} {
		if c != nil {
			c.close()
			k.sink.bury(c)
		}
	}
	return nil
}

// Noted returns what the sink itself notes about the stream.
func (k *comparison) Noted() sink.Noted { return k.noted }

// Table looks in the snapshot, and keeps the numbers of tables: names may be
// given to others while rows are read.
func (k *comparison) Table(ctx context.Context, name string) (*sink.Compared, error) {
	results, err := k.holder.run(ctx,
		statement{`SELECT c.oid, c.relname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
			WHERE n.nspname = $1 AND c.relkind IN ('r', 'p') AND (c.relname = $2 OR starts_with(c.relname, $2 || '_')) ORDER BY length(c.relname), c.relname`, []string{k.holder.schema, name}})
	if err != nil {
		return nil, fmt.Errorf("look for table %q: %w", name, err)
	}
	t := &sink.Compared{Name: name, Filled: map[string]bool{}}
	for _, r := range results[0].Rows {
		if one := string(r[1]); one == name || sink.IsArchiveOf(one, name) {
			t.Places, t.Names = append(t.Places, string(r[0])), append(t.Names, one)
		}
	}
	if len(t.Names) == 0 || t.Names[0] != name {
		return nil, nil
	}
	results, err = k.holder.run(ctx,
		statement{`SELECT attname, atthasdef OR attidentity <> '' OR attgenerated <> '' FROM pg_catalog.pg_attribute WHERE attrelid = $1::oid AND attnum > 0 AND NOT attisdropped ORDER BY attnum`, t.Places[:1]},
		statement{`SELECT a.attname FROM pg_catalog.pg_index i JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey) WHERE i.indrelid = $1::oid AND i.indisprimary`, t.Places[:1]})
	if err != nil {
		return nil, fmt.Errorf("look at table %q: %w", name, err)
	}
	for _, r := range results[0].Rows {
		t.All = append(t.All, string(r[0]))
		if string(r[1]) == "t" {
			t.Filled[string(r[0])] = true
		}
	}
	for _, r := range results[1].Rows {
		t.Key = append(t.Key, string(r[0]))
	}
	return t, nil
}

func digestOf(columns []string) string {
	if len(columns) == 0 {
		return "0"
	}
	return "('x' || substr(md5(ROW(" + list(columns) + ")::text), 1, 16))::bit(64)::bigint"
}

func list(columns []string) string {
	quoted := make([]string, len(columns))
	for i, c := range columns {
		quoted[i] = quote(c)
	}
	return strings.Join(quoted, ", ")
}

// at numbers the rows of a temporary table.
const at = "holdfast_at"

// Make copies rows into a temporary table of the same types, and reads them back.
func (k *comparison) Make(ctx context.Context, t *sink.Compared, rows []row.Row) ([]sink.Print, error) {
	name, there := k.made[t]
	if !there {
		name = fmt.Sprintf("holdfast_made_%d", len(k.made)+1)
		target := quote(k.maker.schema) + "." + quote(t.Name)
		if _, err := k.maker.run(ctx, statement{sql: "CREATE TEMPORARY TABLE " + name + " AS SELECT 0::bigint AS " + at + ", " + list(t.Columns) + " FROM " + target + " WITH NO DATA"}); err != nil {
			return nil, fmt.Errorf("make a temporary table (it takes GRANT TEMPORARY ON DATABASE): %w", err)
		}
		k.made[t] = name
	}
	prints := make([]sink.Print, len(rows))
	return prints, k.make(ctx, t, name, rows, prints)
}

// make halves rows of which one is refused, until it has found it.
func (k *comparison) make(ctx context.Context, t *sink.Compared, name string, rows []row.Row, prints []sink.Print) error {
	var text []byte
	for i := range rows {
		one := chunk{}
		one.add(&rows[i])
		text = append(append(strconv.AppendInt(text, int64(i), 10), '\t'), one.text...)
	}
	err := k.maker.copy(ctx, strings.NewReader(string(text)), "COPY pg_temp."+name+" ("+at+", "+list(t.Columns)+") FROM STDIN")
	var refused *pgconn.PgError
	switch {
	case errors.As(err, &refused) && !k.maker.pg.IsClosed() && len(rows) == 1:
		prints[0].Refused = refused.Message
		return nil
	case errors.As(err, &refused) && !k.maker.pg.IsClosed():
		half := len(rows) / 2
		if err := k.make(ctx, t, name, rows[:half], prints[:half]); err != nil {
			return err
		}
		return k.make(ctx, t, name, rows[half:], prints[half:])
	case err != nil:
		return fmt.Errorf("copy rows of table %q into a temporary one: %w", t.Name, err)
	}
	results, err := k.maker.run(ctx, statement{sql: "SELECT " + digestOf(t.Columns) + ", " + digestOf(t.Key) + " FROM pg_temp." + name + " ORDER BY " + at},
		statement{sql: "TRUNCATE pg_temp." + name})
	if err != nil {
		return fmt.Errorf("read rows of table %q back: %w", t.Name, err)
	}
	if len(results[0].Rows) != len(rows) {
		return fmt.Errorf("%d rows of table %q came back of %d", len(results[0].Rows), t.Name, len(rows))
	}
	for i, r := range results[0].Rows {
		if prints[i], err = decodePrint(r); err != nil {
			return err
		}
	}
	return nil
}

func decodePrint(v [][]byte) (p sink.Print, err error) {
	digest, err1 := strconv.ParseInt(string(v[0]), 10, 64)
	key, err2 := strconv.ParseInt(string(v[1]), 10, 64)
	return sink.Print{Digest: uint64(digest), Key: uint64(key)}, errors.Join(err1, err2)
}

// Read reads a table some pages at a time, each with the snapshot and in a
// transaction of its own, so that no lock lasts.
func (k *comparison) Read(ctx context.Context, t *sink.Compared, place string, emit func(sink.Print) error) error {
	results, err := k.maker.run(ctx, statement{"SELECT coalesce(pg_relation_size($1::oid), 0) / current_setting('block_size')::int, (SELECT relkind FROM pg_catalog.pg_class WHERE oid = $1::oid)", []string{place}})
	if err != nil {
		return err
	}
	pages, err := strconv.ParseInt(string(results[0].Rows[0][0]), 10, 64)
	if err != nil {
		return err
	}
	if !k.ranges || string(results[0].Rows[0][1]) == "p" {
		return k.read(ctx, t, place, "", emit)
	}
	for from := int64(0); from <= pages; from += pagesAtOnce {
		where := fmt.Sprintf(" WHERE ctid >= '(%d,0)'", from)
		if from+pagesAtOnce <= pages { // the last one has no end: pages may have been added
			where += fmt.Sprintf(" AND ctid < '(%d,0)'", from+pagesAtOnce)
		}
		if err := k.read(ctx, t, place, where, emit); err != nil {
			return err
		}
	}
	return nil
}

// read reads one range. The table's name is asked for first and again once it is
// locked: a swap may have given it to another table.
func (k *comparison) read(ctx context.Context, t *sink.Compared, place, where string, emit func(sink.Print) error) error {
	for range 10 {
		results, err := k.maker.run(ctx, statement{"SELECT $1::oid::regclass::text", []string{place}})
		if err != nil {
			return err
		}
		name := string(results[0].Rows[0][0])
		results, err = k.reader.run(ctx,
			statement{sql: "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"},
			statement{sql: "SET TRANSACTION SNAPSHOT '" + k.snapshot + "'"},
			statement{sql: "SELECT " + digestOf(t.Columns) + ", " + digestOf(t.Key) + " FROM " + name + where},
			statement{"SELECT to_regclass($1)::oid = $2::oid", []string{name, place}},
			statement{sql: "COMMIT"})
		if err != nil {
			if isCode(err, "42P01") {
				k.reader.rollback(ctx)
				continue
			}
			return fmt.Errorf("read table %s: %w", name, err)
		}
		if !slices.Equal(results[3].Rows[0][0], []byte("t")) {
			continue
		}
		for _, r := range results[2].Rows {
			p, err := decodePrint(r)
			if err == nil {
				err = emit(p)
			}
			if err != nil {
				return err
			}
		}
		return nil
	}
	return fmt.Errorf("table %q is swapped again and again while it is read", t.Name)
}
