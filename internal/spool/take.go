package spool

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"golang.org/x/sys/unix"

	"holdfast/internal/inode"
	"holdfast/row"
)

// take takes one file into the batch, or leaves it, or sets it aside; skip says
// that its directory has to wait.
func (s *Spool) take(ctx context.Context, p place, e entry) (skip bool, err error) {
	if err := s.room(ctx, p); err != nil {
		return false, err
	}
	b := s.batch
	var is inode.File
	b.buf, is, err = content(p.f, e, b.buf, func(f *inode.File) error { return s.fit(e.name, f) })
	var bad unfit
	switch {
	case errors.Is(err, fs.ErrNotExist):
		s.seen.Files--
		return false, nil
	case errors.As(err, &bad):
		s.drop(p, e.name, string(bad))
		return false, nil
	case err != nil:
		s.leave(p, e.name, &is, err.Error())
		return false, nil
	}
	r := reading{s: s, tx: b.tx, table: s.table(p), name: e.name, place: p, changed: changed(&is)}
	held, err := r.run(b.buf)
	if err != nil {
		return false, err
	}
	if held != "" {
		s.hold("files in %q wait: %s", s.path(p, ""), held)
		s.seen.since(changed(&is))
		return true, nil
	}
	if r.rows == 0 {
		s.drop(p, e.name, r.why)
		return false, nil
	}
	b.rows, b.rejects, b.size = b.rows+r.rows, b.rejects+r.rejects, b.size+uint64(len(b.buf))
	if cap(b.buf) > batchBytes {
		b.buf = nil
	}
	return false, b.add(p, e.name, identityOf(&is))
}

// drop sets a file aside that was counted.
func (s *Spool) drop(p place, name, why string) {
	if s.setAside(p, name, why) {
		s.seen.Files--
	}
}

// changed returns when a file was written last.
func changed(f *inode.File) time.Time { return time.Unix(0, f.Changed) }

// unfit tells why a file can never be taken in.
type unfit string

func (why unfit) Error() string { return string(why) }

// fit tells why a file cannot be taken in: never, or not now.
func (s *Spool) fit(name string, f *inode.File) error {
	switch {
	case f.Link() && s.o.Symlinks:
	case f.Kind == unix.S_IFDIR:
		return unfit("it became a directory")
	case !f.Regular():
		return unfit(whyNot(f.Kind))
	case f.Size == 0:
		return unfit("it is empty, as a file is that was not flushed before it was renamed")
	}
	switch {
	case !plain(name):
		return unfit("its name is not UTF-8, or has a control character")
	case f.Size > s.o.MaxFile:
		return unfit(fmt.Sprintf("it has %d bytes, and max_file is %d", f.Size, s.o.MaxFile))
	case f.Links > 1:
		return errLinked
	}
	return nil
}

var errLinked = errors.New("it has another name too (a hard link), and waits until that is gone")

// whyNot tells what kind of file cannot be taken in.
func whyNot(kind uint32) string {
	switch kind {
	case unix.S_IFIFO:
		return "it is a FIFO"
	case unix.S_IFSOCK:
		return "it is a socket"
	case unix.S_IFLNK:
		return "it is a symbolic link, and is not followed; with symlinks: values its text is a value"
	}
	return "it is a device"
}

// leave leaves a file where it is, until the next look.
func (s *Spool) leave(p place, name string, f *inode.File, why string) {
	s.hold("file %q is left there: %s", s.path(p, name), why)
	if f.Inode != 0 {
		s.seen.since(changed(f))
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
	place   place
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
	l := Line{Table: r.table, Raw: line, Why: reason(bad), File: r.s.path(r.place, r.name), At: at}
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
