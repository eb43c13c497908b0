package closing

import (
	"context"
	"fmt"
	"strconv"

	"holdfast/archive"
	"holdfast/archive/dialect"
)

// The tables in which runs are kept, beside the family.
const (
	runsTable = "holdfast_archive_runs"
	keptTable = "holdfast_archive_tables"
)

// States of a run.
const (
	statePrepared  = "prepared"
	stateSwitched  = "switched"
	stateFilling   = "filling"   // an archive that lacked tables is being completed
	stateLeaving   = "leaving"   // an archive is being dropped
	stateRouting   = "routing"   // late rows are being moved into an archive
	stateMigrating = "migrating" // archives are made to look like the current tables
	stateReforming = "reforming" // an archive is being stored in another form
	stateClosed    = "closed"
	stateDropped   = "dropped"
)

// A run is one closing, as its row tells.
type run struct {
	stamp int64
	state string
	end   int64

	archive int64 // that is being completed, or dropped
}

// tables returns the statements that make what a family needs beside its own
// tables. They change nothing where it is there.
func tables(s *dialect.Session, f *archive.Family) []string {
	numbered, options := s.Made()
	return []string{
		"CREATE TABLE IF NOT EXISTS " + s.Quote(f.Catalogue) + ` (id ` + numbered + `, archive_id integer NOT NULL CHECK (archive_id <> 0),
	table_type integer NOT NULL, table_name varchar(255) NOT NULL, start_date integer NOT NULL, end_date integer NOT NULL)` + options,
		"CREATE TABLE IF NOT EXISTS " + s.Quote(runsTable) + ` (family varchar(63) NOT NULL, stamp bigint NOT NULL, state varchar(16) NOT NULL, end_date bigint NOT NULL,
	archive_id bigint, changed bigint NOT NULL, PRIMARY KEY (family, stamp))` + options,
		"CREATE TABLE IF NOT EXISTS " + s.Quote(keptTable) + ` (table_name varchar(255) NOT NULL PRIMARY KEY, family varchar(63) NOT NULL, archive_id bigint NOT NULL, table_type integer NOT NULL,
	row_count bigint NOT NULL, digest varchar(64) NOT NULL)` + options,
		lateRows(s, options),
	}
}

// unfinished returns the run of the family that has not ended; nil where none is.
func unfinished(ctx context.Context, s *dialect.Session, q dialect.Querier, f *archive.Family) (*run, error) {
	t, err := s.Table(ctx, q, runsTable)
	if err != nil || t == nil {
		return nil, err
	}
	rows, err := dialect.Rows(ctx, q, fmt.Sprintf("SELECT stamp, state, end_date, archive_id FROM %s WHERE family = %s AND state NOT IN ('%s', '%s') ORDER BY stamp", s.Quote(runsTable), s.Text(f.Name), stateClosed, stateDropped))
	if err != nil || len(rows) == 0 {
		return nil, err
	}
	r := run{state: rows[0][1]}
	if r.stamp, err = strconv.ParseInt(rows[0][0], 10, 64); err != nil {
		return nil, err
	}
	if r.end, err = strconv.ParseInt(rows[0][2], 10, 64); err != nil {
		return nil, err
	}
	if r.state == stateFilling || r.state == stateLeaving || r.state == stateRouting || r.state == stateReforming {
		r.archive, err = strconv.ParseInt(rows[0][3], 10, 64)
	}
	if r.state != statePrepared {
		return &r, err
	}
	// A run may have been killed between a swap that committed by itself and the
	// note of it.
	var names []string
	for _, t := range f.Tables {
		names = append(names, t.Name)
	}
	swapped, err := s.Swapped(ctx, q, names, r.stamp)
	if err != nil || !swapped {
		return &r, err
	}
	r.state = stateSwitched
	return &r, nil
}

// fresh returns a stamp that no run has had: now, or later where runs follow
// each other within a second.
func fresh(ctx context.Context, s *dialect.Session, now int64) (int64, error) {
	t, err := s.Table(ctx, s, runsTable)
	if err != nil || t == nil {
		return now, err
	}
	n, err := looker{s: s, q: s}.numbers(ctx, "SELECT MAX(stamp) FROM "+s.Quote(runsTable))
	if err != nil || n[0] == nil {
		return now, err
	}
	return max(now, *n[0]+1), nil
}

func (r run) insert(s *dialect.Session, f *archive.Family) string {
	id := "NULL"
	if r.archive != 0 {
		id = strconv.FormatInt(r.archive, 10)
	}
	return fmt.Sprintf("INSERT INTO %s (family, stamp, state, end_date, archive_id, changed) VALUES (%s, %d, '%s', %d, %s, %d)", s.Quote(runsTable), s.Text(f.Name), r.stamp, r.state, r.end, id, r.stamp)
}

func (r run) update(s *dialect.Session, f *archive.Family, set string) string {
	return fmt.Sprintf("UPDATE %s SET %s WHERE family = %s AND stamp = %d", s.Quote(runsTable), set, s.Text(f.Name), r.stamp)
}

func (r run) remove(s *dialect.Session, f *archive.Family) string {
	return fmt.Sprintf("DELETE FROM %s WHERE family = %s AND stamp = %d", s.Quote(runsTable), s.Text(f.Name), r.stamp)
}

// kept returns what was written down of archived tables, by their names.
func (l looker) kept(ctx context.Context) (map[string]archive.Kept, error) {
	all := map[string]archive.Kept{}
	t, err := l.s.Table(ctx, l.q, keptTable)
	if err != nil || t == nil {
		return all, err
	}
	rows, err := dialect.Rows(ctx, l.q, fmt.Sprintf("SELECT table_name, row_count, digest FROM %s WHERE family = %s", l.s.Quote(keptTable), l.s.Text(l.f.Name)))
	for _, r := range rows {
		n, err := strconv.ParseInt(r[1], 10, 64)
		if err != nil {
			return nil, err
		}
		all[r[0]] = archive.Kept{Rows: n, Digest: r[2]}
	}
	return all, err
}
