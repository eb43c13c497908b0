package spool

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"golang.org/x/sys/unix"

	"holdfast/row"
)

// take takes one file into the batch, or leaves it, or sets it aside; skip says
// that its directory has to wait.
func (s *Spool) take(ctx context.Context, p place, name string) (skip bool, err error) {
	st, err := lookAt(p.f, name)
	if errors.Is(err, unix.ENOENT) {
		s.seen.Files--
		return false, nil
	}
	if err != nil {
		s.leave(p, name, &st, err.Error())
		return false, nil
	}
	if why := s.unfit(name, &st); why != "" {
		s.drop(p, name, why)
		return false, nil
	}
	if st.Nlink > 1 {
		s.leave(p, name, &st, "it has another name too (a hard link), and waits until that is gone")
		return false, nil
	}
	if err := s.room(ctx, p); err != nil {
		return false, err
	}
	b := s.batch
	if isLink(&st) {
		b.buf, err = target(p.f, name, &st, b.buf)
	} else {
		b.buf, err = content(p.f, name, &st, b.buf)
	}
	if errors.Is(err, fs.ErrNotExist) {
		s.seen.Files--
		return false, nil
	}
	if err != nil {
		s.leave(p, name, &st, err.Error())
		return false, nil
	}
	r := reading{s: s, tx: b.tx, table: s.table(p), name: name, file: s.path(p, name), changed: changed(&st)}
	held, err := r.run(b.buf)
	if err != nil {
		return false, err
	}
	if held != "" {
		s.hold("files in %q wait: %s", s.path(p, ""), held)
		s.seen.since(changed(&st))
		return true, nil
	}
	if r.rows == 0 {
		s.drop(p, name, r.why)
		return false, nil
	}
	b.rows, b.rejects, b.size = b.rows+r.rows, b.rejects+r.rejects, b.size+uint64(len(b.buf))
	if cap(b.buf) > batchBytes {
		b.buf = nil
	}
	return false, b.add(p, name, identityOf(&st))
}

// drop sets a file aside that was counted.
func (s *Spool) drop(p place, name, why string) {
	if s.setAside(p, name, why) {
		s.seen.Files--
	}
}

// changed returns when a file was written last.
func changed(st *unix.Stat_t) time.Time { return time.Unix(0, identityOf(st).Time) }

// unfit tells why a file can never be taken in.
func (s *Spool) unfit(name string, st *unix.Stat_t) string {
	switch mode := kind(st); {
	case mode == unix.S_IFLNK && s.o.Symlinks:
	case mode == unix.S_IFDIR:
		return "it became a directory"
	case mode != unix.S_IFREG:
		return whyNot(mode)
	case st.Size == 0:
		return "it is empty, as a file is that was not flushed before it was renamed"
	}
	switch {
	case !plain(name):
		return "its name is not UTF-8, or has a control character"
	case st.Size > s.o.MaxFile:
		return fmt.Sprintf("it has %d bytes, and max_file is %d", st.Size, s.o.MaxFile)
	}
	return ""
}

// leave leaves a file where it is, until the next look.
func (s *Spool) leave(p place, name string, st *unix.Stat_t, why string) {
	s.hold("file %q is left there: %s", s.path(p, name), why)
	if st.Ino != 0 {
		s.seen.since(changed(st))
	}
}

const (
	// maxBefore bounds the lines that are no rows before the first one of a file
	// that is.
	maxBefore = 1000
	// maxPart bounds what is stored as one malformed line.
	maxPart = 1 << 20
)

// reading is one file on its way into a transaction. Its bad lines go there as
// malformed ones as soon as it has a row; a file without any is bad itself, and
// nothing of it is stored.
type reading struct {
	s       *Spool
	tx      Tx
	table   string
	name    string
	file    string
	changed time.Time

	columns       []row.Column // of CSV and flat
	values        []row.Value
	before        []Line // bad lines before the first row
	why           string // of the first bad line
	rows, rejects uint64
}

// rawColumns are those of a file that is one value.
var rawColumns = []row.Column{{Name: "name", Type: "text"}, {Name: "modified_at", Type: "timestamptz"}, {Name: "value", Type: "text"}}

// run adds the rows of a file. held says why files of its kind have to wait;
// then nothing was added.
func (r *reading) run(text []byte) (held string, err error) {
	if r.s.o.Format == Raw {
		return r.one(text, 0, func([]byte) ([]row.Column, []row.Value, error) {
			if err := clean(text); err != nil {
				return nil, nil, err
			}
			r.values = append(r.values[:0], row.Text(r.name), row.Text(r.changed.UTC().Format("2006-01-02 15:04:05.999999Z07:00")), row.Value{Text: text})
			return rawColumns, r.values, nil
		})
	}
	cut, parse, rest, err := r.lines(text)
	if err != nil {
		r.why = reason(err)
		return "", nil
	}
	if parse == nil {
		return fmt.Sprintf("no columns of table %q are known: declare it, or name them under columns", r.table), nil
	}
	for at := len(text) - len(rest); at < len(text); {
		line, n := cut(text[at:])
		if len(line) > 0 {
			if held, err := r.one(line, int64(at), parse); held != "" || err != nil {
				return held, err
			}
		}
		if len(r.before) > maxBefore {
			r.why = fmt.Sprintf("its first %d lines are no rows; the first one: %s", maxBefore, r.why)
			return "", nil
		}
		at += n
	}
	if r.why == "" && r.rows == 0 {
		r.why = "it has no row"
	}
	return "", nil
}

// one adds one row, or what should be one.
func (r *reading) one(line []byte, at int64, parse func([]byte) ([]row.Column, []row.Value, error)) (held string, err error) {
	columns, values, bad := parse(line)
	if bad == nil {
		bad = r.tx.Insert(r.table, columns, values)
		ofRow, ofTable := refusal(bad)
		switch {
		case bad == nil:
			r.rows++
			for _, l := range r.before {
				if err := r.malformed(l); err != nil {
					return "", err
				}
			}
			r.before = nil
			return "", nil
		case ofTable && r.rows == 0:
			return reason(bad), nil
		case !ofRow && !ofTable:
			return "", bad
		}
	}
	l := Line{Table: r.table, Raw: line, Why: reason(bad), File: r.file, At: at}
	if r.rows > 0 {
		return "", r.malformed(l)
	}
	if r.why == "" {
		r.why = fmt.Sprintf("at byte %d: %s", at, l.Why)
	}
	r.before = append(r.before, l)
	return "", nil
}

// malformed adds a line that is no row, in parts where it is long.
func (r *reading) malformed(l Line) error {
	for whole := l.Raw; len(whole) > 0; {
		l.Raw = whole[:min(len(whole), maxPart)]
		whole = whole[len(l.Raw):]
		if err := r.tx.Malformed(l); err != nil {
			return err
		}
		l.At += int64(len(l.Raw))
	}
	r.rejects++
	return nil
}
