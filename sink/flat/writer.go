package flat

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"holdfast/row"
	"holdfast/sink"
)

const (
	// maxBuffered is how many bytes of lines are gathered before they are
	// written: large enough that a file gets few writes, and that new files
	// are noted in the state together.
	maxBuffered = 512 << 10

	// fewFiles is up to how many files keep their buffer after a flush.
	fewFiles = 16
)

// pending is a file of this batch.
type pending struct {
	name     string
	own      bool   // Holdfast's own, never rotated by it
	received int64  // of the first row of this batch
	buf      []byte // lines not written yet
	entry    *entry // nil until the file was looked at in this batch
	written  int64  // bytes behind entry.Size
	synced   bool
	tail     uint32 // once synced
}

// writer turns a batch into lines and appends them to files.
type writer struct {
	ctx      context.Context
	sink     *Sink
	book     *book
	layouts  map[*row.Schema]*layout
	files    map[string]*pending
	buffered int
	values   []row.Value
	text     []byte   // of moments among them
	changed  bool     // whether the state must be written before the files are
	widened  []string // tables that have got columns
	refused  bool
	clock    uint64
}

func newWriter(ctx context.Context, s *Sink, b *book) *writer {
	return &writer{ctx: ctx, sink: s, book: b, layouts: map[*row.Schema]*layout{}, files: map[string]*pending{}}
}

// all adds the rows of b. Where key is given it says for each row whether it
// is wanted, and what to do once it is added.
func (w *writer) all(b sink.Batch, rejects sink.Rejects, key func(*row.Row) (bool, func() error)) error {
	for n := 0; b.Next(); n++ {
		if n%256 == 0 && w.ctx.Err() != nil {
			return w.ctx.Err()
		}
		var mark func() error
		if key != nil {
			var wanted bool
			if wanted, mark = key(b.Row()); !wanted {
				continue
			}
		}
		err := w.add(b.Row())
		var bad *sink.RowError
		if errors.As(err, &bad) {
			w.refused = true
			if err := rejects.Refuse(b.Row(), bad); err != nil {
				return err
			}
			continue
		}
		if err == nil && mark != nil {
			err = mark()
		}
		if err != nil {
			return err
		}
	}
	return b.Err()
}

// add turns r into a line.
func (w *writer) add(r *row.Row) error {
	if judge := w.sink.judge; judge != nil {
		if err := judge(r); err != nil {
			return refuse(r, "23514", err)
		}
	}
	l, err := w.layout(r.Schema)
	if err != nil {
		return refuse(r, "42622", err)
	}
	name, err := l.file(&w.sink.names, r.Received)
	if err != nil {
		return refuse(r, "42622", err)
	}
	w.fields(l, r)
	p := w.file(name, r.Received)
	had := len(p.buf)
	if w.sink.opts.Kamailio {
		var bad int
		if p.buf, bad = row.AppendKamailio(p.buf, w.values); bad >= 0 {
			return refuse(r, "22P04", fmt.Errorf("column %q holds a line feed, which would make two lines of the row, and Kamailio's form has no mark for it", l.columns[bad]))
		}
	} else {
		p.buf = row.AppendFlat(p.buf, w.values)
	}
	return w.added(p, had)
}

// fields fills values with those of r, in the order of its line.
func (w *writer) fields(l *layout, r *row.Row) {
	w.values, w.text = w.values[:0], w.text[:0]
	for n, i := range l.from {
		v := row.Null
		if i >= 0 {
			v = r.Values[i]
		}
		if l.moments != nil && l.moments[n] && !v.Null {
			v.Text = w.moment(v.Text)
		}
		w.values = append(w.values, v)
	}
}

// moment writes one as the sink is to have it. What is none stays as it is.
func (w *writer) moment(text []byte) []byte {
	form, from := row.AppendEpoch, len(w.text)
	if w.sink.opts.Times == Clock {
		form = row.AppendClock
	}
	var ok bool
	if w.text, ok = form(w.text, text, w.sink.opts.Zone); !ok {
		return text
	}
	return w.text[from:len(w.text):len(w.text)]
}

// own adds a line to a file of Holdfast's own.
func (w *writer) own(name string, values ...row.Value) error {
	p := w.file(name, 0)
	p.own = true
	had := len(p.buf)
	p.buf = row.AppendFlat(p.buf, values)
	return w.added(p, had)
}

func (w *writer) added(p *pending, had int) error {
	p.buf = append(p.buf, '\n')
	w.buffered += len(p.buf) - had
	if w.buffered < maxBuffered {
		return nil
	}
	return w.flush()
}

func (w *writer) file(name string, received int64) *pending {
	p := w.files[name]
	if p == nil {
		p = &pending{name: name, received: received}
		w.files[name] = p
	}
	return p
}

func refuse(r *row.Row, code string, err error) error {
	return &sink.RowError{Seq: r.Seq, Table: r.Schema.Table, Code: code, Err: err}
}

// flush writes what is buffered. A file that is new in this batch is first
// noted in the state with the size that it has, so that whoever comes after a
// crash knows what to cut off.
func (w *writer) flush() error {
	names := make([]string, 0, len(w.files))
	for name, p := range w.files {
		if len(p.buf) > 0 {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		if p := w.files[name]; p.entry == nil {
			if err := w.begin(p); err != nil {
				return fmt.Errorf("begin file %q: %w", name, err)
			}
		}
	}
	if w.changed {
		if err := w.note(); err != nil {
			return err
		}
	}
	for _, name := range names {
		if err := w.put(w.files[name]); err != nil {
			return fmt.Errorf("append to file %q: %w", name, err)
		}
	}
	w.buffered = 0
	return nil
}

// note writes the state, and then the files that tell columns.
func (w *writer) note() error {
	w.stamp()
	if err := w.sink.write(w.book); err != nil {
		if errors.Is(err, sink.ErrDoubtful) {
			// Whichever state is there, the cursor in it is the old one.
			return fmt.Errorf("note new files: %v", err)
		}
		return fmt.Errorf("note new files: %w", err)
	}
	for _, table := range w.widened {
		if err := w.sink.tellColumns(w.book.extra, table); err != nil {
			return err
		}
	}
	w.changed, w.widened = false, nil
	return nil
}

// stamp marks the files of this batch as used by the next state.
func (w *writer) stamp() {
	for _, p := range w.files {
		if p.entry != nil {
			p.entry.Written = w.book.extra.Generation + 1
		}
	}
}

// begin looks at a file before the first line of the batch is added to it.
func (w *writer) begin(p *pending) error {
	s, files := w.sink, w.book.extra.Files
	e := files[p.name]
	ino, _, err := s.dir.Stat(p.name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if h := s.open[p.name]; h != nil && (err != nil || ino != h.file.Inode()) {
		// It was renamed or removed: rows that went on there would be found by
		// nobody who looks later.
		if err := s.closeFile(p.name); err != nil {
			return err
		}
	}
	if e != nil && w.due(p, e) {
		if err := s.rename(p.name, e); err != nil {
			return fmt.Errorf("rotate: %w", err)
		}
		delete(files, p.name)
	}
	h, err := w.handle(p)
	if err != nil {
		return err
	}
	size, err := h.file.Size()
	if err != nil {
		return err
	}
	if e = files[p.name]; e != nil && e.Inode == h.file.Inode() && e.Size == size {
		if size == 0 && e.Began != p.received {
			e.Began, w.changed = p.received, true
		}
		p.entry = e
		return nil
	}
	if e != nil && e.Inode == h.file.Inode() {
		s.opts.Log.Warn("flat file was changed by another program; rows go on at its end", "file", p.name, "size", size, "recorded", e.Size)
	}
	return w.adopt(p, h, size)
}

// adopt takes a file as it is, and goes on at its end.
func (w *writer) adopt(p *pending, h *handle, size int64) error {
	tail, err := tailSum(h.file, size)
	if err != nil {
		return err
	}
	p.entry = &entry{Inode: h.file.Inode(), Size: size, Tail: tail, Began: p.received}
	w.book.extra.Files[p.name] = p.entry
	w.changed = true
	if size == 0 {
		return nil
	}
	var last [1]byte
	if _, err := h.file.ReadAt(last[:], size-1); err != nil {
		return err
	}
	if last[0] != '\n' {
		w.sink.opts.Log.Warn("flat file ends in the middle of a line of another program; rows begin on the next", "file", p.name, "size", size)
		p.buf = append([]byte{'\n'}, p.buf...)
	}
	return nil
}

// put appends the lines of p.
func (w *writer) put(p *pending) error {
	h, err := w.handle(p)
	if err != nil {
		return err
	}
	// The file may have been closed since begin, and renamed since then.
	size, err := h.file.Size()
	if err != nil {
		return err
	}
	if want := p.entry.Size + p.written; h.file.Inode() != p.entry.Inode || size != want {
		return fmt.Errorf("another program changed it during a batch: its size is %d, not %d; the batch is written again", size, want)
	}
	n, err := h.file.Write(p.buf)
	p.written += int64(n)
	p.synced = false
	if err != nil {
		return err
	}
	if p.buf = p.buf[:0]; len(w.files) > fewFiles {
		p.buf = nil
	}
	return nil
}

// sync puts what was appended on disk, through the descriptor that wrote it.
func (w *writer) sync(p *pending) error {
	if p.synced {
		return nil
	}
	h := w.sink.open[p.name]
	if h == nil {
		return fmt.Errorf("flush file %q: it is not open", p.name)
	}
	if err := h.file.Sync(); err != nil {
		return fmt.Errorf("flush file %q: %w", p.name, err)
	}
	tail, err := tailSum(h.file, p.entry.Size+p.written)
	if err != nil {
		return fmt.Errorf("read end of file %q: %w", p.name, err)
	}
	p.tail, p.synced = tail, true
	return nil
}

// finish writes and flushes everything, and notes the new ends in the state,
// which the caller writes.
func (w *writer) finish() error {
	if err := w.flush(); err != nil {
		return err
	}
	if len(w.widened) > 0 { // a table whose rows were all refused
		if err := w.note(); err != nil {
			return err
		}
	}
	for _, p := range w.files {
		if p.written == 0 {
			continue
		}
		if err := w.sync(p); err != nil {
			return err
		}
		p.entry.Size += p.written
		p.entry.Tail, p.written = p.tail, 0
	}
	w.stamp()
	return w.ctx.Err()
}
