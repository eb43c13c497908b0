package flatlog

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"time"

	"holdfast/internal/inode"
	"holdfast/row"
)

const (
	// batchBytes and batchRows bound one transaction, and what a crash has read
	// again.
	batchBytes = 512 << 10
	batchRows  = 4000
	// wrongLines is after how many lines of a table in a row, all with the same
	// wrong number of fields and none before that fitted, its files are left
	// alone: then the columns are wrong, and not the lines.
	wrongLines = 20
)

// batch is what one transaction takes of the files of one stream.
type batch struct {
	f     *Follower
	tx    Tx
	marks []mark
	files []*file // of marks, in that order; nil for a mark of no file at hand
	rows, rejects,
	bytes int64
	more bool // whether something was left
}

// batch stores what the files hold, as far as it fits into one transaction.
// more says that there is more.
func (f *Follower) batch(ctx context.Context) (more bool, err error) {
	groups := map[string][]*file{}
	for _, one := range f.files {
		if one.dirty || f.readable(one) && (one.pending() > 0 || one.size < one.At) {
			s := f.o.Stream(one.Table)
			groups[s] = append(groups[s], one)
		}
	}
	for _, s := range slices.Sorted(maps.Keys(groups)) {
		// Who waits longest comes first, so that a busy file starves none.
		slices.SortFunc(groups[s], func(a, b *file) int { return cmp.Or(a.since.Compare(b.since), cmp.Compare(a.Inode, b.Inode)) })
		again, err := f.store(ctx, groups[s])
		if err != nil {
			return false, err
		}
		more = more || again
	}
	return more, nil
}

// readable tells whether a file is to be read.
func (f *Follower) readable(one *file) bool {
	t := f.tables[one.Table]
	return one.hold == "" && one.Copy == (inode.ID{}) && (t == nil || t.hold == "")
}

// store stores what some files hold in one transaction.
func (f *Follower) store(ctx context.Context, files []*file) (more bool, err error) {
	p := f.positions
	b := &batch{f: f, tx: f.o.Store.Begin(f.o.Source, p.stands(), p.position(p.n+1))}
	for _, one := range files {
		if b.rows+b.rejects >= batchRows || b.bytes >= batchBytes {
			b.more = true
			break
		}
		if err := b.read(one); err != nil {
			b.tx.Rollback()
			return false, err
		}
	}
	if len(b.marks) == 0 {
		b.tx.Rollback()
		return false, nil
	}
	return b.more, b.commit(ctx)
}

// commit makes the rows durable, and how far their files were read.
func (b *batch) commit(ctx context.Context) error {
	f, p := b.f, b.f.positions
	gone := len(f.gone)
	if err := p.write(append(b.marks, f.gone...)); err != nil {
		b.tx.Rollback()
		return err
	}
	if err := b.tx.Commit(ctx); err != nil {
		return err
	}
	p.committed()
	f.gone = f.gone[gone:]
	for i, one := range b.files {
		one.mark, one.dirty = b.marks[i], false
		if one.pending() == 0 {
			one.since = time.Time{}
		} else if !b.more {
			one.since = time.Now() // it came while the batch was read
		}
	}
	f.mu.Lock()
	f.status.Rows, f.status.Rejects, f.status.Bytes = f.status.Rows+uint64(b.rows), f.status.Rejects+uint64(b.rejects), f.status.Bytes+uint64(b.bytes)
	f.mu.Unlock()
	return nil
}

// read adds what one file holds. A file that cannot be read now keeps the
// others from nothing.
func (b *batch) read(one *file) error {
	f := b.f
	if one.Copy != (inode.ID{}) {
		b.marks, b.files = append(b.marks, one.mark), append(b.files, one)
		return nil
	}
	if err := f.openFile(one); err != nil {
		if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, errMoved) { // the next scan knows its name
			f.unreadable(one, err)
		}
		return nil
	}
	was := one.mark
	tail, err := one.settle(f.warn)
	if err != nil {
		f.unreadable(one, err)
		return nil
	}
	if one.At < was.At {
		f.takeCopy(was)
	}
	if one.hold != "" {
		return nil
	}
	r := reading{b: b, file: one, columns: f.o.Columns[one.Table], at: one.At, table: f.tables[one.Table]}
	if r.table == nil {
		r.table = &table{}
		f.tables[one.Table] = r.table
	}
	if r.columns == nil {
		r.table.hold = fmt.Sprintf("no columns of table %q are known: declare it, or name them under columns", one.Table)
	}
	if err := r.run(tail); err != nil {
		return err
	}
	if r.at == one.At && !one.dirty {
		return nil
	}
	next := *one
	next.At = r.at
	if err := next.reprint(); err != nil {
		return fmt.Errorf("read %s: %w", one.path(), err) // it changed just now: once more
	}
	next.mark.Missing = 0
	b.marks, b.files = append(b.marks, next.mark), append(b.files, one)
	return nil
}

// reading is one file on its way into a batch.
type reading struct {
	b       *batch
	file    *file
	table   *table
	columns []string
	at      int64 // what stands before it is in the batch
	open    bool  // whether at stands in the middle of a line
	folded  bool  // whether the line before ended with a carriage return
}

// run reads lines until the batch is full or the file has no complete one.
func (r *reading) run(tail []byte) error {
	if n := len(tail); n > 0 {
		r.open = tail[n-1] != '\n'
		r.folded = !r.open && n > 1 && tail[n-2] == '\r'
	}
	for r.table.hold == "" {
		buf := r.b.f.buf
		n, err := r.file.f.ReadAt(buf, r.at)
		if err != nil && err != io.EOF {
			r.b.f.unreadable(r.file, fmt.Errorf("at byte %d: %w", r.at, err))
		}
		if n == 0 {
			return nil
		}
		text := buf[:n]
		end := bytes.LastIndexByte(text, '\n') + 1
		switch {
		case end == 0 && n == len(buf) && n <= maxLine:
			r.b.f.buf = make([]byte, min(4*len(buf), maxLine+1))
			continue
		case end == 0 && n > maxLine:
			if err := r.reject(text[:maxLine], fmt.Sprintf("it is part of a line longer than %d bytes", maxLine)); err != nil {
				return err
			}
			r.at, r.open = r.at+maxLine, true
			r.b.bytes += maxLine
		case end == 0 && r.file.closed && err != nil:
			if err := r.reject(text, "it has no line end, and nobody can write to the file any more"); err != nil {
				return err
			}
			r.at += int64(n)
			r.b.bytes += int64(n)
			return nil
		case end == 0:
			return nil // a torn line
		}
		full, err := r.lines(text[:end])
		if full || err != nil {
			return err
		}
	}
	return nil
}

// lines adds complete lines; full says that no more are wanted now.
func (r *reading) lines(text []byte) (full bool, err error) {
	b := r.b
	for len(text) > 0 {
		if b.rows+b.rejects >= batchRows || b.bytes >= batchBytes {
			b.more = true
			return true, nil
		}
		i := bytes.IndexByte(text, '\n')
		if err := r.line(text[:i]); err != nil || r.table.hold != "" {
			return true, err
		}
		r.at += int64(i) + 1
		b.bytes += int64(i) + 1
		text = text[i+1:]
	}
	return false, nil
}

// line adds one line. Where the table is held afterwards, it is not added.
func (r *reading) line(line []byte) error {
	f, folded, open := r.b.f, r.folded, r.open
	r.folded, r.open = len(line) > 0 && line[len(line)-1] == '\r', false
	if open {
		return r.reject(line, "it is the rest of a line of which the beginning was set aside")
	}
	values, why := parse(f.values, line, len(r.columns), folded)
	if why != "" {
		r.suspect(line)
		if r.table.hold != "" {
			return nil
		}
		return r.reject(line, why)
	}
	f.values = values
	if f.o.Decode {
		decode(values)
	}
	err := r.b.tx.Insert(r.file.Table, r.columns, values)
	clear(values) // they point into the buffer
	if err == nil {
		r.table.good = true
		r.b.rows++
		return nil
	}
	switch ofRow, ofTable := refusal(err); {
	case ofRow:
		return r.reject(line, err.Error())
	case ofTable:
		r.hold("rows of table %q are not taken: %s", r.file.Table, err)
		return nil
	}
	return err
}

// suspect counts lines that do not fit, until it is sure that it is the columns
// that do not.
func (r *reading) suspect(line []byte) {
	t, fields := r.table, row.FlatFields(line)
	if t.good || fields == len(r.columns) {
		return
	}
	if t.fields != fields {
		t.fields, t.wrong = fields, 0
	}
	if t.wrong++; t.wrong > wrongLines {
		r.hold("its lines have %d fields, and %d columns are configured: derive them from kamailio.cfg (holdfast profile kamailio --cfg FILE), or name them under columns, and start again", fields, len(r.columns))
	}
}

// hold leaves the files of the table alone from here on, in this run.
func (r *reading) hold(format string, args ...any) {
	r.table.hold = fmt.Sprintf(format, args...)
	r.b.f.o.Log.Error("files are not read", "table", r.file.Table, "file", r.file.path(), "at", r.at, "because", r.table.hold)
}

// reject adds a line that is no row.
func (r *reading) reject(line []byte, why string) error {
	err := r.b.tx.Malformed(Line{Table: r.file.Table, Raw: line, Why: why, File: r.file.path(), At: r.at})
	if err == nil {
		r.b.rejects++
	}
	return err
}

// takeCopy goes on in the copy of a file that was emptied: what was not stored
// of the file is in there. Of several copies it is the longest.
func (f *Follower) takeCopy(was mark) {
	var best *file
	for _, one := range f.files {
		if one.Copy == was.ID && one.size >= was.At && (best == nil || one.size > best.size) {
			best = one
		}
	}
	if best != nil {
		best.At, best.Head, best.Tail, best.Copy, best.dirty, best.checked = was.At, was.Head, was.Tail, inode.ID{}, true, false
		f.warn("file %s is read from byte %d on: it is the copy of one that was emptied", best.path(), was.At)
	}
}

// openFile opens a file, and closes the one that was not read for longest where
// there are too many.
func (f *Follower) openFile(one *file) error {
	f.uses++
	one.used = f.uses
	if one.f != nil {
		return nil
	}
	open := 0
	var oldest *file
	for _, other := range f.files {
		if other.f == nil {
			continue
		}
		open++
		if other.dir != "" && (oldest == nil || other.used < oldest.used) {
			oldest = other
		}
	}
	if open >= f.o.MaxOpen && oldest != nil {
		oldest.close()
	}
	return one.open()
}

func (f *Follower) warn(format string, args ...any) {
	f.o.Log.Warn(fmt.Sprintf(format, args...), "dir", f.o.Dir)
}
